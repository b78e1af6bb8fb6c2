import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesOf } from "../../../../src/engine/tensors/tensor.ts";
import { bytesSink, bytesSource, quantizeModel } from "../../../../src/index.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnValues, floats, initializersIn, nearness, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Norms that scale a channel far above the others, before layers that work on integers: with one scale for the activation
// the others would be lost.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten } = rewriterOf(() => engine, { mode: "dynamic" });

const C = 64;
const OUTLIERS = [5, 40];
const SIZE = 100;

/** About one, but for two channels; rows behind these are small, as in trained networks. */
const gamma = (size = SIZE) => Array.from({ length: C }, (_, c) => (OUTLIERS.includes(c) ? size : 1 + (c % 7) / 10));
const matrix = (n: number, place: number, { swapped = false, size = SIZE } = {}) => {
  const values = drawnValues(swapped ? [n, C] : [C, n], place);
  const rowOf = (i: number) => (swapped ? i % C : Math.floor(i / n));
  return { shape: swapped ? [n, C] : [C, n], data: values.map((v, i) => (OUTLIERS.includes(rowOf(i)) ? v / size : v)) };
};
const vector = (data: readonly number[]) => ({ shape: [data.length], data });
const one = (name: string, value: number) => tensor(name, "float32", [], [value]);

const layerNorm = node("LayerNormalization", "x g b", "h");
const product = node("MatMul", "h w", "y");
const bias = Array.from({ length: C }, (_, c) => c / C);

const base: Sketch = {
  nodes: [layerNorm, product],
  weights: { g: vector(gamma()), b: vector(bias), w: matrix(48, 3) },
  feeds: { x: floats([4, C]) },
  outputs: ["y"],
};

const ms = { domain: "com.microsoft" };
const microsoft = { "com.microsoft": 1 };

const written = {
  deviations: [node("ReduceMean", "x", "mean", { axes: [-1] }), node("Sub", "x mean", "d"), node("Mul", "d d", "d2")],
  root: [node("ReduceMean", "d2", "v", { axes: [-1] }), node("Add", "v eps", "ve"), node("Sqrt", "ve", "s")],
};

const kinds: Readonly<Record<string, Sketch>> = {
  LayerNormalization: base,
  RMSNormalization: {
    ...base,
    nodes: [node("RMSNormalization", "x g", "h"), product],
    weights: { g: base.weights!.g!, w: base.weights!.w! },
    opset: 23,
  },
  SimplifiedLayerNormalization: {
    ...base,
    nodes: [node("SimplifiedLayerNormalization", "x g", "h"), product],
    weights: { g: base.weights!.g!, w: base.weights!.w! },
  },
  "SkipLayerNormalization, its sum taken by others": {
    ...base,
    nodes: [node("SkipLayerNormalization", "x x g b", "h - - sum", {}, ms), product, node("Relu", "sum", "z")],
    feeds: { x: floats([1, 4, C]) },
    outputs: ["y", "z"],
    opsets: microsoft,
  },
  SkipSimplifiedLayerNormalization: {
    ...base,
    nodes: [node("SkipSimplifiedLayerNormalization", "x x g", "h", {}, ms), product],
    weights: { g: base.weights!.g!, w: base.weights!.w! },
    feeds: { x: floats([1, 4, C]) },
    opsets: microsoft,
  },
  "LayerNormalization written out": {
    ...base,
    nodes: [
      ...[...written.deviations, ...written.root],
      ...[node("Div", "d s", "n"), node("Mul", "n g", "ng"), node("Add", "b ng", "h"), product],
    ],
    weights: { ...base.weights, eps: one("eps", 1e-5) },
  },
  "RMSNorm written out, with a reciprocal": {
    ...base,
    nodes: [
      node("Pow", "x two", "d2"),
      ...[...written.root, node("Reciprocal", "s", "r"), node("Mul", "x r", "n"), node("Mul", "g n", "h"), product],
    ],
    weights: { g: base.weights!.g!, w: base.weights!.w!, two: one("two", 2), eps: one("eps", 1e-5) },
  },
  "several products, one of them a Gemm with transB": {
    ...base,
    nodes: [layerNorm, product, node("MatMul", "h v", "y2"), node("Gemm", "h u c", "y3", { transB: 1 })],
    weights: { ...base.weights, v: matrix(32, 4), u: matrix(24, 5, { swapped: true }), c: [24] },
    outputs: ["y", "y2", "y3"],
  },
  "a Reshape between": {
    ...base,
    nodes: [layerNorm, node("Reshape", "h rows", "flat"), node("Gemm", "flat w", "y")],
    weights: { ...base.weights, rows: tensor("rows", "int64", [2], [-1, C]) },
    feeds: { x: floats([2, 3, C]) },
  },
  "a bias that is the outlier": {
    ...base,
    weights: {
      ...base.weights,
      g: vector(new Array(C).fill(1)),
      b: vector(gamma().map((v) => (v === SIZE ? 200 : 0))),
    },
  },
  "one scale for two norms": {
    ...base,
    nodes: [
      ...[node("LayerNormalization", "x g b", "h1"), node("MatMul", "h1 v", "y1"), node("Add", "x y1", "x2")],
      ...[node("LayerNormalization", "x2 g", "h"), product],
    ],
    weights: { ...base.weights, v: matrix(C, 4) },
  },
};

