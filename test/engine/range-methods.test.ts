import { beforeAll, describe, expect, it } from "vitest";
import type { CodeDType } from "../../src/dtypes.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { shares } from "../../src/engine/range-search/clipping-errors.ts";
import { checkGranularity, type Granularity, scaleShapeOf } from "../../src/engine/tensors/granularity.ts";
import type { QuantizeOptions } from "../../src/engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../../src/engine/tensors/range-method.ts";
import { quantizeConv, quantizeLinear } from "../../src/index.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { groupsOf } from "../helpers/reference.ts";

// Range methods against brute force in float64, on SIMD and reference kernels.

let engines: { simd: Engine; scalar: Engine };

beforeAll(async () => {
  engines = { simd: await createEngine(), scalar: await createEngine({ kernels: "scalar" }) };
});

const elements = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Mostly narrow, one value in a hundred eight times as wide. */
function heavyTailed(seed: number, n: number): Float32Array {
  return normals(randomOf(seed), n).map((x, i) => (i % 101 === 7 ? 8 * x : x));
}

const granularities: readonly (readonly [string, readonly number[], Granularity])[] = [
  ["per tensor", [30, 41], {}],
  ["per channel, first axis", [12, 90], { axis: 0 }],
  ["per channel, last axis", [90, 12], { axis: 1 }],
  ["per channel, middle axis", [9, 4, 11], { axis: 1 }],
  ["per channel, narrow", [300, 3, 2], { axis: 1 }],
  ["per block", [6, 80], { axis: 1, blockSize: 32 }],
  ["per block, first axis", [70, 6], { axis: 0, blockSize: 32 }],
];

describe.each(granularities)("mse, %s", (_, shape, granularity) => {
  const data = heavyTailed(1, elements(shape));
  const cases = (["int8", "uint8", "int4", "uint4"] as const).flatMap((dtype) =>
    (["symmetric", "asymmetric", "float-offset"] as const).map((scheme) => [dtype, scheme] as const),
  );

  it.each(cases)("%s, %s: no clipping tried has a smaller error in any group", (dtype, scheme) => {
    const how = { dtype, scheme, ...granularity };
    const found = engines.simd.quantize({ data, shape }, { ...how, range: "mse" });
    const errors = errorsOf(data, shape, how, found);
    const extremes = engines.simd.range({ data, shape }, granularity);
    for (const share of shares) {
      const range = {
        min: extremes.min.map((low, i) => clipped(low, extremes.max[i]!, share)[0]),
        max: extremes.max.map((high, i) => clipped(extremes.min[i]!, high, share)[1]),
      };
      const tried = errorsOf(data, shape, how, engines.simd.quantize({ data, shape }, { ...how, range }));
      errors.forEach((error, i) => void expect(error).toBeLessThanOrEqual(tried[i]! * (1 + 2e-6)));
    }
    const reference = engines.scalar.quantize({ data, shape }, { ...how, range: "mse" });
    expect(found).toEqual(reference);
  });
});

/** The bounds of a group, the larger magnitudes of it left out; here no group is without 0. */
function clipped(low: number, high: number, share: number): [number, number] {
  const most = Math.max(-low, high) * share;
  return [Math.max(low, -most), Math.min(high, most)];
}

/** The squared error of each group. */
function errorsOf(
  data: Float32Array,
  shape: readonly number[],
  { axis, blockSize }: QuantizeOptions<CodeDType>,
  q: Parameters<Engine["dequantize"]>[0],
): Float64Array {
  const granularity = checkGranularity(shape, { axis, blockSize });
  const groups = groupsOf(shape, granularity);
  const errors = new Float64Array(elements(scaleShapeOf(shape, granularity)));
  const values = engines.simd.dequantize(q).data;
  data.forEach((x, i) => {
    errors[groups[i]!]! += (x - values[i]!) ** 2;
  });
  return errors;
}

