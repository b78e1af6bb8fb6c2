import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../../src/formats/byte-source.ts";
import { quantizeForTransformersJs } from "../../../src/index.ts";
import type { QuantizeModelOptions } from "../../../src/model.ts";
import { node } from "../../helpers/onnx-build.ts";
import { quantizerOf } from "../../helpers/quantized.ts";
import { floats, indices, type Sketch, sketch } from "../../helpers/sketch.ts";

// Weights that memory does not hold go through part by part: the same bytes, the same report.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

/** Less than any part takes: what can be cut is cut as small as it goes. */
const TINY = 1;

/** A few more than a window's million of elements; rows of an odd length; a tail in every block. */
const [wide, odd] = [
  [1030, 1021],
  [1031, 1019],
];

const layers: Sketch = {
  nodes: [node("MatMul", "x a", "h"), node("Gemm", "h b", "y", { transB: 1 }), node("Gather", "c i", "z")],
  weights: { a: wide, b: { shape: [1029, 1021] }, c: odd },
  feeds: { x: floats([1, 1030]), i: indices([1, 7]) },
  outputs: ["y", "z"],
};

const ways: readonly QuantizeModelOptions[] = [
  { dtype: "int8" },
  { dtype: "uint8", perChannel: false },
  { dtype: "int4", format: "qdq", opset: 21 },
  { dtype: "uint4", format: "qdq", opset: 21 },
  { dtype: "uint4", format: "qdq", opset: 21, blockSize: 32 },
  { dtype: "int8", format: "qdq", opset: 21, blockSize: 48 },
  { mode: "dynamic", dtype: "int8" },
  { mode: "dynamic", dtype: "uint8", perChannel: false },
  { format: "nbits", bits: 4, blockSize: 32 },
  { format: "nbits", bits: 8, blockSize: 64, scheme: "asymmetric" },
  { format: "nbits", bits: 2, blockSize: 16, algorithm: "mse", opTypes: ["MatMul", "Gemm", "Gather"] },
  { dtype: "float16" },
  { dtype: "bfloat16" },
];

describe.each(ways)("%j", (options) => {
  it("is the same within any memory", async () => {
    const quantized = quantizerOf(() => engine);
    const file = sketch(layers);
    const whole = await quantized(file, options);
    const inParts = await quantized(file, { ...options, memory: TINY });
    expect(inParts.report).toEqual(whole.report);
    expect(Buffer.compare(inParts.bytes, whole.bytes)).toBe(0);
    expect(whole.bytes.length).toBeLessThan(file.length);
  });
});

it("the set for transformers.js, bnb4 among it, is the same within any memory", async () => {
  const file = sketch(layers);
  const [whole, inParts] = await Promise.all(
    [undefined, TINY].map(async (memory) => {
      const sinks = new Map<string, ReturnType<typeof bytesSink>>();
      const reports = await quantizeForTransformersJs(
        engine,
        bytesSource(file, "model.onnx"),
        async (suffix) => {
          const sink = bytesSink(`model${suffix}.onnx`);
          sinks.set(suffix, sink);
          return sink;
        },
        { memory },
      );
      return { reports, sinks };
    }),
  );
  expect(inParts!.reports).toEqual(whole!.reports);
  expect(whole!.sinks.size).toBe(7);
  for (const [suffix, sink] of whole!.sinks) {
    expect(Buffer.compare(inParts!.sinks.get(suffix)!.result(), sink.result()), suffix).toBe(0);
  }
});

describe("what cannot be stored", () => {
  const withValue = (value: number, at: number) => {
    const data = new Float32Array(1030 * 1021).fill(0.5);
    data[at] = value;
    return sketch({ ...layers, weights: { ...layers.weights, a: { shape: wide, data } } });
  };

  it.each([
    [{ dtype: "int8" }],
    [{ dtype: "int8", perChannel: false }],
    [{ mode: "dynamic" }],
    [{ format: "nbits", bits: 4 }],
    [{ format: "nbits", bits: 4, scheme: "asymmetric" }],
  ] as [QuantizeModelOptions][])("NaN is told by its place in the weight, %j", async (options) => {
    const at = 1_040_000;
    const quantized = quantizerOf(() => engine);
    const file = withValue(Number.NaN, at);
    for (const memory of [undefined, TINY]) {
      await expect(quantized(file, { ...options, memory })).rejects.toThrow(`"a": holds NaN at flat index ${at}`);
    }
  });

  it("and so is what float16 does not hold", async () => {
    const quantized = quantizerOf(() => engine);
    for (const memory of [undefined, TINY]) {
      await expect(quantized(withValue(1e6, 1_045_000), { dtype: "float16", memory })).rejects.toThrow(
        "flat index 1045000",
      );
    }
  });

  it("values that were clamped are counted alike", async () => {
    const quantized = quantizerOf(() => engine);
    const [whole, inParts] = await Promise.all(
      [undefined, TINY].map((memory) =>
        quantized(withValue(1e6, 1_045_000), { dtype: "float16", clamp: true, memory }),
      ),
    );
    expect(inParts!.report).toEqual(whole!.report);
    expect(Buffer.compare(inParts!.bytes, whole!.bytes)).toBe(0);
  });
});
