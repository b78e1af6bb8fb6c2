import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { compareModels, inspectModel, type QuantizeModelOptions, quantizeForTransformersJs } from "../../src/model.ts";
import type { ModelInspection } from "../../src/onnx/inspect-onnx.ts";
import type { TransformersJsVariant } from "../../src/onnx/transformers-js.ts";
import { node } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { floats, indices, type Sketch, sketch } from "../helpers/sketch.ts";

// Models whose layers run on codes, quantized again, looked at and compared: what they hold is told from floats, and
// restored as their nodes understand it. Those whose weights are restored in the graph are in again.test.ts.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const nothing = "nothing to do: the model is written as it was read";

/** Every layer that has a form in integers or blocks; two of them have a side of their own as long as the other. */
const layers: Sketch = {
  opset: 21,
  ir: 10,
  opsets: { "com.microsoft": 1 },
  nodes: [
    node("Gather", "table ids", "r"),
    node("MatMul", "r w", "h"),
    node("Gemm", "h g c", "y", { transB: 1 }),
    node("Gemm", "y s", "z", { transB: 1 }),
    node("MatMul", "m v", "u"),
    node("Conv", "i k", "o"),
    node("Conv", "i q", "p"),
    node("LSTM", "x W R", "l", { hidden_size: 16, direction: "bidirectional" }),
    node("Attention", "x aw ab", "e", { num_heads: 2 }, { domain: "com.microsoft" }),
  ],
  weights: {
    ...{ table: [40, 64], w: [64, 48], g: [33, 48], c: [33], s: [33, 33], v: [8, 64, 8] },
    ...{ k: [12, 8, 3, 3], q: [8, 8, 3, 3], W: [2, 64, 16], R: [2, 64, 16], aw: [16, 48], ab: [48] },
  },
  feeds: {
    ids: indices([3, 1, -2]),
    m: floats([8, 2, 64]),
    i: floats([1, 8, 6, 6]),
    x: floats([4, 2, 16]),
  },
  outputs: ["z", "u", "o", "p", "l", "e"],
};

const eight = ["table", "w", "g", "s", "v", "k", "q", "W", "R", "aw"];
const blocks = ["w", "g", "s"];
const more = ["table", "w", "g", "s"];
const opTypes = ["MatMul", "Gemm", "Gather"];

const forms: readonly { options: QuantizeModelOptions; names: readonly string[]; least: number }[] = [
  { options: { mode: "dynamic" }, names: eight, least: 35 },
  { options: { mode: "dynamic", dtype: "uint8" }, names: eight, least: 35 },
  { options: { mode: "dynamic", perChannel: false, reduceRange: true }, names: eight, least: 28 },
  { options: { dtype: "int4" }, names: blocks, least: 16 },
  { options: { dtype: "int4", opTypes, blockSize: 16 }, names: more, least: 16 },
  { options: { dtype: "int4", opTypes, scheme: "asymmetric" }, names: more, least: 16 },
  { options: { bits: 8, opTypes, scheme: "asymmetric", blockSize: 32 }, names: more, least: 40 },
  { options: { bits: 2, opTypes, blockSize: 16 }, names: more, least: 3 },
  { options: { format: "qdq", dtype: "int4", blockSize: 16 }, names: eight, least: 15 },
];

const again: readonly QuantizeModelOptions[] = [
  { again: true },
  { again: true, perChannel: false, dtype: "uint8" },
  { again: true, format: "qdq" },
  { again: true, mode: "dynamic" },
  { again: true, mode: "dynamic", perChannel: false, dtype: "uint8" },
  { again: true, dtype: "int4", opTypes, blockSize: 16 },
  { again: true, bits: 8, scheme: "asymmetric" },
];

const inspect = async (bytes: Uint8Array) =>
  (await inspectModel(engine, bytesSource(bytes, "model.onnx"))) as ModelInspection;

