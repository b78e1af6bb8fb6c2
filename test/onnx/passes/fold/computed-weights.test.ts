import { beforeAll, describe, expect, it, vi } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../../../src/formats/byte-source.ts";
import { compareModels, quantizeForTransformersJs } from "../../../../src/model.ts";
import { inspectOnnx } from "../../../../src/onnx/inspect-onnx.ts";
import * as evaluation from "../../../../src/onnx/passes/fold/evaluate-node.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { graphsIn } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, initializersIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Weights that a model computes from constants in each run: computed once where that makes the file smaller, and then
// quantized as any other.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, {});

const int64s = (name: string, ...values: number[]) => tensor(name, "int64", [values.length], values);
const one = (name: string, x: number) => tensor(name, "float32", [], [x]);
const product = (w: string) => node("MatMul", `x ${w}`, "y");

const inMatMul = (nodes: readonly Uint8Array[], weights: NonNullable<Sketch["weights"]>): Sketch => ({
  ...{ nodes: [...nodes, product("w")], weights, feeds: { x: floats([2, 32]) }, outputs: ["y"] },
});

const kinds: Readonly<Record<string, Sketch>> = {
  "weight normalization": {
    nodes: [
      node("ReduceL2", "v", "n", { axes: [1, 2] }),
      node("Div", "v n", "u"),
      node("Mul", "u g", "w"),
      node("Conv", "x w b", "y", { pads: [1, 1] }),
    ],
    weights: { v: [8, 16, 3], g: [8, 1, 1], b: [8] },
    feeds: { x: floats([1, 16, 20]) },
    outputs: ["y"],
  },
  "weight normalization written out, as newer exporters have it": inMatMul(
    [
      node("Pow", "v two", "squares"),
      node("ReduceSum", "squares axis", "sum"),
      node("Sqrt", "sum", "root"),
      node("Clip", "root least -", "n"),
      node("Div", "g n", "scale"),
      node("Mul", "scale v", "wt"),
      node("Transpose", "wt", "w", { perm: [1, 0] }),
    ],
    { v: [24, 32], g: [24, 1], two: one("two", 2), axis: int64s("axis", 1), least: one("least", 1e-12) },
  ),
  "gates in another order": {
    nodes: [
      node("Slice", "wi zero gate first", "a"),
      node("Slice", "wi gate end first", "c"),
      node("Concat", "c a", "ws", { axis: 0 }),
      node("Unsqueeze", "ws first", "w"),
      node("Split", "wr", "r0 r1", { axis: 0 }),
      node("Concat", "r1 r0", "rs", { axis: 0 }),
      node("Unsqueeze", "rs first", "r"),
      node("LSTM", "x w r", "y", { hidden_size: 16 }),
    ],
    weights: {
      ...{ wi: [64, 32], wr: [64, 16] },
      ...{ zero: int64s("zero", 0), gate: int64s("gate", 16), end: int64s("end", 64), first: int64s("first", 0) },
    },
    feeds: { x: floats([3, 1, 32]) },
    outputs: ["y"],
  },
  "an adapter that is not merged": inMatMul(
    [node("MatMul", "a b", "ab"), node("Mul", "ab half", "d"), node("Add", "w0 d", "w")],
    { w0: [32, 24], a: [32, 2], b: [2, 24], half: one("half", 0.5) },
  ),
  "an adapter that a Gemm adds": inMatMul([node("Gemm", "a b w0", "w", { alpha: { float: 0.5 } })], {
    w0: [32, 24],
    a: [32, 2],
    b: [2, 24],
  }),
  "spectral normalization": inMatMul(
    [
      node("MatMul", "w0 v", "wv"),
      node("MatMul", "u wv", "sigma"),
      node("Div", "w0 sigma", "wt"),
      node("Transpose", "wt", "w"),
    ],
    { w0: [24, 32], v: [32], u: [24] },
  ),
  "numbers that are rounded as in training": inMatMul(
    [
      node("Div", "w0 s", "scaled"),
      node("Round", "scaled", "rounded"),
      node("Clip", "rounded low high", "clipped"),
      node("Mul", "clipped s", "w"),
    ],
    { w0: [32, 24], s: one("s", 0.01), low: one("low", -127), high: one("high", 127) },
  ),
  "slices that go to the end": inMatMul(
    [node("Slice", "w0 half end", "b"), node("Slice", "w0 zero half", "a"), node("Concat", "b a", "w", { axis: 0 })],
    { w0: [32, 24], half: int64s("half", 16), zero: int64s("zero", 0), end: int64s("end", 2 ** 63 - 1024) },
  ),
  "half precision in the file": inMatMul([node("Cast", "w0", "w1", { to: 1 }), node("Mul", "w1 s", "w")], {
    w0: tensor(
      "w0",
      "float16",
      [32, 24],
      Uint16Array.from({ length: 768 }, (_, i) => 0x3000 + ((i * 37) % 1024)),
    ),
    s: [1, 24],
  }),
  "a mask over a weight": inMatMul([node("Where", "mask w0 nothing", "w")], {
    w0: [32, 24],
    mask: tensor(
      "mask",
      "bool",
      [32, 1],
      Array.from({ length: 32 }, (_, i) => i % 2),
    ),
    nothing: one("nothing", 0),
  }),
  "a kernel for each half of the channels": {
    nodes: [
      node("Split", "both", "w v", { axis: 0 }),
      node("Conv", "x w", "p"),
      node("Conv", "x v", "q"),
      node("Add", "p q", "y"),
    ],
    weights: { both: [16, 8, 1, 1] },
    feeds: { x: floats([1, 8, 4, 4]) },
    outputs: ["y"],
  },
  "numbers of Constant nodes and shapes": inMatMul(
    [
      node("Constant", "", "scale", { value_float: { float: 0.25 } }),
      node("Shape", "w0", "shape"),
      node("Expand", "scale shape", "scales"),
      node("Mul", "w0 scales", "w"),
    ],
    { w0: [32, 24] },
  ),
  "in a branch, of constants around it": {
    nodes: [
      node("If", "yes", "y", {
        then_branch: {
          graph: graph({
            nodes: [node("Mul", "w0 scale", "w"), node("MatMul", "x w", "t")],
            outputs: [value("t", "float32")],
          }),
        },
        else_branch: { graph: graph({ nodes: [node("Identity", "x", "e")], outputs: [value("e", "float32")] }) },
      }),
    ],
    weights: { w0: [32, 32], scale: [1, 32] },
    feeds: { x: floats([2, 32]), yes: { data: Uint8Array.of(1), dims: [] } },
    outputs: ["y"],
  },
  "in both branches, of the same constants": {
    nodes: [
      node("If", "yes", "y", { then_branch: { graph: branch("p", "x") }, else_branch: { graph: branch("q", "x") } }),
    ],
    weights: { w0: [32, 32], scale: [1, 32] },
    feeds: { x: floats([2, 32]), yes: { data: Uint8Array.of(1), dims: [] } },
    outputs: ["y"],
  },
};

