import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { checkGranularity, type Granularity, scaleShapeOf } from "../../src/engine/tensors/granularity.ts";
import { mixed, normals, randomOf } from "../helpers/random.ts";
import { type CodeType, expected, fullRange, type How, unpacked } from "../helpers/reference.ts";

let engines: { simd: Engine; scalar: Engine };

beforeAll(async () => {
  engines = { simd: await createEngine(), scalar: await createEngine({ kernels: "scalar" }) };
});

const codeTypes = Object.keys(fullRange) as CodeType[];

const anyShape = fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 1, maxLength: 4 });

/** A shape with a granularity that suits it. */
const anyGranularity = anyShape.chain((shape) => {
  const axis = fc.integer({ min: -shape.length, max: shape.length - 1 });
  const pair = fc
    .tuple(fc.integer({ min: 0, max: shape.length - 1 }), fc.integer({ min: 0, max: shape.length - 1 }))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  const granularity: fc.Arbitrary<Granularity> = fc.oneof(
    fc.constant({}),
    fc.record({ axis }),
    fc.record({ axis: pair }),
    fc.record({ axis, blockSize: fc.integer({ min: 1, max: 16 }) }),
  );
  return fc.record({ shape: fc.constant(shape), granularity });
});

const anyCase = fc.record({
  layout: anyGranularity,
  dtype: fc.constantFrom(...codeTypes),
  scheme: fc.constantFrom("asymmetric", "symmetric", "float-offset", "dynamic"),
  reduceRange: fc.boolean(),
  seed: fc.nat(),
  awkward: fc.boolean(),
  resident: fc.boolean(),
  kernels: fc.constantFrom("simd", "scalar"),
});

/** Data a scheme can take: extremes for all but float-offset, whose float32 span they would overflow. */
function dataFor(scheme: How["scheme"], awkward: boolean, seed: number, n: number): Float32Array {
  const random = randomOf(seed);
  return awkward && scheme !== "float-offset" ? mixed(random, n) : normals(random, n, 3);
}

