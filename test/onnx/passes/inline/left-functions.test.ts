import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesSource, compareModels, inspectModel, type QuantizeModelOptions } from "../../../../src/index.ts";
import { functionOf, graph, node, value } from "../../../helpers/onnx-build.ts";
import { graphsIn, payloads, texts } from "../../../helpers/onnx-read.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, nodesIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Functions that hold or take weights and cannot be inlined stay, and the report says why; and what else than the making of
// a model looks into functions.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear, quantized } = rewriterOf(() => engine, {});

type Parts = Parameters<typeof functionOf>[0];

const own = (name: string, nodes: Parts["nodes"], rest: Partial<Parts> = {}) =>
  functionOf({ name, nodes, domain: "own", inputs: ["a", "w"], outputs: ["o"], opsets: { "": 17, own: 1 }, ...rest });

const call = (op: string, inputs = "x w", outputs = "y") => node(op, inputs, outputs, {}, { domain: "own" });
const product = node("MatMul", "a w", "o");

/** The call of a function, and a product beside it that is quantized in any case. */
const beside = (functions: readonly Uint8Array[], name = "F", rest: Partial<Sketch> = {}): Sketch => ({
  ...{ functions, nodes: [call(name, "x w", "h"), node("MatMul", "h v", "y")], weights: { w: [32, 32], v: [32, 32] } },
  ...{ opsets: { own: 1 }, feeds: { x: floats([2, 32]) }, outputs: ["y"], ...rest },
});

const functionsIn = (bytes: Uint8Array) => payloads(bytes, 25).flatMap((each) => texts(each, 1));

/** Functions of which each calls the one before it, `times` times. */
function tower(height: number, times: number, through = (name: string, nodes: Uint8Array[]) => own(name, nodes)) {
  const floors = Array.from({ length: height }, (_, i) => {
    const steps = Array.from({ length: times }, (_, j) =>
      call(i === 0 ? "F0" : `F${i}`, `${j === 0 ? "a" : `t${j}`} w`, j === times - 1 ? "o" : `t${j + 1}`),
    );
    return through(`F${i + 1}`, steps);
  });
  return [own("F0", [product]), ...floors];
}

const withinIf = (name: string, nodes: Uint8Array[]) =>
  own(
    name,
    [
      node("Constant", "", "is", { value_int: 1 }),
      node("Cast", "is", "if", { to: 9 }),
      node("If", "if", "out", {
        then_branch: { graph: graph({ nodes, outputs: [value("o", "float32")] }) },
        else_branch: { graph: graph({ nodes: [node("Neg", "a", "n")], outputs: [value("n", "float32")] }) },
      }),
    ],
    { outputs: ["out"] },
  );

