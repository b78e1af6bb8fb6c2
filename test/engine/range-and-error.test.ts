import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizationError } from "../../src/engine/measure/quantization-error.ts";
import { checkGranularity, type Granularity, scaleShapeOf } from "../../src/engine/tensors/granularity.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { expected, groupsOf } from "../helpers/reference.ts";

let engines: { simd: Engine; scalar: Engine };

beforeAll(async () => {
  engines = { simd: await createEngine(), scalar: await createEngine({ kernels: "scalar" }) };
});

describe("range", () => {
  it("finds the extremes as they are, zero as +0", () => {
    const { min, max } = engines.simd.range({ data: Float32Array.of(-0, -3, -1, -0), shape: [2, 2] }, { axis: 0 });
    expect([...min, ...max]).toEqual([-3, -1, 0, 0]);
    expect(Object.is(max[0], 0) && Object.is(max[1], 0)).toBe(true);
  });
  it("leaves out what is not finite when told to", () => {
    const data = Float32Array.of(1, Number.NaN, -2, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN);
    for (const engine of [engines.simd, engines.scalar]) {
      expect(engine.range({ data, shape: [6] }, { nonFinite: "ignore" })).toEqual({
        min: Float32Array.of(-2),
        max: Float32Array.of(1),
      });
      expect(engine.range({ data, shape: [3, 2] }, { axis: 0, nonFinite: "ignore" })).toEqual({
        min: Float32Array.of(1, -2, 0),
        max: Float32Array.of(1, -2, 0),
      });
      const q = engine.quantize({ data, shape: [6] }, { nonFinite: "ignore" });
      expect([...q.data]).toEqual([64, -128, -127, 127, -128, -128]);
    }
  });
});

describe("a single value that is not finite", () => {
  it("is found wherever it stands, in every stream and lane", () => {
    const n = 16_384 + 37;
    const data = normals(randomOf(8), n);
    const random = randomOf(9);
    const places = [...Array(70).keys(), ...Array.from({ length: 200 }, () => Math.floor(random() * n)), n - 1];
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const at of places) {
        const kept = data[at]!;
        data[at] = value;
        const message = `holds ${value} at flat index ${at};`;
        expect(() => engines.simd.range({ data, shape: [n] })).toThrow(message);
        expect(() => engines.simd.quantize({ data, shape: [n] })).toThrow(message);
        data[at] = kept;
      }
    }
  });
});

describe("more groups than a tile holds", () => {
  it.each([
    [[70_001, 2], { axis: 0 }],
    [[3, 70_001], { axis: 1 }],
    [[70_001, 4], { axis: 1, blockSize: 2 }],
    [[3, 9, 9_001], { axis: 1, blockSize: 4 }],
    [[9, 20_001, 3], { axis: 1 }],
  ] as [number[], Granularity][])("%j, %o, resident and not", (shape, granularity) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const data = normals(randomOf(10), n);
    const { simd, scalar } = engines;
    const home = simd.allocate("float32", shape);
    home.data.set(data);
    const groups = scaleShapeOf(shape, checkGranularity(shape, granularity)).reduce((a, b) => a * b, 1);
    const want = expected(data, shape, groups, {
      dtype: "int8",
      scheme: "asymmetric",
      reduceRange: false,
      granularity,
    });
    const flat = (errors: readonly QuantizationError[]) => {
      const numbers = new Float64Array(4 * errors.length);
      expect(Object.keys(errors[0]!)).toHaveLength(4);
      errors.forEach(({ mse, sqnr, maxAbs, cosine }, i) => {
        numbers[4 * i] = mse;
        numbers[4 * i + 1] = sqnr;
        numbers[4 * i + 2] = maxAbs;
        numbers[4 * i + 3] = cosine;
      });
      return numbers;
    };
    const errorsOfReference = flat(scalar.error({ data, shape }, { data: want.values, shape }, granularity));
    for (const tensor of [home, { data, shape }]) {
      const q = simd.quantize(tensor, { scheme: "asymmetric", ...granularity });
      expect(q.scale).toEqual(want.scale);
      expect(q.data.findIndex((code, i) => code !== want.codes[i])).toBe(-1);
      expect(simd.dequantize(q).data.findIndex((x, i) => x !== want.values[i])).toBe(-1);
      const errors = simd.error(tensor, q, granularity);
      expect(errors.length).toBe(groups);
      expect(errorsOfReference).toEqual(flat(errors));
    }
    home.dispose();
  });
});

