import { beforeAll, describe, expect, it } from "vitest";
import { type CodeDType, codeTypes, type IntegerDType, integerTypes } from "../../src/dtypes.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { FloatTensor, QuantizedTensor } from "../../src/engine/tensors/tensor.ts";
import { skipWithout, x64 } from "../helpers/needs.ts";
import {
  type Arrangement,
  arrangements,
  elementsIn,
  groupCountOf,
  halves,
  inBlocksOfRows,
  large,
  nameOf,
  type Parameters,
  perAxis,
  perTensor,
  randomParameters,
  valuesFor,
} from "../helpers/onnx-cases.ts";
import { dequantizeLinear, quantizeLinear } from "../helpers/onnx-runtime.ts";
import { arrayOf, differenceOf, halvesWidened, storedCodes } from "../helpers/onnx-values.ts";
import { between, normals, randomOf } from "../helpers/random.ts";
import { groupsOf } from "../helpers/reference.ts";

let engines: Engine[];
beforeAll(async () => {
  engines = [await createEngine({ kernels: "simd" }), await createEngine({ kernels: "scalar" })];
});

const types = Object.keys(codeTypes) as CodeDType[];
const integers = Object.keys(integerTypes) as IntegerDType[];
const isPacked = (dtype: CodeDType) => codeTypes[dtype].bits === 4;
const infinities = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
const huge = [...infinities, 1e30, -1e30, 3.4028234e38, -3.4028234e38];

/** Values and parameters differ each time. */
const manyTimes = (some: readonly Arrangement[]): Arrangement[] => Array.from({ length: 3 }, () => some).flat();

type Given = Arrangement & Parameters & { readonly dtype: CodeDType };

describe("ONNX Runtime's QuantizeLinear gives the same codes", () => {
  it.each(types)("as %s, per tensor, per axis and in blocks: ties, negative scales, far outside", async (dtype) => {
    const cases = randomCases(dtype, [...manyTimes(arrangements), ...large]);
    for (const { x, given } of cases) await expectSameCodes(x, given);
  });

  it.each(types)("as %s of float16", async (dtype) => {
    const random = randomOf(types.indexOf(dtype));
    for (const arrangement of manyTimes(arrangements)) {
      const data = halves(random, elementsIn(arrangement.shape));
      const x = { dtype: "float16", shape: arrangement.shape, data } as const;
      const { zeroPoint } = randomParameters(random, groupCountOf(arrangement), dtype);
      // Not subnormal: x / scale then stays within int32.
      const scale = halves(random, zeroPoint.length, 0x400);
      const given = { ...arrangement, dtype, scale: halvesWidened(scale), zeroPoint };
      expectCodes(x, given, await quantizeLinear(x, { ...given, scale }));
    }
  });

  it.each(types)("as %s, with the scales that asymmetric and symmetric find", async (dtype) => {
    const random = randomOf(100 + types.indexOf(dtype));
    for (const scheme of ["asymmetric", "symmetric"] as const) {
      for (const arrangement of manyTimes(arrangements)) {
        const { shape, ...granularity } = arrangement;
        const x = { shape, data: normals(random, elementsIn(shape)).map((v) => v + 0.3) };
        const { scale, zeroPoint } = engines[0]!.quantize(x, { dtype, scheme, ...granularity });
        await expectSameCodes(x, { ...arrangement, dtype, scale, zeroPoint });
      }
    }
  });

  it("as int4 in blocks with the negative scales of symmetric, the extreme of each block at -8", async () => {
    const x = { shape: [3, 77], data: normals(randomOf(1), 231) };
    const { scale, zeroPoint } = engines[0]!.quantize(x, { dtype: "int4", axis: 1, blockSize: 32 });
    expect(scale.filter((s) => s < 0).length).toBeGreaterThan(0);
    const given = { shape: x.shape, axis: 1, blockSize: 32, dtype: "int4", scale, zeroPoint } as const;
    await expectSameCodes(x, given);
    const codes = Array.from(await quantizeLinear(x, given));
    expect(codes.filter((code) => code === -8).length).toBeGreaterThanOrEqual(scale.length);
  });
});