describe("percentile", () => {
  it.each(granularities)("is exact for few values: %s", (_, shape, granularity) => {
    const data = heavyTailed(2, elements(shape));
    const checked = checkGranularity(shape, granularity);
    const groups = groupsOf(shape, checked);
    const count = elements(scaleShapeOf(shape, checked));
    for (const scheme of ["symmetric", "asymmetric"] as const) {
      const { min, max } = engines.simd.range({ data, shape }, { ...granularity, method: "percentile=90", scheme });
      for (let g = 0; g < count; g++) {
        const values = Array.from(data).filter((__, i) => groups[i] === g);
        const [low, high] = percentileOf(values, 90, scheme === "symmetric");
        expect([min[g], max[g]]).toEqual([low, high]);
      }
    }
  });

  it.each([50.1, 90, 99, 99.9, 99.99, 100])("of many values: to a bin, outward; %s", (percentile) => {
    const n = 50_000;
    const data = heavyTailed(3, n);
    for (const scheme of ["symmetric", "asymmetric"] as const) {
      const method: RangeMethod = `percentile=${percentile}`;
      for (const [shape, axis] of [
        [[n], undefined],
        [[1, n], 0],
        [[n, 1], 1],
      ] as const) {
        const { min, max } = engines.simd.range({ data, shape }, { axis, method, scheme });
        const [low, high] = percentileOf([...data], percentile, scheme === "symmetric");
        const width = Math.max(...data.map(Math.abs)) / 2048;
        expect(min[0]).toBeLessThanOrEqual(low);
        expect(min[0]).toBeGreaterThanOrEqual(low - width);
        expect(max[0]).toBeGreaterThanOrEqual(high);
        expect(max[0]).toBeLessThanOrEqual(high + width);
      }
    }
  });
});

/** By sorting: of magnitudes, or the same share at either end. */
function percentileOf(values: readonly number[], percentile: number, byMagnitude: boolean): [number, number] {
  const n = values.length;
  const sorted = [...values].sort((a, b) => a - b);
  if (!byMagnitude) {
    const out = Math.floor((n * (100 - percentile)) / 200 + 1e-9);
    return [sorted[out]!, sorted[n - 1 - out]!];
  }
  const magnitudes = values.map(Math.abs).sort((a, b) => a - b);
  const most = magnitudes[n - 1 - Math.floor((n * (100 - percentile)) / 100 + 1e-9)]!;
  return [Math.max(sorted[0]!, -most), Math.min(sorted[n - 1]!, most)];
}

describe("entropy", () => {
  it("leaves a uniform distribution as it is, and clips a heavy tail", () => {
    const n = 40_000;
    const random = randomOf(4);
    const uniform = Float32Array.from({ length: n }, () => 2 * random() - 1);
    const even = engines.simd.range({ data: uniform, shape: [n] }, { method: "entropy" });
    expect(even.max[0]! - even.min[0]!).toBeGreaterThan(1.9);
    const heavy = normals(random, n).map((x, i) => (i % 5000 === 7 ? 100 : x));
    const narrow = engines.simd.range({ data: heavy, shape: [n] }, { method: "entropy" });
    expect(narrow.max[0]).toBeLessThan(20);
    expect(narrow.max[0]).toBeGreaterThan(2);
  });

  it("keeps the extremes of groups too small for a histogram", () => {
    const data = heavyTailed(5, 1000);
    const extremes = engines.simd.range({ data, shape: [1000] });
    expect(engines.simd.range({ data, shape: [1000] }, { method: "entropy" })).toEqual(extremes);
  });
});

