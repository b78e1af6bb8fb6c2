import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { attribute, attributeRef, functionOf, graph, node, value } from "../../../helpers/onnx-build.ts";
import { payloads, texts } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnTensor, floats, indices, initializersIn, nodesIn, type Sketch } from "../../../helpers/sketch.ts";

// Functions that hold weights or are given some: their nodes stand in the place of the calls before anything is quantized.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, {});

const FLOAT = 1;
const INT = 2;
const TENSOR = 4;

type Body = Omit<Parameters<typeof functionOf>[0], "domain" | "opsets" | "inputs" | "outputs">;

/** `own("Linear", "a w", "o", nodes)` */
const own = (name: string, inputs: string, outputs: string, nodes: Body["nodes"], rest: Partial<Body> = {}) =>
  functionOf({
    ...{ name, domain: "own", inputs: inputs.split(" "), outputs: outputs.split(" "), nodes },
    ...{ opsets: { "": 17, own: 1 }, ...rest },
  });

const call = (op: string, inputs: string, outputs: string, attributes: Parameters<typeof node>[3] = {}, extra = {}) =>
  node(op, inputs, outputs, attributes, { domain: "own", ...extra });

const held = (name: string, shape: readonly number[], seed = 50) =>
  node("Constant", "", name, { value: { tensor: drawnTensor("", { shape, deviation: 0.2 }, seed) } });

const linear = own("Linear", "a w b", "o", [node("MatMul", "a w", "m"), node("Add", "m b", "o")]);
const inner = own("Inner", "a", "o", [held("c", [32, 32]), node("MatMul", "a c", "o")]);
const tanh = own("Act", "a", "o", [
  node("Constant", "", "k", { value_float: { float: 0.5 } }),
  node("Mul", "a k", "m"),
  node("Tanh", "m", "o"),
]);

const w = (seed: number) => drawnTensor(`w${seed}`, { shape: [32, 32], deviation: 0.2 }, seed);
const weights = { w0: w(0), w1: w(1), b0: [32] };

const model = (functions: readonly Uint8Array[], nodes: readonly Uint8Array[], rest: Partial<Sketch> = {}): Sketch => ({
  ...{ functions, nodes, weights, opsets: { own: 1 } },
  ...{ feeds: { x: floats([2, 32]) }, outputs: ["y"], ...rest },
});

const branch = (name: string, nodes: readonly Uint8Array[]) =>
  ({ graph: graph({ name, nodes, outputs: [value("q", "float32")] }) }) as const;

const loopBody = (nodes: readonly Uint8Array[], initializers: readonly Uint8Array[] = []) => ({
  body: {
    graph: graph({
      nodes: [node("Identity", "going", "goes"), ...nodes],
      initializers,
      inputs: [value("i", "int64[]"), value("going", "bool[]"), value("v", "float32[2,32]")],
      outputs: [value("goes", "bool[]"), value("next", "float32[2,32]")],
    }),
  },
});

const three = tensor("three", "int64", [], [3]);
const zero = tensor("zero", "float32", [], [0]);
const positive = [node("ReduceSum", "x", "sum", { keepdims: 0 }), node("Greater", "sum zero", "is")];

const gemm = own(
  "G",
  "a w b",
  "o",
  [
    node("Gemm", "a w b", "o", {
      transB: attributeRef("transB", "turned", INT),
      alpha: attributeRef("alpha", "by", FLOAT),
    }),
  ],
  { attributes: ["turned"], defaults: { by: { float: 0.5 } } },
);