describe("what lies beyond int32 once divided, infinities and NaN", () => {
  // Elsewhere (blocks along other axes than the last; 4-bit codes at odd ends of a run) ONNX Runtime casts to int32
  // before it clamps, and int32 has no number for these: what comes out depends on the processor.
  const evenRuns: readonly Arrangement[] = [[6], [3, 10], [262, 33]].map((shape) => ({ shape }));
  const clamped = (dtype: CodeDType) => (isPacked(dtype) ? evenRuns : [...perTensor, ...perAxis, ...inBlocksOfRows]);

  it.each(types)("saturates as in ONNX Runtime where that clamps before it casts, as %s", async (dtype) => {
    for (const { x, given } of randomCases(dtype, manyTimes(clamped(dtype)), huge)) await expectSameCodes(x, given);
  });

  it.for(types)("has NaN at the lowest code as in ONNX Runtime on x64, as %s", async (dtype, context) => {
    skipWithout(context, x64);
    for (const { x, given } of randomCases(dtype, manyTimes(clamped(dtype)), [Number.NaN]))
      await expectSameCodes(x, given);
  });

  it.each(types)(
    "saturates and has NaN at the lowest code, also where ONNX Runtime casts before it clamps, as %s",
    async (dtype) => {
      const { min, max } = codeTypes[dtype];
      for (const { x, given } of randomCases(dtype, manyTimes(arrangements), [...huge, Number.NaN])) {
        const groups = groupsOf(given.shape, given);
        const theirs = await quantizeLinear(x, given);
        const want = Array.from(x.data, (value, i) => {
          const quotient = Math.fround(value / given.scale[groups[i]!]!);
          if (Math.abs(quotient) < 2 ** 30) return theirs[i]!;
          return quotient > 0 ? max : min;
        });
        expectCodes(x, given, want);
      }
    },
  );
});

describe("ONNX Runtime's DequantizeLinear gives the same values", () => {
  it.each(integers)("of %s, per tensor, per axis and in blocks", async (dtype) => {
    const random = randomOf(2000 + integers.indexOf(dtype));
    for (const arrangement of [...manyTimes(arrangements), ...large]) {
      const parameters = randomParameters(random, groupCountOf(arrangement), dtype);
      const q = quantized(random, arrangement, dtype, parameters);
      expectValues(q, "float32", await dequantizeLinear(q, "float32", q.scale));
    }
  });

  it.each(integers)("of %s, rounded to float16, past its largest number too", async (dtype) => {
    const random = randomOf(3000 + integers.indexOf(dtype));
    for (const arrangement of manyTimes(arrangements)) {
      const { zeroPoint } = randomParameters(random, groupCountOf(arrangement), dtype);
      const scale = halves(random, zeroPoint.length, 1);
      const q = quantized(random, arrangement, dtype, { scale: halvesWidened(scale), zeroPoint });
      expectValues(q, "float16", await dequantizeLinear(q, "float16", scale));
    }
  });
});

/** A case for each arrangement, values and parameters by chance but the same in every run. */
function randomCases(dtype: CodeDType, among: readonly Arrangement[], beyond?: readonly number[]) {
  const random = randomOf(1000 + types.indexOf(dtype));
  return among.map((arrangement) => {
    const given = { ...arrangement, dtype, ...randomParameters(random, groupCountOf(arrangement), dtype) };
    const x = { shape: arrangement.shape, data: valuesFor(random, given, dtype, beyond) };
    return { x, given };
  });
}

async function expectSameCodes(x: FloatTensor, given: Given): Promise<void> {
  expectCodes(x, given, await quantizeLinear(x, given));
}

function expectCodes(x: FloatTensor, given: Given, want: ArrayLike<number>): void {
  const { shape: _, ...options } = given;
  const bytes = storedCodes(given.dtype, want);
  for (const engine of engines) {
    const { data } = engine.quantize(x, options);
    expect(differenceOf(data, bytes), `${engine.kernels}: ${given.dtype} ${nameOf(given)}`).toBeUndefined();
  }
}

/** Any codes of a type, its extremes among them. */
function quantized(random: () => number, { shape, ...how }: Arrangement, dtype: IntegerDType, parameters: Parameters) {
  const { min, max } = integerTypes[dtype];
  const codes = Array.from({ length: elementsIn(shape) }, () => {
    const kind = random();
    if (kind < 0.1) return kind < 0.05 ? min : max;
    return between(random, min, max);
  });
  const data = arrayOf({ name: "codes", type: dtype, shape, bytes: storedCodes(dtype, codes) }, dtype);
  return { dtype, shape, data, ...how, ...parameters, scheme: "asymmetric" } as const;
}

function expectValues(q: QuantizedTensor & Arrangement, dtype: "float32" | "float16", want: Uint8Array): void {
  for (const engine of engines) {
    const { data } = engine.dequantize(q, { dtype });
    expect(differenceOf(data, want), `${engine.kernels}: ${q.dtype} ${nameOf(q)}`).toBeUndefined();
  }
}