describe.each(forms)("$options", ({ options, names, least }) => {
  const before = sketch(layers);

  it("is quantized where it was to be", async () => {
    const { report } = await quantized(before, options);
    const done = report.tensors.filter(({ reason }) => reason === undefined).map(({ name }) => name);
    expect(done.sort()).toEqual([...names].sort());
  });

  it("is refused by all modes and formats of integers", async () => {
    const { bytes } = await quantized(before, options);
    for (const { again: _, ...how } of again) {
      await expect(quantized(bytes, how)).rejects.toThrow(/is quantized already: \d+ weights of/);
    }
  });

  it("is left as it is by all modes and formats, as far as it goes", async () => {
    const { bytes } = await quantized(before, options);
    // What the first run left is no matter: it is told to be left again.
    const exclude = eight.filter((name) => !names.includes(name));
    for (const how of again) {
      const types = how.opTypes && { opTypes: how.opTypes.filter((type) => hasOp(bytes, type)) };
      if (types?.opTypes.length === 0) continue;
      const second = await quantized(bytes, { ...how, ...types, ...(exclude.length > 0 && { exclude }) });
      expect(second.bytes).toEqual(bytes);
      const done = second.report.tensors.filter(({ reason }) => reason === undefined);
      expect(done).toEqual([]);
      expect(remarksOf(second.report)).toContain(nothing);
      expect(remarksOf(second.report).join("\n")).toMatch(/weights that are quantized already stay as they are, with/);
    }
  });

  it("has these weights to inspect as quantized already", async () => {
    const { bytes } = await quantized(before, options);
    const { quantized: found, weights } = await inspect(bytes);
    expect(found.map(({ name }) => name).sort()).toEqual([...names].sort());
    const shapes = { ...(layers.weights as Record<string, readonly number[]>) };
    // A product's matrix lies one way in the file, however the weight lay.
    const turned = ["g", "s"];
    for (const { name, shape } of found) {
      const own = shapes[name]!;
      expect([own, ...(turned.includes(name) ? [[...own].reverse()] : [])], name).toContainEqual(shape);
    }
    expect(weights.map(({ name }) => name)).toEqual(expect.not.arrayContaining([...names]));
    expect(weights.filter(({ name }) => /_(scale|scales|absmax)$/.test(name))).toEqual([]);
  });

  it("compares weight by weight with the float model, as the report said", async () => {
    const { bytes, report } = await quantized(before, options);
    const { weights, otherShapes } = await compareModels(
      engine,
      bytesSource(before, "model.onnx"),
      bytesSource(bytes, "quantized.onnx"),
    );
    expect(otherShapes).toEqual([]);
    const own = weights.filter(({ name }) => names.includes(name));
    expect(own.map(({ name }) => name).sort()).toEqual([...names].sort());
    for (const { name, sqnr } of own) {
      expect(sqnr, name).toBeGreaterThan(least);
      // Two ways to add up the same.
      expect(sqnr, name).toBeCloseTo(report.tensors.find((each) => each.name === name)!.sqnr!, 2);
    }
  });
});

describe("files of the set for transformers.js", () => {
  const plain: Sketch = {
    nodes: [node("MatMul", "x w", "h"), node("MatMul", "h v", "y"), node("MatMul", "h v", "z")],
    weights: { w: [64, 48], v: [48, 33] },
    feeds: { x: floats([3, 64]) },
    outputs: ["y", "z"],
  };

  it.each<{ variant: TransformersJsVariant; dtype: string; least: number }>([
    { variant: "q4", dtype: "int4", least: 18 },
    { variant: "q4f16", dtype: "int4", least: 18 },
    { variant: "bnb4", dtype: "nf4", least: 18 },
    { variant: "q8", dtype: "int8", least: 40 },
  ])("$variant: $dtype is found, compared and left as it is", async ({ variant, dtype, least }) => {
    const before = sketch(plain);
    const sink = bytesSink();
    const source = bytesSource(before, "model.onnx");
    await quantizeForTransformersJs(engine, source, async () => sink, { only: [variant] });
    const bytes = sink.result();
    const { quantized: found } = await inspect(bytes);
    expect(found).toMatchObject([
      { name: "w", shape: [64, 48], dtype },
      { name: "v", shape: [48, 33], dtype },
    ]);
    const { weights } = await compareModels(engine, source, bytesSource(bytes, "other.onnx"));
    expect(weights.map(({ name }) => name)).toEqual(["w", "v"]);
    for (const { sqnr } of weights) expect(sqnr).toBeGreaterThan(least);
    for (const how of again) {
      // None of those types is left.
      const second = await quantized(bytes, { ...how, opTypes: undefined });
      expect(second.bytes).toEqual(bytes);
    }
  });
});

it("weights whose parts go by other names are found by what the nodes do with them", async () => {
  const model: Sketch = {
    nodes: [
      node("Add", "x w_scale", "a"),
      node("MatMul", "a w", "h"),
      node("Reshape", "h to", "i"),
      node("Conv", "i k", "y"),
      node("Add", "k k_scale", "z"),
    ],
    weights: {
      ...{ w: [64, 36], w_quantized: [1], w_scale: [1], w_zero_point: [1] },
      ...{ k: [4, 4, 3, 3], k_quantized: [1], k_scale: [1], k_zero_point: [1] },
      to: tensor("to", "int64", [4], [3, 4, 3, 3]),
    },
    feeds: { x: floats([3, 64]) },
    outputs: ["y", "z"],
  };
  const before = sketch(model);
  const { bytes } = await quantized(before, { mode: "dynamic", opTypes: ["MatMul", "Conv"], dtype: "int8" });
  const { quantized: found } = await inspect(bytes);
  expect(found).toMatchObject([
    { name: "w", shape: [64, 36], dtype: "int8", scales: 36 },
    { name: "k", shape: [4, 4, 3, 3], dtype: "int8", scales: 4 },
  ]);
  const { weights } = await compareModels(engine, bytesSource(before, "a.onnx"), bytesSource(bytes, "b.onnx"));
  expect(weights.filter(({ b }) => b === "int8").map(({ name }) => name)).toEqual(["w", "k"]);
  for (const { sqnr } of weights) expect(sqnr).toBeGreaterThan(40);
});

function hasOp(bytes: Uint8Array, type: string): boolean {
  // Types are written as they are read: a length, then the name.
  return Buffer.from(bytes).includes(Buffer.from([0x22, type.length, ...Buffer.from(type)]));
}
