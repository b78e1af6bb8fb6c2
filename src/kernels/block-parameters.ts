import type { BlockBits } from "./abi.ts";
import { clamp, roundHalfToEven, roundHalfUp } from "./rounding.ts";

// Scale and zero point of one block of a matrix, in scalar form: assembly/block-parameters.ts has the same for four.

const { fround } = Math;

/** What restores a block: `(q - zeroPoint) * scale`. */
export interface BlockParameters {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** How scales are stored, as kernels are told it. */
export const roundings = { float32: 0, float16: 1, bfloat16: 2 } as const;

const float = new Float32Array(1);
const word = new Int32Array(float.buffer);

/** The scale as float16 (1) or bfloat16 (2) hold it, halves to even; but never 0 if it was not. Infinity beyond float16. */
export function storedScale(scale: number, rounding: number): number {
  if (rounding === 0 || scale === 0) return scale;
  float[0] = Math.abs(scale);
  const cut = rounding === 1 ? 13 : 16;
  word[0] = (word[0]! + ((1 << (cut - 1)) - 1) + ((word[0]! >> cut) & 1)) & (-1 << cut);
  if (rounding === 1 && Math.abs(scale) < 2 ** -14) float[0] = roundHalfToEven(Math.abs(scale) * 2 ** 24) / 2 ** 24;
  if (rounding === 1 && float[0]! > 65504) float[0] = Number.POSITIVE_INFINITY;
  const least = rounding === 1 ? 2 ** -24 : 2 ** -133;
  return Math.sign(scale) * Math.max(float[0]!, least);
}

/** One over a scale; 0 where float32 has no such number. */
export function reciprocalOf(scale: number): number {
  const reciprocal = fround(1 / scale);
  return Number.isFinite(reciprocal) ? reciprocal : 0;
}

/** ONNX Runtime's rule (MLAS `range2scale`): the value of largest magnitude meets the lowest code. */
function symmetric(min: number, max: number, first: number, bits: BlockBits): BlockParameters {
  const middle = 2 ** (bits - 1);
  const extreme = Math.abs(max) > Math.abs(min) ? max : min;
  return { scale: fround(-(extreme === 0 ? first : extreme) / middle), zeroPoint: middle };
}

/** ONNX Runtime's rule (MLAS `range2scalezp`): the range holds 0, the zero point is rounded. */
function asymmetric(min: number, max: number, bits: BlockBits): BlockParameters {
  const levels = 2 ** bits - 1;
  const lowest = Math.min(min, 0) + 0;
  const highest = Math.max(max, 0) + 0;
  const span = fround(highest - lowest);
  // Halved where float32 has no number that large.
  const scale = Number.isFinite(span)
    ? fround(span / levels)
    : 2 * fround(fround(fround(highest / 2) - fround(lowest / 2)) / levels);
  return { scale, zeroPoint: scale === 0 ? 0 : roundHalfUp(clamp(fround(-lowest / scale), 0, levels)) };
}

/**
 * Scale and zero point of a block by its extremes (round to nearest: no search); the scale as `rounding` stores it.
 *
 * @param first the block's first value, which tells the sign of the scale where all are zeros
 */
export function blockParameters(
  { min, max, first }: { readonly min: number; readonly max: number; readonly first: number },
  bits: BlockBits,
  isSymmetric: boolean,
  rounding: number,
): BlockParameters {
  const { scale, zeroPoint } = isSymmetric ? symmetric(min, max, first, bits) : asymmetric(min, max, bits);
  return { scale: storedScale(scale, rounding), zeroPoint };
}