describe("quantize and dequantize", () => {
  it("give the codes, scales, zero points and values of the contract", () => {
    fc.assert(
      fc.property(anyCase, ({ layout, dtype, scheme, reduceRange, seed, awkward, resident, kernels }) => {
        const how: How = {
          dtype: scheme === "dynamic" ? "uint8" : dtype,
          scheme: scheme as How["scheme"],
          reduceRange: scheme === "dynamic" ? false : reduceRange,
          granularity: layout.granularity,
        };
        const { shape } = layout;
        const n = shape.reduce((a, b) => a * b, 1);
        const data = dataFor(how.scheme, awkward, seed, n);
        const engine = engines[kernels as "simd" | "scalar"];
        const groups = scaleShapeOf(shape, checkGranularity(shape, layout.granularity)).reduce((a, b) => a * b, 1);
        const want = expected(data, shape, groups, how);

        const tensor = resident ? engine.allocate("float32", shape) : { data, shape };
        if ("dispose" in tensor) tensor.data.set(data);
        const q = engine.quantize(tensor, {
          dtype: how.dtype,
          scheme: how.scheme,
          reduceRange: how.reduceRange,
          ...layout.granularity,
        });
        const back = engine.dequantize(q);

        expect(q.scale).toEqual(want.scale);
        expect(q.zeroPoint).toEqual(want.zeroPoint);
        if (how.scheme === "float-offset") expect(q.min).toEqual(want.min);
        else expect(q.min).toBeUndefined();
        expect(unpacked(how.dtype, q.data, n)).toEqual(want.codes);
        expect(Buffer.from(new Uint8Array(Float32Array.from(back.data).buffer))).toEqual(
          Buffer.from(want.values.buffer),
        );
        for (const t of [tensor, q, back]) if ("dispose" in t) (t as { dispose(): void }).dispose();
      }),
      { numRuns: 1500, seed: 7 },
    );
  });

  it("take the same steps over many tiles as over one", () => {
    const random = randomOf(11);
    const cases: [number[], Granularity][] = [
      [[200_003], {}],
      [[3, 70_001], { axis: 0 }],
      [[70_001, 3], { axis: 1 }],
      [[70_001, 3], { axis: 0 }],
      [[2, 9, 7_001], { axis: 1 }],
      [[5, 3, 9_001], { axis: 1, blockSize: 2 }],
      [[3, 50_001], { axis: 1, blockSize: 32 }],
      [[2, 90_001], { axis: 1 }],
      [[40, 64, 81], { axis: 1, blockSize: 24 }],
    ];
    for (const [shape, granularity] of cases) {
      const n = shape.reduce((a, b) => a * b, 1);
      const data = normals(random, n);
      const groups = scaleShapeOf(shape, checkGranularity(shape, granularity)).reduce((a, b) => a * b, 1);
      for (const dtype of ["int8", "uint4", "uint16"] as const) {
        const scheme = dtype === "int8" ? "symmetric" : "asymmetric";
        const want = expected(data, shape, groups, { dtype, scheme, reduceRange: false, granularity });
        const q = engines.simd.quantize({ data, shape }, { dtype, ...granularity });
        expect(q.scale, `${shape} scales`).toEqual(want.scale);
        const codes = unpacked(dtype, q.data, n);
        expect(
          codes.findIndex((c, i) => c !== want.codes[i]),
          `${dtype} [${shape}] first wrong code`,
        ).toBe(-1);
        const back = engines.simd.dequantize(q).data;
        expect(
          back.findIndex((x, i) => x !== want.values[i]),
          `${dtype} [${shape}] first wrong value`,
        ).toBe(-1);
      }
    }
  });

  it("write into the caller's arrays", () => {
    const data = normals(randomOf(3), 1001);
    const out = new Int8Array(1001);
    const q = engines.simd.quantize({ data, shape: [1001] }, { dtype: "int8", out });
    expect(q.data).toBe(out);
    expect(out).toEqual(engines.scalar.quantize({ data, shape: [1001] }).data);
    const values = new Float32Array(1001);
    expect(engines.simd.dequantize(q, { out: values }).data).toBe(values);
    expect(values).toEqual(engines.simd.dequantize(q).data);
  });

  it("use given scales without a scan: infinities saturate, NaN becomes the lowest code", () => {
    const data = Float32Array.of(
      0.5,
      1.5,
      2.5,
      -0.5,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      1e30,
    );
    for (const engine of [engines.simd, engines.scalar]) {
      const q = engine.quantize({ data, shape: [8] }, { dtype: "int8", scale: 1, zeroPoint: 3 });
      expect([...q.data]).toEqual([3, 5, 5, 3, 127, -128, -128, 127]);
      expect(q.scheme).toBe("asymmetric");
      const u4 = engine.quantize({ data, shape: [8] }, { dtype: "uint4", scale: 0.5, zeroPoint: 1 });
      expect(unpacked("uint4", u4.data, 8)).toEqual([2, 4, 6, 0, 15, 0, 0, 15]);
      const negative = engine.quantize({ data, shape: [2, 4] }, { dtype: "int16", axis: 0, scale: [-1, 2] });
      expect([...negative.data]).toEqual([-0 + 0, -2, -2, 0, 32767, -32768, -32768, 32767]);
    }
  });

  it("use a given range as if they had found it", () => {
    const data = normals(randomOf(4), 60);
    const { min, max } = engines.simd.range({ data, shape: [4, 15] }, { axis: 0 });
    for (const scheme of ["asymmetric", "symmetric", "float-offset"] as const) {
      const found = engines.simd.quantize({ data, shape: [4, 15] }, { scheme, axis: 0 });
      expect(engines.simd.quantize({ data, shape: [4, 15] }, { scheme, axis: 0, range: { min, max } })).toEqual(found);
    }
    const clipped = engines.simd.quantize(
      { data, shape: [60] },
      { scheme: "asymmetric", range: { min: -0.5, max: 0.5 } },
    );
    expect(Math.max(...clipped.data)).toBe(127);
    expect(clipped.scale[0]).toBe(Math.fround(1 / 255));
  });

  it("widen half precision exactly and round it back half to even", () => {
    const halves = Uint16Array.from({ length: 63488 }, (_, i) => (i < 31744 ? i : i + 1024)); // all finite binary16
    const wide = new Float32Array(halves.length);
    const { simd } = engines;
    const scale = 2 ** -20;
    const q = simd.quantize({ dtype: "float16", data: halves, shape: [halves.length] }, { dtype: "int16", scale });
    halves.forEach((h, i) => {
      const exponent = (h >> 10) & 31;
      const fraction = (h & 1023) / 1024;
      wide[i] = (h & 0x8000 ? -1 : 1) * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
    });
    expect(q.data).toEqual(simd.quantize({ data: wide, shape: [wide.length] }, { dtype: "int16", scale }).data);

    const bits = simd.dequantize(q, { dtype: "float16" }).data;
    const again = simd.quantize({ dtype: "float16", data: bits, shape: [bits.length] }, { dtype: "int16", scale });
    expect(again.data).toEqual(
      simd.quantize({ data: simd.dequantize(q).data, shape: [bits.length] }, { dtype: "int16", scale }).data,
    );
    const brain = simd.dequantize(q, { dtype: "bfloat16" }).data;
    const float = new Uint32Array(simd.dequantize(q).data.buffer);
    expect(brain).toEqual(Uint16Array.from(float, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16));
  });

  it("leave scalars and empty tensors whole", () => {
    const { simd } = engines;
    const scalar = simd.quantize({ data: Float32Array.of(3), shape: [] });
    expect([...simd.dequantize(scalar).data]).toEqual([3]);
    for (const granularity of [{}, { axis: 0 }, { axis: 1 }, { axis: 1, blockSize: 2 }, { axis: 0, blockSize: 2 }]) {
      for (const shape of [
        [0, 3],
        [3, 0],
      ]) {
        const q = simd.quantize({ data: new Float32Array(0), shape }, granularity);
        expect(q.data.length).toBe(0);
        expect([...q.scale].every((s) => s === 1)).toBe(true);
        expect(simd.dequantize(q).data.length).toBe(0);
        expect(simd.error({ data: new Float32Array(0), shape }, q)).toMatchObject({
          mse: 0,
          sqnr: Number.POSITIVE_INFINITY,
        });
      }
    }
  });
});