const dequantized = async (model: Sketch, like?: "onnxruntime") =>
  rewritten(model, like ? { like } : { dtype: "uint8" });

describe("outlier channels of", () => {
  it.each(Object.entries(kinds))("%s are folded into the weights", async (_, model) => {
    const { before, bytes, report } = await dequantized(model);
    expect(
      remarksOf(report).filter((line) => line.startsWith("outlier channels folded into the weights")),
    ).toHaveLength(1);
    expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(34);
  });

  it("a norm would leave little of the others", async () => {
    const kept = await dequantized({
      ...base,
      nodes: [layerNorm, product, node("Relu", "h", "z")],
      outputs: ["y", "z"],
    });
    expect(await nearness(kept.before, kept.bytes, base.feeds)).toBeLessThan(20);
  });

  it.each(["int8", "uint8"] as const)("are folded for %s codes, one scale for all or not", async (dtype) => {
    for (const perChannel of [true, false]) {
      const { before, bytes } = await rewritten(base, { dtype, perChannel, reduceRange: dtype === "int8" });
      expect(await nearness(before, bytes, base.feeds)).toBeGreaterThan(30);
    }
  });

  it("norms are named, with how uneven their scales are", async () => {
    const { report } = await dequantized(base);
    const [line] = report.remarks!.filter(({ code }) => code === "scales-folded");
    expect(String(line!.message)).toBe(
      'outlier channels folded into the weights behind: LayerNormalization "LayerNormalization_of_h" with scales up to 100, their median 1.3',
    );
  });
});

describe("a scale that others take", () => {
  it("stays as it is for them", async () => {
    const model = { ...base, nodes: [...base.nodes, node("Mul", "x g", "z")], outputs: ["y", "z"] };
    const { before, bytes } = await dequantized(model);
    expect(initializersIn(bytes)).toEqual(expect.arrayContaining(["g", "g_folded"]));
    expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(34);
  });
});