/** A graph that multiplies with a weight that it computes; its names begin with a letter of its own. */
function branch(own: string, x: string) {
  return graph({
    nodes: [node("Mul", "w0 scale", `${own}w`), node("MatMul", `${x} ${own}w`, `${own}y`)],
    outputs: [value(`${own}y`, "float32")],
  });
}

describe("is computed once and quantized", () => {
  it.each(Object.keys(kinds))("%s", async (kind) => {
    const model = kinds[kind]!;
    const ops = await expectNear(model, {}, 32);
    const kept = ["MatMul", "Conv", "LSTM", "If", "Add", "Cast", "Sub", "Mul", "Identity", "Transpose"];
    expect(Object.keys(ops).filter((op) => !kept.includes(op))).toEqual([]);
    const { report, bytes, before } = await rewritten(model);
    expect(report.tensors.filter(({ reason }) => reason !== undefined)).toEqual([]);
    expect(remarksOf(report).join("\n")).toMatch(/\d weights? computed once, from constants: /);
    expect(bytes.length).toBeLessThan(before.length);
    // What went into the weight is gone.
    const sources = ["v", "g", "wi", "wr", "w0", "a", "b0", "both", "mask"];
    const left = graphsIn(bytes).flatMap(({ initializers }) => initializers.map(({ name }) => name));
    expect(left.filter((name) => sources.includes(name))).toEqual([]);
  });

  it("for all branches together, where they compute the same", async () => {
    const both = kinds["in both branches, of the same constants"]!;
    const { bytes, report } = await rewritten(both, { dtype: "float16" });
    expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([["pw_1", "float16"]]);
    const weights = graphsIn(bytes).map(({ initializers }) => initializers.map(({ name }) => name));
    expect(weights.flat().filter((name) => name.startsWith("pw"))).toEqual(["pw_1"]);
  });

  it("in every form, also of half precision", async () => {
    const model = kinds["an adapter that is not merged"]!;
    for (const options of [
      { dtype: "uint8" },
      { format: "qdq" },
      { mode: "dynamic", reduceRange: true },
      { dtype: "int4", blockSize: 16 },
      { dtype: "float16" },
    ] as const) {
      await expectNear(model, options, options.dtype === "int4" ? 17 : 30);
      const { report } = await rewritten(model, options);
      expect(report.tensors.map(({ name, reason }) => [name, reason])).toEqual([["w", undefined]]);
    }
  });

  it("where inspect says what it would lose", async () => {
    const { before, report } = await rewritten(kinds["weight normalization"]!);
    const { nodes, weights } = await inspectOnnx(engine, bytesSource(before, "a.onnx"), {});
    expect(nodes).toEqual({ ReduceL2: 1, Div: 1, Mul: 1, Conv: 1 });
    expect(weights.map(({ name, reason }) => [name, reason])).toEqual([["w", undefined]]);
    expect(weights[0]!.sqnr!.int8PerChannel).toBeCloseTo(report.tensors[0]!.sqnr!, 5);
  });

  it("where compare finds it in the float model, too", async () => {
    const { before, bytes } = await rewritten(kinds["weight normalization"]!);
    const files = [bytesSource(before, "a.onnx"), bytesSource(bytes, "b.onnx")] as const;
    const { weights } = await compareModels(engine, ...files);
    expect(weights.map(({ name, b }) => [name, b])).toEqual([["w", "int8"]]);
  });
});