describe("the edge cases of scale and zero point", () => {
  const one = (values: number[], options: object) => {
    const q = engines.simd.quantize({ data: Float32Array.from(values), shape: [values.length] }, options);
    return [q.scale[0], q.zeroPoint[0], ...q.data];
  };
  const f = Math.fround;

  it("all zeros have scale 1 and zero point 0, symmetric uint8 too", () => {
    expect(one([0, 0], { dtype: "int8" })).toEqual([1, 0, 0, 0]);
    expect(one([-0, 0], { dtype: "uint8", scheme: "symmetric" })).toEqual([1, 0, 0, 0]);
    expect(one([1e-40, -1e-40], { dtype: "int8" })).toEqual([1, 0, 0, 0]);
  });
  it("a constant is widened to hold zero", () => {
    expect(one([5, 5], { dtype: "uint8" })).toEqual([f(5 / 255), 0, 255, 255]);
    expect(one([-5, -5], { dtype: "uint8" })).toEqual([f(5 / 255), 255, 0, 0]);
  });
  it("int8 asymmetric over [-1, 3] has zero point -64", () => {
    expect(one([-1, 3], { dtype: "int8", scheme: "asymmetric" })).toEqual([f(4 / 255), -64, -128, 127]);
  });
  it("symmetric int8 uses -127 to 127, -64 to 64 reduced", () => {
    expect(one([-2, 1], { dtype: "int8" })).toEqual([f(4 / 254), 0, -127, 64]);
    expect(one([-2, 1], { dtype: "int8", reduceRange: true })).toEqual([f(4 / 128), 0, -64, 32]);
  });
  it("symmetric int4 per tensor is largest magnitude / 7.5, so that the positive extreme saturates", () => {
    expect(one([3, -3], { dtype: "int4" })).toEqual([f(6 / 15), 0, 0x87]);
  });
  it("symmetric int4 in blocks hits the extreme exactly, with its sign in the scale", () => {
    const data = Float32Array.of(4, -1, 2, 0, -4, 1, 4, 0);
    const q = engines.simd.quantize({ data, shape: [2, 4] }, { dtype: "int4", blockSize: 4 });
    expect([...q.scale]).toEqual([-0.5, 0.5]);
    expect(unpacked("int4", q.data, 8)).toEqual([-8, 2, -4, 0, -8, 2, 7, 0]);
  });
  it("float-offset with a reduced range keeps to it, a constant group too", () => {
    const data = Float32Array.of(5, 5, 1, 2);
    const q = engines.simd.quantize({ data, shape: [2, 2] }, { scheme: "float-offset", reduceRange: true, axis: 0 });
    expect([...q.data]).toEqual([-64, -64, -64, 64]);
    expect([...engines.simd.dequantize(q).data]).toEqual([5, 5, 1, 2]);
  });
  it("float-offset keeps a constant as it is, with scale 0", () => {
    const q = engines.simd.quantize(
      { data: Float32Array.of(0.3, 0.3), shape: [2] },
      { dtype: "uint8", scheme: "float-offset" },
    );
    expect([q.scale[0], q.min?.[0], ...q.data]).toEqual([0, f(0.3), 0, 0]);
    expect([...engines.simd.dequantize(q).data]).toEqual([f(0.3), f(0.3)]);
  });
  it("a range wider than float32 still has a finite scale", () => {
    const [scale] = one([-3e38, 3e38], { dtype: "int8", scheme: "asymmetric" });
    expect(scale).toBeCloseTo(6e38 / 255, -33);
  });
});

describe("the textbook formula", () => {
  it("agrees with float64 except within rounding of a tie", () => {
    const data = normals(randomOf(6), 4096, 5);
    for (const dtype of ["int8", "uint8", "uint16"] as const) {
      const [qmin, qmax] = fullRange[dtype];
      const q = engines.simd.quantize({ data, shape: [4096] }, { dtype, scheme: "float-offset" });
      const [min, max] = [Math.min(...data), Math.max(...data)];
      data.forEach((x, i) => {
        const exact = ((x - min) / (max - min)) * (qmax - qmin) + qmin;
        const slack = (qmax - qmin) * 2 ** -22; // four float32 roundings
        const code = q.data[i]!;
        expect(Math.abs(code - exact), `${dtype} ${x}`).toBeLessThanOrEqual(0.5 + slack);
      });
      expect(Math.min(...q.data)).toBe(qmin);
      expect(Math.max(...q.data)).toBe(qmax);
    }
  });
});