describe("outlier channels stay, and a remark says why,", () => {
  const relu = node("Relu", "h", "z");
  const left: Readonly<Record<string, [Sketch, string]>> = {
    "where another node takes the result": [
      { ...base, nodes: [layerNorm, product, relu], outputs: ["y", "z"] },
      "Relu takes the result as it is",
    ],
    "where the graph gives the result": [{ ...base, outputs: ["y", "h"] }, "the graph gives the result"],
    "where the bias is not a constant": [
      {
        ...base,
        weights: { g: base.weights!.g!, w: base.weights!.w! },
        feeds: { ...base.feeds, b: floats([C]) },
      },
      "the bias is not a constant",
    ],
    "where another node takes the weight": [
      { ...base, nodes: [layerNorm, product, node("MatMul", "x w", "z")], outputs: ["y", "z"] },
      'MatMul takes the weight "w" as it is',
    ],
    "where the scale is an input": [
      { ...base, feeds: { ...base.feeds, g: { dims: [C], data: Float32Array.from(gamma()) } } },
      'callers may set "g"',
    ],
  };

  it.each(Object.entries(left))("%s", async (_, [model, why]) => {
    const { bytes, report } = await dequantized(model);
    const { initializers } = readGraph(graphIn(bytes));
    const scale = initializers.find(({ name }) => name === "g")!;
    expect(scale.raw).toEqual(bytesOf(Float32Array.from(gamma())));
    const lines = report
      .remarks!.filter(({ code }) => code === "outlier-channels")
      .map(({ message }) => String(message));
    expect(lines).toEqual([expect.stringContaining(`with scales up to 100, their median 1.3 (${why})`)]);
    expect(report.remarks!.some(({ code }) => code === "scales-folded")).toBe(false);
  });

  it("where a product stays in floating point", async () => {
    const model = { ...base, nodes: [layerNorm, product, node("MatMul", "h v", "z")], outputs: ["y", "z"] };
    const weights = { ...base.weights, v: matrix(32, 4) };
    const { report } = await rewritten({ ...model, weights }, { exclude: ["v"] });
    expect(remarksOf(report).join("\n")).toContain("(MatMul takes the result as it is)");
  });
});

describe("nothing is folded", () => {
  it.each([
    ["of even scales", { ...base, weights: { ...base.weights, g: vector(gamma(3)), w: matrix(48, 3, { size: 1 }) } }],
    [
      "of scales that hold NaN",
      { ...base, weights: { ...base.weights, g: vector([Number.NaN, ...gamma().slice(1)]) } },
    ],
    [
      "of zeros",
      { ...base, weights: { ...base.weights, g: vector(new Array(C).fill(0)), b: vector(new Array(C).fill(0)) } },
    ],
    ["where no product follows", { ...base, nodes: [layerNorm, node("Relu", "h", "z"), node("MatMul", "z w", "y")] }],
  ] as const)("%s", async (_, model) => {
    const { report } = await dequantized(model);
    expect(report.remarks!.filter(({ code }) => code === "scales-folded" || code === "outlier-channels")).toEqual([]);
  });

  it("as ONNX Runtime's tool, or in another mode", async () => {
    const { report } = await dequantized(base, "onnxruntime");
    expect(report.remarks!.map(({ code }) => code)).not.toContain("scales-folded");
    const cast = await rewritten(base, { mode: "weight-only" });
    expect(cast.report.remarks!.map(({ code }) => code)).not.toContain("scales-folded");
  });
});

describe("weights in a file of their own", () => {
  it("are scaled as they are read, with the same codes, and their codes stay there", async () => {
    const { shape, data } = matrix(48, 3);
    const store = { kind: "external", entries: { location: "weights.bin" } } as const;
    const model = sketch({ ...base, weights: { ...base.weights, w: tensor("w", "float32", shape, data, { store }) } });
    const sink = bytesSink();
    const source = bytesSource(model, "model.onnx", { "weights.bin": bytesOf(data) });
    const report = await quantizeModel(engine, source, sink, { mode: "dynamic", dtype: "uint8" });
    expect(remarksOf(report).join("\n")).toContain("outlier channels folded");
    const inside = await dequantized(base);
    const codes = readGraph(graphIn(inside.bytes)).initializers.find(({ name }) => name === "w_quantized")!;
    expect(sink.result(".data")!.subarray(0, 48 * C)).toEqual(codes.raw);
  });
});
