import { beforeAll, describe, expect, it } from "vitest";
import { createOutputMeter, type FloatComparison, type OutputComparison } from "../../src/compare/compare-outputs.ts";
import type { FeedTensor } from "../../src/compare/tensor-values.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { normals, randomOf } from "../helpers/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ kernels: "scalar" });
});

const floats = (shape: readonly number[], values: ArrayLike<number>): FeedTensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

/** What a meter says of pairs of outputs. */
function compare(...pairs: readonly (readonly [FeedTensor, FeedTensor])[]): OutputComparison {
  const meter = createOutputMeter(engine);
  for (const [a, b] of pairs) meter.add(a, b);
  return meter.result();
}

const compareFloats = (...pairs: readonly (readonly [FeedTensor, FeedTensor])[]) =>
  compare(...pairs) as FloatComparison;

describe("float outputs", () => {
  it("that are equal have lost nothing", () => {
    const a = floats([2, 2], [1, 2, 3, 4]);
    expect(compare([a, a], [a, a])).toEqual({
      ...{ kind: "float", elements: 8, sqnr: Infinity, cosine: 1, maxAbs: 0, nonFinite: 0, top1: 1 },
    });
  });

  it("are measured as by hand", () => {
    const { sqnr, cosine, maxAbs, elements } = compareFloats([floats([3], [3, 4, 0]), floats([3], [3, 2, 1])]);
    expect(elements).toBe(3);
    expect(sqnr).toBeCloseTo(10 * Math.log10(25 / 5), 10);
    expect(cosine).toBeCloseTo(17 / (5 * Math.sqrt(14)), 12);
    expect(maxAbs).toBe(2);
  });

  it("of several sets are measured as one tensor of all, also where sets differ in size and scale", () => {
    const random = randomOf(3);
    const sets = [1, 1000, 70_000, 3].map((n, i) => {
      const a = normals(random, n, 10 ** i);
      return [a, a.map((x, j) => x + normals(random, 1, 0.01 + (j % 2))[0]!)] as const;
    });
    const pairs = sets.map(([a, b]) => [floats([a.length], a), floats([b.length], b)] as const);
    const joined = (side: 0 | 1) => Float32Array.from(sets.flatMap((set) => [...set[side]]));
    const n = joined(0).length;
    const whole = engine.error({ data: joined(0), shape: [n] }, { data: joined(1), shape: [n] });
    const { sqnr, cosine, maxAbs, elements } = compareFloats(...pairs);
    expect(elements).toBe(n);
    expect(maxAbs).toBe(whole.maxAbs);
    expect(sqnr).toBeCloseTo(whole.sqnr, 10);
    expect(cosine).toBeCloseTo(whole.cosine, 12);
  });

  it("keep their figures when a set without a difference follows, and the other way round", () => {
    const same = [floats([2], [3, 4]), floats([2], [3, 4])] as const;
    const other = [floats([2], [1, 0]), floats([2], [0, 1])] as const;
    for (const pairs of [
      [same, other],
      [other, same],
    ]) {
      const { sqnr, cosine, maxAbs } = compareFloats(...pairs);
      expect(sqnr).toBeCloseTo(10 * Math.log10(26 / 2), 10);
      expect(cosine).toBeCloseTo(25 / 26, 12);
      expect(maxAbs).toBe(1);
    }
  });

  it("of zeros alone are equal, and have no likeness to others", () => {
    const zeros = floats([2], [0, 0]);
    expect(compare([zeros, zeros])).toMatchObject({ sqnr: Infinity, cosine: 1, maxAbs: 0 });
    expect(compare([zeros, floats([2], [1, 0])])).toMatchObject({ sqnr: -Infinity, cosine: 0, maxAbs: 1 });
    expect(compare([floats([2], [1, 0]), zeros])).toMatchObject({ sqnr: 0, cosine: 0, maxAbs: 1 });
  });

  it("without elements are equal", () => {
    const none = floats([1, 0, 4], []);
    expect(compare([none, none])).toEqual({
      ...{ kind: "float", elements: 0, sqnr: Infinity, cosine: 1, maxAbs: 0, nonFinite: 0 },
    });
  });

  it("of half and double precision are measured in float32", () => {
    const half: FeedTensor = { dtype: "float16", shape: [3], data: Uint16Array.of(0x3c00, 0xc000, 0x0001) };
    const double: FeedTensor = { dtype: "float64", shape: [3], data: Float64Array.of(1, -2, 2 ** -24) };
    const single = floats([3], [1, -2, 2 ** -24]);
    for (const a of [half, double, single]) {
      for (const b of [half, double, single]) expect(compare([a, b])).toMatchObject({ sqnr: Infinity, elements: 3 });
    }
    expect(compare([half, floats([3], [1, -2, 1])])).toMatchObject({ maxAbs: 1 - 2 ** -24 });
    expect(compare([double, floats([3], [1, -1, 0])])).toMatchObject({ maxAbs: 1 });
  });
});

