import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { createObserver, Observer } from "../../src/ranges/observer.ts";
import type { ObserverOptions } from "../../src/ranges/observer-options.ts";
import { between, normals, randomOf } from "../helpers/random.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

/** Batches of different lengths and widths. */
function batches(seed: number, count = 12, channels = 1): { data: Float32Array; shape: number[] }[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => {
    const rows = between(random, 1, 2000);
    const width = 2 ** (4 * random() - 2);
    const data = normals(random, rows * channels).map((x) => x * width);
    return { data, shape: [rows, channels] };
  });
}

function all(parts: readonly { data: Float32Array }[]): Float32Array {
  return Float32Array.from(parts.flatMap(({ data }) => [...data]));
}

const methods = ["minmax", "mse", "percentile=99", "percentile=99.99", "entropy"] as const;

describe.each(methods)("%s", (method) => {
  it.each([undefined, 1])("gives the same for any split and order, merged and through JSON; axis %s", (axis) => {
    const parts = batches(1, 12, 3);
    const options: ObserverOptions = { method, axis, dtype: "uint8" };
    const whole = createObserver(engine, options);
    for (const part of parts) whole.observe(part);
    const random = randomOf(2);
    for (let round = 0; round < 5; round++) {
      const shuffled = parts
        .map((part) => [random(), part] as const)
        .sort(([a], [b]) => a - b)
        .map(([, part]) => part);
      let merged: Observer | undefined;
      while (shuffled.length > 0) {
        const one = createObserver(engine, options);
        for (const part of shuffled.splice(0, between(random, 1, 5))) one.observe(part);
        const sent = Observer.fromJSON(engine, JSON.parse(JSON.stringify(one)));
        if (merged) merged.merge(sent);
        else merged = sent;
      }
      expect(merged!.toJSON()).toEqual(whole.toJSON());
      expect(merged!.range()).toEqual(whole.range());
    }
    expect(whole.range().min.length).toBe(axis === undefined ? 1 : 3);
  });

  it("lies within the extremes, and is about what a search over all values finds", () => {
    const parts = batches(3, 20);
    const observer = createObserver(engine, { method, dtype: "uint8" });
    for (const part of parts) observer.observe(part);
    const data = all(parts);
    const shape = [data.length];
    const extremes = engine.range({ data, shape });
    const { min, max } = observer.range();
    expect(min[0]).toBeGreaterThanOrEqual(extremes.min[0]!);
    expect(max[0]).toBeLessThanOrEqual(extremes.max[0]!);
    const direct = engine.range({ data, shape }, { method, dtype: "uint8" });
    const tolerance = (extremes.max[0]! - extremes.min[0]!) / (method === "mse" ? 20 : 1000);
    expect(Math.abs(min[0]! - direct.min[0]!)).toBeLessThanOrEqual(tolerance);
    expect(Math.abs(max[0]! - direct.max[0]!)).toBeLessThanOrEqual(tolerance);
  });
});

it("mse: the clipping found has at most the error of the extremes", () => {
  const parts = batches(4, 20);
  const data = all(parts).map((x, i) => (i % 997 === 0 ? 50 * x : x));
  const shape = [data.length];
  for (const scheme of ["symmetric", "asymmetric", "float-offset"] as const) {
    const observer = createObserver(engine, { method: "mse", dtype: "uint8", scheme });
    observer.observe({ data, shape });
    const clipped = engine.quantize({ data, shape }, { dtype: "uint8", scheme, range: observer.range() });
    const plain = engine.quantize({ data, shape }, { dtype: "uint8", scheme });
    expect(engine.error({ data, shape }, clipped).mse).toBeLessThan(engine.error({ data, shape }, plain).mse);
  }
});

describe("moving-average", () => {
  it("is 0.99 of what it was and 0.01 of what is new", () => {
    const parts = batches(5, 30);
    const observer = createObserver(engine, { method: "moving-average" });
    let [low, high] = [0, 0];
    parts.forEach((part, i) => {
      observer.observe(part);
      const { min, max } = engine.range(part);
      low = i === 0 ? min[0]! : low * 0.99 + min[0]! * 0.01;
      high = i === 0 ? max[0]! : high * 0.99 + max[0]! * 0.01;
    });
    expect(observer.range().min[0]).toBeCloseTo(low, 6);
    expect(observer.range().max[0]).toBeCloseTo(high, 6);
  });

  it("of consecutive parts is that of the whole", () => {
    const parts = batches(6, 30);
    const whole = createObserver(engine, { method: "moving-average" });
    for (const part of parts) whole.observe(part);
    const merged = createObserver(engine, { method: "moving-average" });
    for (let i = 0; i < parts.length; i += 7) {
      const one = createObserver(engine, { method: "moving-average" });
      for (const part of parts.slice(i, i + 7)) one.observe(part);
      merged.merge(Observer.fromJSON(engine, JSON.parse(JSON.stringify(one))));
    }
    expect(merged.range().min[0]).toBeCloseTo(whole.range().min[0]!, 6);
    expect(merged.range().max[0]).toBeCloseTo(whole.range().max[0]!, 6);
  });
});

