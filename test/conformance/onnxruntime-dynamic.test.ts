import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { NonFiniteError } from "../../src/errors.ts";
import { elementsIn } from "../helpers/onnx-cases.ts";
import { dynamicQuantizeLinear } from "../helpers/onnx-runtime.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { between, mixed, normals, randomOf } from "../helpers/random.ts";
import { halfToEven } from "../helpers/reference.ts";

let engines: Engine[];
beforeAll(async () => {
  engines = [await createEngine({ kernels: "simd" }), await createEngine({ kernels: "scalar" })];
});

const SUBNORMAL = 2 ** -149;
const LARGEST = 3.4028234663852886e38;

describe("ONNX Runtime's DynamicQuantizeLinear gives the same scale, zero point and codes", () => {
  it.each([
    ["zeros", [0, 0, 0]],
    ["zeros of both signs", [-0, 0, -0]],
    ["no elements", []],
    ["one element", [-3]],
    ["only positive numbers", [1, 2, 3.3, 0.1]],
    ["only negative numbers", [-1, -2, -3.3, -0.1]],
    ["a positive constant", [5, 5, 5]],
    ["a negative constant", [-5, -5, -5]],
    ["ties of the codes", Array.from({ length: 512 }, (_, i) => i / 2)],
    ["a zero point half way between 0 and 1", [-0.5, 254.5, 0, 1]],
    ["a zero point half way between 1 and 2", [-1.5, 253.5, 0, 1]],
    ["a subnormal scale", [1e-40, -1e-40, 3e-41]],
    ["the smallest scale there is", [128 * SUBNORMAL, 0, 64 * SUBNORMAL]],
    ["the largest positive number", [LARGEST, 0, 1e38]],
    ["the largest negative number", [-LARGEST, 0, -1e38]],
  ])("for %s", async (_, values) => {
    await expectSame(Float32Array.from(values), [values.length]);
  });

  it("for tensors of odd shapes, magnitudes and offsets", async () => {
    const random = randomOf(7);
    for (let i = 0; i < 400; i++) {
      const shape = Array.from({ length: between(random, 0, 4) }, () => between(random, 1, 9));
      const magnitude = 10 ** (random() * 60 - 30);
      const offset = random() < 0.5 ? 0 : magnitude * (random() * 6 - 3);
      const data = normals(random, elementsIn(shape), magnitude).map((x) => x + offset);
      await expectSame(data, shape);
    }
  });

  it("for ranges whose zero point would be another one in float64", async () => {
    const random = randomOf(9);
    const ranges = Array.from({ length: 20_000 }, () => rangeNearTie(random)).filter(isDecidedByRounding);
    expect(ranges.length).toBeGreaterThan(100);
    for (const range of ranges.slice(0, 300)) await expectSame(range, [2]);
  });

  it("for awkward numbers, and for more than a tile of memory", async () => {
    const random = randomOf(8);
    for (const n of [5, 33, 1001]) {
      // Both extremes of `mixed` at once are wider than float32.
      const data = mixed(random, n).map((x) => Math.max(x, -1e30));
      await expectSame(data, [n]);
    }
    await expectSame(normals(random, 140_003), [140_003]);
  });
});

describe("where ONNX Runtime's DynamicQuantizeLinear has no usable scale, the engine differs on purpose", () => {
  it.each([
    ["above 0", [SUBNORMAL, 0]],
    ["below 0", [-SUBNORMAL, 0]],
    ["of the largest magnitude that does it", [127 * SUBNORMAL, 0]],
  ])("a range so small that the scale is 0 there has scale 1 and zero point 0: %s", async (_, values) => {
    const x = { data: Float32Array.from(values), shape: [values.length] };
    expect((await dynamicQuantizeLinear(x)).scale).toBe(0);
    expectParameters(x, { scale: 1, zeroPoint: 0, codes: [0, 0] });
  });

  it("a range wider than float32, whose scale is Infinity there, has a finite one", async () => {
    const x = { data: Float32Array.of(LARGEST, -LARGEST, 0), shape: [3] };
    expect((await dynamicQuantizeLinear(x)).scale).toBe(Number.POSITIVE_INFINITY);
    expectParameters(x, { scale: Math.fround((2 * LARGEST) / 255), zeroPoint: 128, codes: [255, 0, 128] });
  });

  it("infinities, which make the scale Infinity there, and NaN are refused", async () => {
    for (const odd of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]) {
      const x = { data: Float32Array.of(1, odd, -1), shape: [3] };
      if (!Number.isNaN(odd)) expect((await dynamicQuantizeLinear(x)).scale).toBe(Number.POSITIVE_INFINITY);
      for (const engine of engines) {
        expect(() => engine.quantize(x, { dtype: "uint8", scheme: "dynamic" })).toThrow(NonFiniteError);
      }
    }
  });
});

/** A range of 255 steps whose low end is about half a step away from a whole number of them. */
function rangeNearTie(random: () => number): Float32Array {
  const step = 2 ** between(random, -20, 20) * (1 + random());
  const low = -step * (between(random, 0, 254) + 0.5);
  return Float32Array.of(low, low + step * 255);
}

function isDecidedByRounding(range: Float32Array): boolean {
  const [low, high] = [range[0]!, range[1]!];
  const scale = Math.fround(Math.fround(high - low) / 255);
  const zeroPoint = halfToEven(Math.fround(-low / scale));
  return zeroPoint !== halfToEven(-low / scale) || zeroPoint !== halfToEven((-low / (high - low)) * 255);
}

function expectParameters(
  x: { readonly data: Float32Array; readonly shape: readonly number[] },
  want: { readonly scale: number; readonly zeroPoint: number; readonly codes: readonly number[] },
): void {
  for (const engine of engines) {
    const { scale, zeroPoint, data } = engine.quantize(x, { dtype: "uint8", scheme: "dynamic" });
    expect({ scale: scale[0], zeroPoint: zeroPoint[0], codes: [...data] }, engine.kernels).toEqual(want);
  }
}

async function expectSame(data: Float32Array, shape: readonly number[]): Promise<void> {
  const want = await dynamicQuantizeLinear({ data, shape });
  for (const engine of engines) {
    const { scale, zeroPoint, data: codes } = engine.quantize({ data, shape }, { dtype: "uint8", scheme: "dynamic" });
    const label = `${engine.kernels}: [${shape.join(", ")}] from ${data[0]}`;
    expect([scale[0], zeroPoint[0]], label).toEqual([want.scale, want.zeroPoint]);
    expect(differenceOf(codes, want.data), label).toBeUndefined();
  }
}