describe("all methods", () => {
  const methods = ["mse", "percentile=99", "entropy"] as const;

  it.each(methods)("%s: reference kernels, residents and half precision give the same", (range) => {
    const shape = [5, 6001];
    const floats = heavyTailed(6, elements(shape));
    const resident = engines.simd.allocate("float32", shape);
    resident.data.set(floats);
    for (const axis of [undefined, 0]) {
      const options = { dtype: "int4", axis, range } as const;
      const q = engines.simd.quantize({ data: floats, shape }, options);
      expect(engines.scalar.quantize({ data: floats, shape }, options)).toEqual(q);
      const inMemory = engines.simd.quantize(resident, options);
      expect([...inMemory.scale]).toEqual([...q.scale]);
      expect(engines.simd.quantizeWithError({ data: floats, shape }, options).q).toEqual(q);
      inMemory.dispose();
    }
    resident.dispose();
    const half = { dtype: "bfloat16", shape, data: Uint16Array.from(new Uint32Array(floats.buffer), (w) => w >>> 16) };
    const values = new Float32Array(Uint32Array.from(half.data, (w) => w << 16).buffer);
    expect(engines.simd.range({ ...half, dtype: "bfloat16" }, { method: range })).toEqual(
      engines.simd.range({ data: values, shape }, { method: range }),
    );
  });

  it.each(methods)("%s: zeros, constants, one value, none", (method) => {
    for (const [data, min, max] of [
      [new Float32Array(5000), 0, 0],
      [new Float32Array(5000).fill(3), 3, 3],
      [Float32Array.of(-2), -2, -2],
      [new Float32Array(0), 0, 0],
    ] as const) {
      const found = engines.simd.range({ data, shape: [data.length] }, { method, dtype: "uint8" });
      expect(found.min[0]).toBeLessThanOrEqual(max);
      expect(found.max[0]).toBeGreaterThanOrEqual(min);
      expect(() => engines.simd.quantize({ data, shape: [data.length] }, { range: method })).not.toThrow();
    }
  });

  it.each(methods)("%s: NaN is refused by its place, or left out", (range) => {
    const data = heavyTailed(7, 6000);
    data[4321] = Number.NaN;
    data[17] = Number.POSITIVE_INFINITY;
    expect(() => engines.simd.quantize({ data, shape: [6000] }, { range })).toThrow("flat index 17");
    const { min, max } = engines.simd.range({ data, shape: [6000] }, { method: range, nonFinite: "ignore" });
    expect(Number.isFinite(min[0]) && Number.isFinite(max[0]) && min[0]! < max[0]!).toBe(true);
  });

  it("mse looks at what is finite, under ignore", () => {
    const data = heavyTailed(7, 6000);
    const holed = data.slice();
    [holed[7], holed[4321], holed[108]] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    const options = { method: "mse", dtype: "int4" } as const;
    const found = engines.simd.range({ data: holed, shape: [6000] }, { ...options, nonFinite: "ignore" });
    const finite = holed.filter(Number.isFinite);
    expect(found).toEqual(engines.simd.range({ data: finite, shape: [finite.length] }, options));
    expect(found.max[0]).toBeLessThan(Math.max(...finite));
  });

  it.each([1e-37, 2e-36, 1e-30, 1e-20, 1e20, 1e30, 1e37])("mse of values of about %s loses no more", (magnitude) => {
    for (const scheme of ["symmetric", "asymmetric", "float-offset", "dynamic"] as const) {
      const dtypes = scheme === "dynamic" ? (["uint8"] as const) : (["int4", "uint8", "int16"] as const);
      for (const [i, dtype] of dtypes.entries()) {
        const data = heavyTailed(20 + i, 3000).map((x) => x * magnitude * 0.5);
        const x = { data, shape: [3000] };
        const before = engines.simd.quantize(x, { dtype, scheme });
        const { q, loss } = engines.simd.quantizeWithError(x, { dtype, scheme, range: "mse" });
        const [squared, extremes] = [q, before].map((each) => engines.simd.error(x, each).mse);
        expect(squared).toBeLessThanOrEqual(extremes! * (1 + 1e-5));
        expect(loss.rangeGain ?? 0).toBeGreaterThanOrEqual(0);
        if (dtype === "int4" && magnitude > 1e-35) expect(squared).toBeLessThan(extremes!);
      }
    }
  });

  it.each(["mse", "entropy"] as const)("%s clips positive values as it does where 0 is among them", (method) => {
    const data = normals(randomOf(30), 20_000).map((x) => 0.01 + Math.exp(x));
    const withZero = data.slice();
    withZero[0] = 0;
    for (const scheme of ["symmetric", "asymmetric"] as const) {
      const options = { method, dtype: "uint4", scheme } as const;
      const [max, other] = [data, withZero].map(
        (x) => engines.simd.range({ data: x, shape: [20_000] }, options).max[0],
      );
      expect(max).toBeCloseTo(other!, 3);
      expect(max).toBeLessThan(Math.max(...data) * 0.45);
    }
  });

  it("have +0 as a bound of zero", () => {
    const data = new Float32Array(100).fill(-0);
    [data[0], data[1]] = [-1, 1];
    for (const scheme of ["symmetric", "asymmetric"] as const) {
      const found = engines.simd.range({ data, shape: [100] }, { method: "percentile=90", scheme });
      expect(found).toEqual({ min: Float32Array.of(0), max: Float32Array.of(0) });
    }
  });

  it("float-offset: a percentile of values further apart than float32 is found", () => {
    const data = Float32Array.from({ length: 4000 }, (_, i) => (i === 0 ? 3e38 : i === 1 ? -3e38 : 1e37));
    const options = { dtype: "uint8", scheme: "float-offset", range: "percentile=99" } as const;
    expect(() => engines.simd.quantize({ data, shape: [4000] }, options)).not.toThrow();
  });

  it("tell what they gained over the extremes", () => {
    const shape = [16, 4000];
    const data = heavyTailed(8, elements(shape));
    const how = { dtype: "int4", axis: 0 } as const;
    const before = engines.simd.quantizeWithError({ data, shape }, how).loss;
    expect(before.rangeGain).toBeUndefined();
    const after = engines.simd.quantizeWithError({ data, shape }, { ...how, range: "mse" }).loss;
    expect(after.rangeGain).toBeCloseTo(after.sqnr - before.sqnr, 3);
    expect(after.rangeGain).toBeGreaterThan(3);
  });

  it("serve layers, weights and biases over their own range", () => {
    const weight = { data: heavyTailed(9, 64 * 90), shape: [64, 90] };
    const bias = { data: heavyTailed(10, 64), shape: [64] };
    const options = { dtype: "int4", biasDtype: "int8", range: "mse" } as const;
    const { weight: w, bias: b } = quantizeLinear(engines.simd, { weight, bias }, options);
    expect(w).toEqual(engines.simd.quantize(weight, { dtype: "int4", axis: 0, range: "mse" }));
    expect(b).toEqual(engines.simd.quantize(bias, { dtype: "int8", range: "mse" }));
    const kernel = { data: weight.data, shape: [64, 10, 3, 3] };
    const conv = quantizeConv(engines.simd, { weight: kernel }, { range: "percentile=99" });
    expect(conv.weight).toEqual(engines.simd.quantize(kernel, { axis: 0, range: "percentile=99" }));
    expect(() => quantizeConv(engines.simd, { weight: kernel }, { range: { min: -1, max: 1 } as never })).toThrow(
      "range: expected one of minmax, mse, entropy, percentile=P; got [object Object]",
    );
  });

  it.each([null, 5, true])("%s is refused", (range) => {
    const x = { data: Float32Array.of(1), shape: [1] };
    expect(() => engines.simd.quantize(x, { range: range as never })).toThrow("range: expected one of minmax");
  });

  it.each([
    ["least", 'range: expected one of minmax, mse, entropy, percentile=P; got "least"'],
    ["mse=3", 'range: expected one of minmax, mse, entropy, percentile=P; got "mse=3"'],
    ["percentile=50", 'range: percentile: expected a number above 50, at most 100; got "50"'],
    ["percentile=100.1", 'range: percentile: expected a number above 50, at most 100; got "100.1"'],
    ["percentile=", 'range: percentile: expected a number above 50, at most 100; got ""'],
    ["percentile=many", 'range: percentile: expected a number above 50, at most 100; got "many"'],
  ])("%s is refused", (range, message) => {
    const x = { data: Float32Array.of(1), shape: [1] };
    expect(() => engines.simd.quantize(x, { range: range as RangeMethod })).toThrow(message);
    expect(() => engines.simd.range(x, { method: range as RangeMethod })).toThrow(message.replace("range:", "method:"));
  });
});