describe("NaN and infinities", () => {
  it.each([
    ["NaN", Number.NaN, 1],
    ["infinity", Infinity, 1],
    ["a number", 1, -Infinity],
    ["the other infinity", -Infinity, Infinity],
    ["NaN for infinity", Infinity, Number.NaN],
  ])("in one output, %s in the other, are counted and leave no figures", (_, x, y) => {
    const finite = [floats([2], [1, 2]), floats([2], [1, 2])] as const;
    expect(compare(finite, [floats([4], [1, x, 2, x]), floats([4], [1, y, 2, x])], finite)).toEqual({
      ...{ kind: "float", elements: 8, sqnr: -Infinity, cosine: Number.NaN, maxAbs: Infinity, nonFinite: 1 },
    });
  });

  it("in both alike are equal, and the rest is measured without them", () => {
    const a = floats([5], [3, -Infinity, 4, Number.NaN, Infinity]);
    const b = floats([5], [3, -Infinity, 3, Number.NaN, Infinity]);
    const { sqnr, cosine, maxAbs, nonFinite } = compareFloats([a, b]);
    expect(nonFinite).toBe(0);
    expect(sqnr).toBeCloseTo(10 * Math.log10(25), 10);
    expect(cosine).toBeCloseTo(21 / Math.sqrt(25 * 18), 12);
    expect(maxAbs).toBe(1);
  });

  it("leave the outputs as they were", () => {
    const a = floats([2], [Number.NaN, 1]);
    compare([a, floats([2], [0, 5])]);
    expect(a.data).toEqual(Float32Array.of(Number.NaN, 1));
  });
});

describe("top-1 agreement", () => {
  const scores = (...rows: readonly (readonly number[])[]) => floats([rows.length, rows[0]!.length], rows.flat());

  it("is the share of rows, over all sets, with the largest value at the same place", () => {
    const first = [scores([1, 2, 3], [9, 0, 0], [0, 5, 0]), scores([7, 8, 9], [0, 9, 0], [0, 1, 0])] as const;
    const second = [scores([1, 0, 0]), scores([0, 0, 1])] as const;
    expect(compareFloats(first, second).top1).toBe(2 / 4);
  });

  it("takes the first of equal values, and values below zero", () => {
    expect(compareFloats([scores([-1, -1, -5]), scores([-1, -3, -2])]).top1).toBe(1);
    expect(compareFloats([scores([-1, -1, -5]), scores([-3, -1, -2])]).top1).toBe(0);
  });

  it("passes over NaN", () => {
    expect(compareFloats([scores([0, 2, 1]), scores([Number.NaN, 2, 1])]).top1).toBe(1);
    expect(compareFloats([scores([2, 1, 0]), scores([Number.NaN, 2, 1])]).top1).toBe(0);
    expect(compareFloats([scores([2, 1]), scores([Number.NaN, Number.NaN])]).top1).toBe(0);
    expect(compareFloats([scores([-Infinity, -Infinity]), scores([-Infinity, -Infinity])]).top1).toBe(1);
  });

  it.each([
    [[2, 2], true],
    [[1, 4, 1, 1], true],
    [[4], false],
    [[4, 1], false],
    [[1, 2, 2], false],
    [[1, 2, 1, 2], false],
    [[0, 4], false],
  ])("of shape %j: %s", (shape, isThere) => {
    const a = floats(shape, new Float32Array(shape.reduce((n, size) => n * size, 1)));
    expect("top1" in compare([a, a])).toBe(isThere);
  });

  it("is that of half-precision scores too", () => {
    const half: FeedTensor = { dtype: "float16", shape: [1, 2], data: Uint16Array.of(0xc000, 0xbc00) }; // -2, -1
    expect(compareFloats([half, scores([0, 1])]).top1).toBe(1);
  });
});

describe("integers and booleans", () => {
  it("are compared one by one, over all sets", () => {
    const codes = (...values: bigint[]): FeedTensor => ({
      dtype: "int64",
      shape: [values.length],
      data: BigInt64Array.from(values),
    });
    const pairs = [
      [codes(1n, 2n ** 62n, 3n), codes(1n, 2n ** 62n + 1n, 3n)],
      [codes(5n), codes(5n)],
    ] as const;
    expect(compare(...pairs)).toEqual({ kind: "exact", elements: 4, equal: 3 / 4 });
  });

  it("have no top-1 and need not have elements", () => {
    const flags = (...values: number[]): FeedTensor => ({
      dtype: "bool",
      shape: [1, values.length],
      data: Uint8Array.from(values),
    });
    expect(compare([flags(0, 1), flags(1, 1)])).toEqual({ kind: "exact", elements: 2, equal: 0.5 });
    expect(compare([flags(), flags()])).toEqual({ kind: "exact", elements: 0, equal: 1 });
  });
});

describe("outputs that cannot be compared", () => {
  const a = floats([1, 2], [1, 2]);

  it.each<[FeedTensor, string]>([
    [floats([2], [1, 2]), "shape [1, 2] against [2]"],
    [floats([1, 3], [1, 2, 3]), "shape [1, 2] against [1, 3]"],
    [{ dtype: "int64", shape: [1, 2], data: BigInt64Array.of(1n, 2n) }, "float32 against int64"],
  ])("are reported with what is wrong, whatever comes before and after", (b, reason) => {
    expect(compare([a, a], [a, b], [a, a])).toEqual({ kind: "incomparable", reason });
  });

  it("are also integers of two types, and those that never came", () => {
    const bytes: FeedTensor = { dtype: "uint8", shape: [1], data: Uint8Array.of(1) };
    const flags: FeedTensor = { dtype: "bool", shape: [1], data: Uint8Array.of(1) };
    expect(compare([bytes, flags])).toEqual({ kind: "incomparable", reason: "uint8 against bool" });
    expect(compare()).toEqual({ kind: "incomparable", reason: "no values" });
  });
});