describe("a histogram", () => {
  it("loses no count as it widens, from subnormals to the largest numbers", () => {
    const observer = createObserver(engine, { method: "entropy" });
    const magnitudes = [0, 1e-45, 1e-38, 1e-20, 1, 3e5, 3e38];
    for (const magnitude of magnitudes) {
      observer.observe({ data: Float32Array.of(magnitude, -magnitude, 0), shape: [3] });
    }
    const { counts } = observer.toJSON().groups[0]!.histogram!;
    expect(counts.reduce((a, b) => a + b, 0)).toBe(3 * magnitudes.length);
    expect(observer.range()).toEqual({ min: Float32Array.of(-3e38), max: Float32Array.of(3e38) });
  });
});

describe("a histogram of values of very different size", () => {
  it("is the same in any order", () => {
    const values = [-1e-45, 1e6, -1e-20, 3e38, -0, -1e-38, 1e-45, 7];
    const orders = [values, values.toReversed(), [3e38, -1e-45, 7, -1e-38, 1e6, -0, 1e-45, -1e-20]];
    const states = orders.map((order) => {
      const observer = createObserver(engine, { method: "percentile" });
      for (const value of order) observer.observe({ data: Float32Array.of(value), shape: [1] });
      return observer.toJSON();
    });
    // More than are counted one by one.
    const many = createObserver(engine, { method: "percentile" });
    const repeated = Float32Array.from({ length: 4096 }, (_, i) => values[i % 8]!);
    many.observe({ data: repeated, shape: [4096] });
    const { counts } = many.toJSON().groups[0]!.histogram!;
    expect(counts.map((count) => count / 512)).toEqual(states[0]!.groups[0]!.histogram!.counts);
    for (const state of states.slice(1)) expect(state).toEqual(states[0]);
  });
});

describe("is refused", () => {
  const x = { data: Float32Array.of(1, 2), shape: [1, 2] };

  it("a range before anything was observed", () => {
    const observer = createObserver(engine);
    observer.observe({ data: new Float32Array(0), shape: [0, 2] });
    expect(() => observer.range()).toThrow("observer: has observed no values");
  });

  it("another number of channels", () => {
    const observer = createObserver(engine, { axis: 1 });
    observer.observe(x);
    expect(() => observer.observe({ data: new Float32Array(3), shape: [1, 3] })).toThrow(
      "tensor: expected 2 channels, as before; got 3",
    );
  });

  it("NaN, which leaves the observer as it was", () => {
    const observer = createObserver(engine, { method: "mse" });
    observer.observe(x);
    const before = observer.toJSON();
    expect(() => observer.observe({ data: Float32Array.of(5, Number.NaN), shape: [2] })).toThrow("NaN at flat index 1");
    expect(observer.toJSON()).toEqual(before);
  });

  it("an observer with other options", () => {
    const a = createObserver(engine, { method: "mse" });
    expect(() => a.merge(createObserver(engine, { method: "mse", dtype: "uint8" }))).toThrow(
      "other: observes with other options",
    );
  });

  it("but not one whose options say the same in other words", () => {
    const a = createObserver(engine, { dtype: "uint8", method: "percentile=99.99" });
    const b = createObserver(engine, { method: "percentile", scheme: "asymmetric", dtype: "uint8", axis: undefined });
    b.observe(x);
    a.merge(b);
    expect(a.range()).toEqual(b.range());
  });

  it.each([
    [{ axis: "1" }, "axis: 1 (string) given"],
    [{ method: "median" }, "method: expected one of minmax, mse, entropy, percentile=P"],
    [{ axes: 1 }, "axes: no such option"],
    [{ dtype: "int5" }, "dtype: "],
  ])("options %o", (options, message) => {
    expect(() => createObserver(engine, options as ObserverOptions)).toThrow(message);
  });

  it.each([
    null,
    [],
    { version: 2, options: {}, groups: [] },
    { version: 1, groups: [] },
    { version: 1, options: {} },
    { version: 1, options: {}, groups: [{ min: 1, max: 0 }] },
    { version: 1, options: {}, groups: [{ min: "0", max: 1 }] },
    { version: 1, options: {}, groups: [{ min: 0, max: 1e39 }] },
    {
      version: 1,
      options: {},
      groups: [
        { min: 0, max: 1 },
        { min: 0, max: 1 },
      ],
    },
    { version: 1, options: { method: "mse" }, groups: [{ min: 0, max: 1 }] },
    {
      // Bins too narrow for the range: a search over them would not end.
      ...{ version: 1, options: { method: "entropy" } },
      groups: [{ min: -1, max: 1, histogram: { exponent: 126, first: 0, counts: new Array(8192).fill(1) } }],
    },
    {
      ...{ version: 1, options: { method: "moving-average" } },
      groups: [{ min: 0, max: 1, averages: [3, 1].map((first) => ({ count: 1, first, sum: 0 })) }],
    },
    { version: 1, options: {}, groups: [{ min: 0, max: 1, histogram: { exponent: 1, first: 0, counts: [] } }] },
    {
      ...{ version: 1, options: { method: "mse" } },
      groups: [{ min: 0, max: 1, histogram: { exponent: 400, first: 0, counts: [1] } }],
    },
    {
      ...{ version: 1, options: { method: "mse" } },
      groups: [{ min: 0, max: 1, histogram: { exponent: 11, first: 8190, counts: [1, 2, 3] } }],
    },
    {
      ...{ version: 1, options: { method: "mse" } },
      groups: [{ min: 0, max: 1, histogram: { exponent: 11, first: 0, counts: [-1] } }],
    },
  ])("state %#", (state) => {
    expect(() => Observer.fromJSON(engine, state)).toThrow("state: is not what Observer.toJSON() wrote");
  });
});