const left: Readonly<Record<string, readonly [Sketch, remark: string]>> = {
  "in a circle": [
    beside([own("F", [call("G", "a w", "o")]), own("G", [node("MatMul", "a w", "m"), call("F", "m w", "o")])]),
    "own.F (calls itself in a circle), own.G (calls itself in a circle)",
  ],
  "that call themselves": [beside([own("F", [call("F", "a w", "o")])]), "own.F (calls itself in a circle)"],
  "that would make the model too large": [
    beside(tower(18, 2), "F18"),
    "own.F18 (the model would grow by more than 100000 nodes)",
  ],
  "that call too deep": [beside(tower(70, 1), "F70"), "own.F70 (it calls functions more than 64 deep)"],
  "that nest graphs too deep": [
    beside(tower(50, 1, withinIf), "F50"),
    "own.F50 (its graphs would be nested more than 48 deep)",
  ],
  "of an older opset where nodes mean something else": [
    beside(
      [own("F", [node("MatMul", "a w", "m"), node("ReduceMean", "m", "o", { axes: [1] })], { opsets: { "": 17 } })],
      "F",
      {
        opset: 18,
      },
    ),
    "own.F (it is of opset 17 of ONNX, the model of 18)",
  ],
  "of a newer opset than their nodes have in the model's": [
    beside([own("F", [node("MatMul", "a w", "m"), node("Gelu", "m", "o")], { opsets: { "": 20 } })]),
    "own.F (it is of opset 20 of ONNX, the model of 17)",
  ],
  "of another version of another domain": [
    beside([own("F", [product, node("Odd", "o", "p", {}, { domain: "odd" })], { opsets: { "": 17, odd: 2 } })], "F", {
      opsets: { own: 1, odd: 1 },
    }),
    "own.F (it is of opset 2 of odd, the model of 1)",
  ],
  "that say no opset": [
    beside([own("F", [product, node("Odd", "o", "p", {}, { domain: "odd" })], { opsets: { "": 17 } })]),
    "own.F (nothing says which opset of odd it is of)",
  ],
  "with a name that a runtime's own operator may have": [
    beside([own("Relu", [product], { domain: "" })], "Relu", {
      nodes: [node("Relu", "x", "h"), node("MatMul", "h v", "y")],
      weights: { v: [32, 32] },
    }),
    "Relu (its domain is a runtime's own)",
  ],
  "that have one name": [
    beside([own("F", [product]), own("F", [node("MatMul", "a w", "m"), node("Neg", "m", "o")])]),
    "own.F (others have its name)",
  ],
  "that one calls which is never inlined": [
    beside([own("Gelu", [call("F", "a w", "o")], { domain: "com.microsoft" }), own("F", [product])], "", {
      nodes: [node("Gelu", "x w", "h", {}, { domain: "com.microsoft" }), node("MatMul", "h v", "y")],
      opsets: { "com.microsoft": 1 },
    }),
    "com.microsoft.Gelu (its domain is a runtime's own)",
  ],
  "whose nodes take what nothing makes": [
    beside([own("F", [node("MatMul", "a u", "o"), product])]),
    'own.F (takes "u", which nothing before it makes)',
  ],
  "that give what nothing makes": [
    beside([own("F", [product], { outputs: ["p"] })]),
    'own.F (gives "p", which nothing makes)',
  ],
  "that are called with more than they take": [
    beside([own("F", [node("Neg", "a", "o")], { inputs: ["a"] })]),
    "own.F (a node calls it with more inputs or outputs than it has)",
  ],
};

/** There are no weights in these; only half precision has them inlined. */
const withoutWeights = ["that are called with more than they take"];

describe("functions stay", () => {
  it.each(Object.entries(left))("%s", async (kind, [model, remark]) => {
    const { before, bytes, report } = await rewritten(model);
    expect(functionsIn(bytes)).toEqual(functionsIn(before));
    expect(report.tensors.map(({ name, to }) => ({ name, to }))).toContainEqual({ name: "v", to: "int8" });
    if (!withoutWeights.includes(kind)) expect(remarksOf(report)).toContain(`functions left as they are: ${remark}`);
  });

  it.each(Object.entries(left))("in half precision, too: %s", async (_, [model, remark]) => {
    const { before, bytes, report } = await rewritten(model, { dtype: "float16" });
    expect(functionsIn(bytes)).toEqual(functionsIn(before));
    expect(remarksOf(report)).toContain(`functions left as they are: ${remark}`);
  });

  it("and say so where nothing else is quantized", async () => {
    const model = { ...beside([own("F", [call("F", "a w", "o")])]), nodes: [call("F")] };
    await expect(rewritten(model, { allowUnchanged: false })).rejects.toThrow(
      "nothing quantized: no layer of the model has a constant weight; functions left as they are: own.F (calls itself in a circle)",
    );
  });

  it("with their types in half precision: values are cast around them", async () => {
    const twice = functionOf({
      ...{ name: "Twice", domain: "com.microsoft", inputs: ["a", "w"], outputs: ["b"], opsets: { "": 17 } },
      nodes: [
        node("Constant", "", "k", { value_float: { float: 2 } }),
        node("Mul", "a k", "m"),
        node("MatMul", "m w", "b"),
      ],
    });
    const nodes = [
      ...[
        node("MatMul", "x v", "h"),
        node("Twice", "h w", "t", {}, { domain: "com.microsoft" }),
        node("Relu", "t", "y"),
      ],
    ];
    const model = beside([twice], "", { nodes, opsets: { "com.microsoft": 1 }, values: { t: "float32" } });
    await expectNear(model, { dtype: "float16" }, 45);
    const { report } = await rewritten(model, { dtype: "float16" });
    expect(remarksOf(report)).toContain("float32 as before: com.microsoft.Twice (a function of the model's own)");
    expect(report.tensors.find(({ name }) => name === "w")?.to).toBe("float32");
  });
});