describe("error", () => {
  it("of each block counts the elements it has, a short last one too", () => {
    const data = normals(randomOf(12), 3 * 10 * 2);
    const shape = [3, 10, 2];
    for (const granularity of [
      { axis: 1, blockSize: 4 },
      { axis: 1 },
      { axis: 2, blockSize: 1 },
      { axis: [0, 1] as const },
    ]) {
      const q = engines.simd.quantize({ data, shape }, { dtype: "int4" });
      const values = engines.simd.dequantize(q).data;
      const group = groupsOf(shape, granularity);
      const count = Math.max(...group) + 1;
      const [squares, sizes, dot, aa, bb] = Array.from({ length: 5 }, () => new Float64Array(count)) as [
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
      ];
      data.forEach((x, i) => {
        const [g, y] = [group[i]!, values[i]!];
        squares[g]! += (x - y) ** 2;
        sizes[g]! += 1;
        dot[g]! += x * y;
        aa[g]! += x * x;
        bb[g]! += y * y;
      });
      const errors = engines.simd.error({ data, shape }, q, granularity);
      expect(errors.length).toBe(count);
      errors.forEach(({ mse, cosine }, g) => {
        expect(mse).toBeCloseTo(squares[g]! / sizes[g]!, 12);
        expect(cosine).toBeCloseTo(squares[g] === 0 ? 1 : dot[g]! / Math.sqrt(aa[g]! * bb[g]!) || 0, 12);
      });
    }
  });

  it("agrees with float64 sums, bit for bit between kernels, tilings and homes", () => {
    const random = randomOf(5);
    for (const [shape, granularity] of [
      [[150_001], {}],
      [[7, 30_011], { axis: 0 }],
      [[30_011, 5], { axis: 1 }],
      [[12, 5, 9], { axis: 1 }],
    ] as [number[], Granularity][]) {
      const n = shape.reduce((a, b) => a * b, 1);
      const data = normals(random, n);
      const { simd, scalar } = engines;
      const q = simd.quantize({ data, shape }, { dtype: "int4", ...granularity });
      const values = simd.dequantize(q).data;
      const whole = simd.error({ data, shape }, q);
      const squares = data.reduce((sum, x, i) => sum + (x - values[i]!) ** 2, 0);
      expect(whole.mse).toBeCloseTo(squares / n, 12);
      expect(whole.sqnr).toBeCloseTo(10 * Math.log10(data.reduce((s, x) => s + x * x, 0) / squares), 9);
      expect(whole.maxAbs).toBe(data.reduce((m, x, i) => Math.max(m, Math.abs(x - values[i]!)), 0));
      expect(whole.cosine).toBeGreaterThan(0.98);
      expect(scalar.error({ data, shape }, q)).toEqual(whole);
      // Floats have no groups to be cut along: the same sums, added in another order.
      const floats = simd.error({ data, shape }, { data: values, shape });
      expect(scalar.error({ data, shape }, { data: values, shape })).toEqual(floats);
      expect(floats.mse / whole.mse).toBeCloseTo(1, 12);
      const home = simd.allocate("float32", shape);
      home.data.set(data);
      expect(simd.error(home, q)).toEqual(whole);
      const residentQ = simd.quantize(home, { dtype: "int4", ...granularity });
      expect(simd.error(home, residentQ)).toEqual(whole);

      if (granularity.axis !== undefined) {
        const axis = granularity.axis;
        const each = simd.error({ data, shape }, q, { axis });
        expect(each.length).toBe(q.scale.length);
        expect(scalar.error({ data, shape }, q, { axis })).toEqual(each);
        expect(simd.error(home, residentQ, { axis })).toEqual(each);
        const mean = each.reduce((sum, { mse }) => sum + mse, 0) / each.length;
        expect(mean).toBeCloseTo(whole.mse, 12);
        expect(Math.max(...each.map((e) => e.maxAbs))).toBe(whole.maxAbs);
      }
      residentQ.dispose();
      home.dispose();
    }
  });
  it("is nothing where nothing was lost", () => {
    const data = Float32Array.of(1, -1, 0.5, 0);
    const error = engines.simd.error({ data, shape: [4] }, { data, shape: [4] });
    expect(error).toEqual({ mse: 0, sqnr: Number.POSITIVE_INFINITY, maxAbs: 0, cosine: 1 });
  });
});