const kinds: Readonly<Record<string, Sketch>> = {
  "weights given and held": model(
    [linear, inner],
    [call("Linear", "x w0 b0", "h"), call("Linear", "h w1 b0", "k"), call("Inner", "k", "y")],
  ),
  "functions in functions": model(
    [
      own("Block", "a w b", "o", [call("Linear", "a w b", "t"), node("Relu", "t", "r"), call("Inner", "r", "o")]),
      linear,
      inner,
    ],
    [call("Block", "x w0 b0", "h"), call("Block", "h w1 b0", "y")],
  ),
  "attributes: given, left out, with a value where left out": model(
    [gemm],
    [call("G", "x w0 b0", "h", { turned: 1 }), call("G", "h w1 b0", "y", { by: { float: 1 } })],
  ),
  "attributes through two functions": model(
    [
      gemm,
      own("H", "a w b", "o", [call("G", "a w b", "o", { by: attributeRef("by", "factor", FLOAT) })], {
        attributes: ["factor"],
      }),
    ],
    [call("H", "x w0 b0", "h", { factor: { float: 1 } }), call("H", "h w1 b0", "y")],
  ),
  "a weight as an attribute of the call": model(
    [
      own(
        "Times",
        "a",
        "o",
        [node("Constant", "", "c", { value: attributeRef("value", "by", TENSOR) }), node("MatMul", "a c", "o")],
        { attributes: ["by"] },
      ),
    ],
    [call("Times", "x", "h", { by: { tensor: w(3) } }), call("Times", "h", "y", { by: { tensor: w(4) } })],
    { weights: {} },
  ),
  "inputs left out": model(
    [own("G", "a b w", "o", [node("Gemm", "a w b", "o")])],
    [call("G", "x - w0", "h"), call("G", "h b0 w1", "y")],
  ),
  "a function of each overload": model(
    [
      own("L", "a w", "o", [node("MatMul", "a w", "o")], { overload: "plain" }),
      own("L", "a w b", "o", [node("Gemm", "a w b", "o")], { overload: "bias" }),
    ],
    [
      call("L", "x w0", "h", {}, { extra: overload("plain") }),
      call("L", "h w1 b0", "y", {}, { extra: overload("bias") }),
    ],
    { ir: 10 },
  ),
  "calls in graphs of If and Loop": model(
    [linear, inner],
    [
      ...positive,
      node("If", "is", "h", {
        then_branch: branch("then", [call("Linear", "x w0 b0", "q")]),
        else_branch: branch("else", [call("Inner", "x", "q")]),
      }),
      node("Loop", "three - h", "y", loopBody([call("Linear", "v w1 b0", "u"), call("Inner", "u", "next")])),
    ],
    { weights: { ...weights, zero, three } },
  ),
  "graphs in functions, with names of the function and constants of their own": model(
    [
      own(
        "If2",
        "a w is",
        "o",
        [
          node("If", "is", "o", {
            then_branch: branch("then", [node("MatMul", "a w", "q")]),
            else_branch: branch("else", [
              node("LeakyRelu", "a", "l", { alpha: attributeRef("alpha", "by", FLOAT) }),
              node("MatMul", "l w", "q"),
            ]),
          }),
        ],
        { defaults: { by: { float: 0.25 } } },
      ),
      own("Walk", "a w", "o", [
        node("Constant", "", "n", { value_int: 2 }),
        node(
          "Loop",
          "n - a",
          "o",
          loopBody(
            [node("MatMul", "v w", "u"), node("MatMul", "u s", "next")],
            [drawnTensor("s", { shape: [32, 32], deviation: 0.2 }, 9)],
          ),
        ),
      ]),
    ],
    [
      ...positive,
      call("If2", "x w0 is", "h"),
      node("Not", "is", "not"),
      call("If2", "h w1 not", "k", { by: { float: 0.5 } }),
      call("Walk", "k w0", "l"),
      call("Walk", "l w1", "y"),
    ],
    { weights: { ...weights, zero } },
  ),
  "names that others have": model(
    [
      own("N", "h x", "w0", [
        held("c", [32, 32]),
        node("MatMul", "h x", "y", {}, { name: "one" }),
        node("MatMul", "y c", "w0", {}, { name: "two" }),
      ]),
    ],
    [
      call("N", "x w0", "h", {}, { name: "one" }),
      call("N", "h w0", "one/y", {}, { name: "one/one" }),
      node("Relu", "one/y", "one/c", {}, { name: "one/two" }),
      call("N", "one/c w0", "y", {}, { name: "" }),
    ],
    { values: { h: "float32[2,32]", "one/y": "float32[2,32]" } },
  ),
  "an older opset in which its operators mean the same": model(
    [
      own("Old", "a w", "o", [node("MatMul", "a w", "m"), node("Relu", "m", "o")], {
        opsets: { "": 13 },
      } as Partial<Body>),
    ],
    [call("Old", "x w0", "y")],
  ),
  "operators of a domain that the model does not import": model(
    [
      own(
        "Quick",
        "a w",
        "o",
        [node("MatMul", "a w", "m"), node("QuickGelu", "m", "o", {}, { domain: "com.microsoft" })],
        { opsets: { "": 17, "com.microsoft": 1 } } as Partial<Body>,
      ),
    ],
    [call("Quick", "x w0", "y")],
  ),
  "tables and convolutions": model(
    [own("Rows", "t i", "o", [node("Gather", "t i", "o")]), linear],
    [call("Rows", "w1 x", "h"), call("Linear", "h w0 b0", "y")],
    { feeds: { x: indices([3, 7]) } },
  ),
  "a weight that a function computes": model(
    [
      own("Normed", "a g v", "o", [
        node("ReduceL2", "v", "n", { axes: [1] }),
        node("Div", "v n", "d"),
        node("Mul", "d g", "w"),
        node("MatMul", "a w", "o"),
      ]),
    ],
    [call("Normed", "x g v", "y")],
    { weights: { v: { shape: [32, 32], deviation: 0.2 }, g: { shape: [32, 1], deviation: 0.2 } } },
  ),
  "outputs that are one value, and outputs left out": model(
    [own("Both", "a w", "o p", [node("MatMul", "a w", "o"), node("Neg", "o", "p")])],
    [call("Both", "x w0", "- h"), call("Both", "h w1", "k l"), node("Sub", "k l", "y")],
  ),
};

function overload(name: string): Uint8Array {
  return Uint8Array.from([8 * 8 + 2, name.length, ...Buffer.from(name)]);
}