it("what a Split gives beside a value that is needed in each run stays, and is not made twice", async () => {
  const model: Sketch = {
    nodes: [
      node("Split", "both", "a u", { axis: 0 }),
      node("Mul", "a v", "w"),
      node("ReduceMean", "x", "m", { axes: [1] }),
      node("Mul", "u m", "um"),
      node("MatMul", "x a", "p"),
      node("MatMul", "x w", "q"),
      node("MatMul", "x um", "r"),
      node("Sum", "p q r", "y"),
    ],
    weights: { both: [64, 24], v: [32, 24] },
    feeds: { x: floats([1, 32]) },
    outputs: ["y"],
  };
  await expectNear(model);
  const { report } = await rewritten(model);
  expect(remarksOf(report).join("\n")).toContain("1 weight computed once, from constants: w");
});

it("a chain of 20,000 nodes is computed, too", async () => {
  const names = ["w0", ...Array.from({ length: 19_999 }, (_, i) => `h${i}`), "w"];
  const chain = names.slice(1).map((name, i) => node("Neg", names[i]!, name));
  await expectNear(inMatMul(chain, { w0: [32, 24] }));
});

it.each([{}, { format: "qdq" }, { mode: "dynamic", reduceRange: true }] as const)(
  "a table that is looked up and, transposed, multiplied with is stored once: %o",
  async (options) => {
    const model: Sketch = {
      nodes: [
        node("Mul", "e0 s", "e"),
        node("Gather", "e ids", "h"),
        node("Transpose", "e", "et", { perm: [1, 0] }),
        node("MatMul", "h et", "y"),
      ],
      weights: { e0: [100, 32], s: [1, 32] },
      feeds: { ids: { data: BigInt64Array.of(1n, 99n), dims: [2] } },
      outputs: ["y"],
    };
    await expectNear(model, options);
    const { report, bytes } = await rewritten(model, options);
    expect(report.tensors.map(({ name, reason }) => [name, reason])).toEqual([["e", undefined]]);
    expect(bytes.length).toBeLessThan(5500);
  },
);

it("what several weights are made of is computed once", async () => {
  const gates = Array.from({ length: 6 }, (_, i) => `w${i}`);
  const model: Sketch = {
    nodes: [
      node("Mul", "w0 s", "h"),
      node("Split", "h", gates.map((_, i) => `g${i}`).join(" "), { axis: 1 }),
      ...gates.map((_, i) => node("MatMul", `x g${i}`, `y${i}`)),
      node("Sum", gates.map((_, i) => `y${i}`).join(" "), "y"),
    ],
    ...{ weights: { w0: [32, 96], s: [1, 96] }, feeds: { x: floats([2, 32]) }, outputs: ["y"] },
  };
  const computed = vi.spyOn(evaluation, "evaluateNode");
  computed.mockClear();
  await rewritten(model);
  expect(computed).toHaveBeenCalledTimes(2);
});

it("a set of files has it once", async () => {
  const model = kinds["an adapter that is not merged"]!;
  const computed = vi.spyOn(evaluation, "evaluateNode");
  computed.mockClear();
  const files = new Map<string, ReturnType<typeof bytesSink>>();
  const sinkFor = async (suffix: string) => files.set(suffix, bytesSink()).get(suffix)!;
  const { files: made } = await quantizeForTransformersJs(engine, bytesSource(sketch(model), "m.onnx"), sinkFor);
  expect(made.length).toBeGreaterThan(3);
  expect(computed).toHaveBeenCalledTimes(3);
  for (const { tensors } of made) expect(tensors.map(({ name }) => name)).toEqual(["w"]);
});

describe("is computed once and stays float", () => {
  const model = kinds["weight normalization"]!;
  it.each([{ dtype: "int4" }, { exclude: ["w"] }, { exclude: ["Conv_*"] }] as const)("%o", async (options) => {
    const { report, bytes } = await rewritten(model, { ...options, allowUnchanged: true });
    expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([["w", "float32"]]);
    expect(initializersIn(bytes)).toEqual(["b", "w"]);
  });
});
