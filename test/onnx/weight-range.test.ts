import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { RangeMethod } from "../../src/engine/tensors/range-method.ts";
import { bytesSink } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { modelNames, modelNeeds, modelSource } from "../helpers/models.ts";
import { skipSuiteWithout } from "../helpers/needs.ts";
import { node } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { rewriterOf } from "../helpers/rewritten.ts";
import { floats, type Sketch } from "../helpers/sketch.ts";

// Ranges of weights by method in every form of a model.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, {});

/** Weights with an outlier in every 40 values. */
const heavy = (name: string, shape: number[], seed: number) => {
  const values = normals(
    randomOf(seed),
    shape.reduce((a, b) => a * b, 1),
  ).map((x, i) => (i % 40 === 7 ? 6 * x : x));
  return tensor(name, "float32", shape, values);
};

const model: Sketch = {
  nodes: [node("MatMul", "x a", "h"), node("Gemm", "h b", "y", { transB: 1 })],
  weights: { a: heavy("a", [64, 96], 1), b: heavy("b", [32, 96], 2) },
  feeds: { x: floats([3, 64]) },
  outputs: ["y"],
};

const forms: readonly QuantizeModelOptions[] = [
  {},
  { dtype: "uint8", format: "qdq" },
  { dtype: "int4", format: "qdq", opset: 21, blockSize: 32 },
  { dtype: "int4" },
  { bits: 8 },
  { dtype: "uint4", scheme: "asymmetric" },
  { mode: "dynamic", reduceRange: true },
];

describe.each(forms)("%o", (form) => {
  it("mse loses no more than the extremes, in any weight, and says what it gained", async () => {
    const before = (await rewritten(model, form)).report.tensors;
    const after = (await rewritten(model, { ...form, weightRange: "mse" })).report.tensors;
    expect(after.map(({ name }) => name)).toEqual(["a", "b"]);
    after.forEach(({ sqnr, rangeGain }, i) => {
      expect(sqnr! - before[i]!.sqnr!).toBeGreaterThanOrEqual(-1e-4);
      expect(rangeGain).toBeGreaterThanOrEqual(0);
      expect(rangeGain).toBeCloseTo(sqnr! - before[i]!.sqnr!, 2);
    });
    expect(before.map(({ rangeGain }) => rangeGain)).toEqual([undefined, undefined]);
  });

  it("percentiles clip, and the model runs", async () => {
    await expectNear(model, { ...form, weightRange: "percentile=90" }, 0);
    const clipped = (await rewritten(model, { ...form, weightRange: "percentile=90" })).report.tensors;
    const all = (await rewritten(model, { ...form, weightRange: "percentile=100" })).report.tensors;
    const plain = (await rewritten(model, form)).report.tensors;
    expect(all.map(({ sqnr }) => sqnr)).toEqual(plain.map(({ sqnr }) => sqnr));
    clipped.forEach(({ maxAbs }, i) => void expect(maxAbs).toBeGreaterThan(plain[i]!.maxAbs!));
  });
});

describe.each(modelNames())("%s", (name) => {
  skipSuiteWithout(...modelNeeds(name));

  it("mse loses no more than the extremes, in any weight", async () => {
    for (const form of [{}, { perChannel: false }, { dtype: "int4", format: "qdq" }] as const) {
      const options = { ...form, weightRange: "mse", allowUnchanged: true } as const;
      const { tensors } = await quantizeModel(engine, modelSource(name), bytesSink(), options);
      for (const { rangeGain } of tensors) expect(rangeGain ?? 0).toBeGreaterThanOrEqual(0);
      expect(tensors.some(({ rangeGain }) => rangeGain !== undefined)).toBe(true);
    }
  });
});

describe("is refused", () => {
  it.each([
    [
      { weightRange: "entropy", dtype: "int4" },
      "weightRange: entropy needs 2048 values or more; blocks have 32: take mse",
    ],
    [{ weightRange: "mse", algorithm: "hqq" }, "algorithm: weightRange chooses the scales; leave one out"],
    [
      { weightRange: "mse", mode: "dynamic", like: "onnxruntime" },
      "weightRange: like takes the tool's own ranges; leave one out",
    ],
    [{ weightRange: "mse", dtype: "float16" }, "weightRange: is for integers; float16 has no scales"],
    [
      { weightRange: "percentile=40" as RangeMethod },
      "weightRange: percentile: expected a number above 50, at most 100",
    ],
  ] as const)("%o", async (options, message) => {
    const format = "algorithm" in options ? { format: "nbits" as const } : {};
    await expect(rewritten(model, { ...format, ...options })).rejects.toThrow(message);
  });
});