const modes: Readonly<Record<string, readonly [options: QuantizeModelOptions, least: number]>> = {
  "weight-only": [{}, 30],
  dynamic: [{ mode: "dynamic" }, 18],
  nbits: [{ dtype: "int4" }, 10],
  float16: [{ dtype: "float16" }, 45],
  "qdq with a newer opset": [{ format: "qdq", dtype: "int8", opset: 21 }, 30],
};

const functionsIn = (bytes: Uint8Array) => payloads(bytes, 25).flatMap((each) => texts(each, 1));

describe.each(Object.entries(modes))("functions with weights are inlined: %s", (_, [options, least]) => {
  it.each(Object.entries(kinds))("%s", async (_, kind) => {
    await expectNear(kind, options, least);
    const { bytes, report } = await rewritten(kind, options);
    expect(functionsIn(bytes)).toEqual([]);
    expect(report.tensors.length).toBeGreaterThan(0);
    expect(remarksOf(report)).toContainEqual(expect.stringMatching(/^functions inlined/));
  });
});

describe("functions with weights", () => {
  it("have each constant once for all calls", async () => {
    const calls = ["x a", "a b", "b c", "c y"].map((names) => call("Inner", ...(names.split(" ") as [string, string])));
    const { bytes, report } = await rewritten(model([inner], calls, { weights: {} }));
    expect(report.tensors.map(({ name, to }) => ({ name, to }))).toEqual([{ name: "Inner/c", to: "int8" }]);
    expect(initializersIn(bytes).filter((name) => name.startsWith("Inner/c"))).toHaveLength(2); // codes and scales
    expect(nodesIn(bytes).filter(({ op }) => op === "MatMul")).toHaveLength(4);
  });

  it("may be made by a function", async () => {
    const kind = model(
      [own("Turned", "v", "t", [node("Transpose", "v", "t", { perm: [1, 0] })])],
      [call("Turned", "w0", "t"), node("MatMul", "x t", "y")],
    );
    await expectNear(kind);
    const { bytes, report } = await rewritten(kind);
    expect(functionsIn(bytes)).toEqual([]);
    expect(report.tensors.map(({ name, to }) => [name, to])).toContainEqual(["w0", "int8"]);
  });

  it("go where others stay: those without weights, and calls that take none", async () => {
    const nodes = [
      ...[call("Act", "x", "h"), call("Linear", "h w0 b0", "k"), node("Transpose", "k", "t", { perm: [1, 0] })],
      ...[node("MatMul", "t k", "p"), call("Linear", "k p b0", "y")],
    ];
    const kind = model([tanh, linear], nodes);
    await expectNear(kind);
    const { bytes, report } = await rewritten(kind);
    expect(functionsIn(bytes)).toEqual(["Act", "Linear"]);
    expect(
      nodesIn(bytes)
        .filter(({ domain }) => domain === "own")
        .map(({ op }) => op),
    ).toEqual(["Act", "Linear"]);
    expect(remarksOf(report)).toContain("functions inlined for the weights in them: own.Linear");
    expect(remarksOf(report)).toContain("2 functions of the model's own: as before");
  });

  it("leave models without weights as they were, byte for byte", async () => {
    const { before, bytes, report } = await rewritten(model([tanh], [call("Act", "x", "y")], { weights: {} }));
    expect(bytes).toEqual(before);
    expect(remarksOf(report).filter((text) => text.includes("inlined"))).toEqual([]);
  });

  it("keep what nothing has ever called, unless the opset is raised", async () => {
    const kind = model([inner, linear], [call("Linear", "x w0 b0", "y")]);
    expect(functionsIn((await rewritten(kind)).bytes)).toEqual(["Inner"]);
    const raised = await rewritten(kind, { format: "qdq", opset: 21 });
    expect(functionsIn(raised.bytes)).toEqual([]);
    expect(remarksOf(raised.report)).toContain("functions removed, as no node calls them: own.Inner");
    await expectNear(kind, { format: "qdq", opset: 21 });
  });

  it("stay under `like`, as ONNX Runtime's tool leaves them", async () => {
    const kind = model([linear], [call("Linear", "x w0 b0", "h"), node("MatMul", "h w1", "y")]);
    const { bytes } = await rewritten(kind, { mode: "dynamic", like: "onnxruntime" });
    expect(functionsIn(bytes)).toEqual(["Linear"]);
    expect(nodesIn(bytes).map(({ op }) => op)).toContain("Linear");
  });

  it("have other attributes in each call, and the value of the function where a call has none", async () => {
    const kind = model(
      [gemm],
      [call("G", "x w0 b0", "h", { turned: 1 }), call("G", "h w1 b0", "y", { by: { float: 2 } })],
    );
    const { bytes } = await rewritten(kind);
    const gemms = nodesIn(bytes).filter(({ op }) => op === "Gemm");
    expect(gemms.map(({ attributes }) => Object.fromEntries(attributes))).toEqual([
      { transB: attribute("transB", 1), alpha: attribute("alpha", { float: 0.5 }) },
      { alpha: attribute("alpha", { float: 2 }) },
    ]);
  });
});
