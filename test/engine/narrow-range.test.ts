import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine, type Granularity } from "../../src/index.ts";
import { normals, randomOf } from "../helpers/random.ts";

// Unsigned symmetric codes with `narrowRange`: the signed codes plus the zero point, the same scales. Without it the scale is
// ONNX Runtime's, 2 * absmax / 255, under which the largest positive value saturates.

const engines = {} as Record<"simd" | "scalar", Engine>;
beforeAll(async () => {
  for (const kernels of ["simd", "scalar"] as const) engines[kernels] = await createEngine({ kernels });
});

const shape = [6, 40, 50];
const data = normals(randomOf(3), 12_000, 0.3);
data.fill(0, 2000, 4000); // a channel of zeros

const granularities: readonly Granularity[] = [
  {},
  { axis: 0 },
  { axis: 1 },
  { axis: 2 },
  { axis: 2, blockSize: 16 },
  { axis: 1, blockSize: 8 },
];

describe.each(["simd", "scalar"] as const)("narrowRange, %s", (kernels) => {
  it.each(granularities)("gives the signed codes plus the zero point: %o", (granularity) => {
    for (const [unsigned, signed, middle] of [
      ["uint8", "int8", 128],
      ["uint16", "int16", 32768],
    ] as const) {
      for (const reduceRange of [false, true]) {
        const how = { scheme: "symmetric", reduceRange, ...granularity } as const;
        const q = engines[kernels].quantize({ data, shape }, { dtype: unsigned, narrowRange: true, ...how });
        const s = engines[kernels].quantize({ data, shape }, { dtype: signed, ...how });
        expect(q.scale).toEqual(s.scale);
        const restored = engines[kernels].dequantize(q).data;
        expect(restored).toEqual(engines[kernels].dequantize(s).data);
        // A group of zeros has a zero point of 0, as in every scheme.
        expect(new Set(q.zeroPoint).size).toBeLessThanOrEqual(2);
        expect([...q.zeroPoint].every((zero) => zero === middle || zero === 0)).toBe(true);
        const codes = Array.from(s.data, (code) => code + middle);
        expect(Array.from(q.data).every((code, i) => code === codes[i] || (code === 0 && s.data[i] === 0))).toBe(true);
      }
    }
  });
});

it("keeps the largest value, which the tool's scale clips", () => {
  const x = { data: Float32Array.of(1, -1, 0), shape: [3] };
  const how = { dtype: "uint8", scheme: "symmetric" } as const;
  const narrow = engines.simd.quantize(x, { ...how, narrowRange: true });
  expect([narrow.scale[0], narrow.zeroPoint[0], ...narrow.data]).toEqual([Math.fround(1 / 127), 128, 255, 1, 128]);
  expect(engines.simd.error(x, narrow).maxAbs).toBeLessThan(1e-7);
  const tool = engines.simd.quantize(x, how);
  expect([tool.scale[0], tool.zeroPoint[0], tool.data[0]]).toEqual([Math.fround(2 / 255), 128, 255]);
  expect(engines.simd.dequantize(tool).data[0]).toBeCloseTo(127 / 127.5, 6);
});

it("is for unsigned types of 8 and 16 bits, symmetric", () => {
  const x = { data: Float32Array.of(1, 2), shape: [2] };
  for (const how of [
    { dtype: "int8" },
    { dtype: "uint4", scheme: "symmetric" },
    { dtype: "uint8" },
    { dtype: "uint8", scheme: "float-offset" },
  ] as const) {
    expect(() => engines.simd.quantize(x, { ...how, narrowRange: true })).toThrow(
      /^narrowRange: .* given; it is for uint8 and uint16, symmetric$/,
    );
  }
});