describe("functions with weights", () => {
  const inner = own("F", [product]);
  const model = beside([inner]);

  it("are seen by inspect, which lists the nodes as they are", async () => {
    const { before } = await rewritten(model);
    const inspection = await inspectModel(engine, bytesSource(before, "model.onnx"));
    expect(inspection).toMatchObject({ nodes: { "own.F": 1, MatMul: 1 }, weights: [{ name: "w" }, { name: "v" }] });
  });

  it.each<QuantizeModelOptions>([{}, { dtype: "int4" }, { dtype: "float16" }])(
    "are the same weights when the model is compared with what was made of it: %j",
    async (options) => {
      const { before, bytes } = await rewritten(model, options);
      const compared = await compareModels(engine, bytesSource(before, "a.onnx"), bytesSource(bytes, "b.onnx"));
      expect(compared.weights.map(({ name }) => name).sort()).toEqual(["v", "w"]);
    },
  );

  it("are quantized already once they are codes", async () => {
    const codes = own("F", [node("DequantizeLinear", "w s", "f"), node("MatMul", "a f", "o")], {
      inputs: ["a", "w", "s"],
    });
    const { bytes } = await rewritten(
      { ...model, functions: [], nodes: [node("MatMul", "x w", "y")], weights: { w: [32, 32] } },
      { format: "qdq", perChannel: false },
    );
    const [codesNode] = nodesIn(bytes).filter(({ op }) => op === "DequantizeLinear");
    expect(codesNode).toBeDefined();
    const wrapped = quantizedInFunction(bytes, codes, codesNode!.inputs);
    await expect(quantized(wrapped, { allowUnchanged: false })).rejects.toThrow(
      "is quantized already: 1 weight of int8",
    );
  });
});

/** The model with its DequantizeLinear and its MatMul as one call. */
function quantizedInFunction(bytes: Uint8Array, codes: Uint8Array, inputs: readonly string[]): Uint8Array {
  const { initializers } = graphsIn(bytes)[0]!;
  return sketch({
    ...{ functions: [codes], nodes: [call("F", `x ${inputs[0]} ${inputs[1]}`)], opsets: { own: 1 } },
    weights: Object.fromEntries(initializers.map(({ name, message }) => [name, message])),
    ...{ feeds: { x: floats([2, 32]) }, outputs: ["y"] },
  });
}

it("a long function that many nodes call is looked through once", async () => {
  const count = 5000;
  const row = Array.from({ length: count }, (_, i) => node("Neg", `h${i}`, `h${i + 1}`));
  // Its last node alone is of another opset than the model.
  const nodes = [node("MatMul", "a w", "h0"), ...row, node("Squeeze", `h${count}`, "o", { axes: [0] })];
  const long = own("F", nodes, { opsets: { "": 11, own: 1 } });
  const calls = Array.from({ length: count }, (_, i) => call("F", "x w", `y${i}`));
  const all = node("Sum", calls.map((_, i) => `y${i}`).join(" "), "s");
  const last = node("MatMul", "s v", "y");
  const model = beside([long], "F", { nodes: [...calls, all, last], weights: { w: [32, 32], v: [32, 32] } });
  const { report } = await quantized(sketch(model));
  expect(remarksOf(report).join("\n")).toContain("own.F (it is of opset 11 of ONNX, the model of 17)");
});
