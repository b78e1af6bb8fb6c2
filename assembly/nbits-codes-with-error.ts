import { addSums, addSumsOfUnit, square, within } from "./block-error";
import { kept } from "./lanes";
import { bitsOf, clear, highest, pack } from "./nbits-codes";
import { NEARLY_HALF, NEARLY_HALF_BITS, WHOLE_BITS, codesHalfUp, integers } from "./rounding";

// The codes of one block of a matrix, and what they lose: assembly/quantize-nbits.ts says how both are stored.

/** Bytes of a row's sums. */
export const SUMS: usize = 64;

// @ts-ignore: decorator
@inline
function restored(code: v128, zero: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.sub(code, zero), scale);
}

// @ts-ignore: decorator
@inline
function squaredError(x: v128, restored: v128): v128 {
  const e = f32x4.sub(x, restored);
  return f32x4.mul(e, e);
}

/**
 * One block of one row, whole and in unit 1: codes and sums. The largest errors are the roots of the largest squares: false,
 * and no sums, where these are so small or large that they are not exact.
 */
// @ts-ignore: decorator
@inline
function block<B>(src: usize, dst: usize, size: usize, scale: v128, reciprocal: v128, zero: v128, sums: usize): bool {
  const top = kept(reinterpret<i32>(highest<B>()), size), half = kept(NEARLY_HALF_BITS, size);
  const magic = kept(WHOLE_BITS, size);
  let squared = f32x4.splat(0), aa = squared, bb = squared, most = squared;
  for (const end = src + (size << 2); src < end; src += 64, dst += bitsOf<B>() << 1) {
    const x0 = v128.load(src), q0 = codesHalfUp(x0, reciprocal, zero, top, half);
    const b0 = restored(q0, zero, scale), e0 = squaredError(x0, b0);
    squared = f32x4.add(squared, e0), aa = square(aa, x0), bb = square(bb, b0), most = f32x4.pmax(most, e0);
    const x1 = v128.load(src, 16), q1 = codesHalfUp(x1, reciprocal, zero, top, half);
    const b1 = restored(q1, zero, scale), e1 = squaredError(x1, b1);
    squared = f32x4.add(squared, e1), aa = square(aa, x1), bb = square(bb, b1), most = f32x4.pmax(most, e1);
    const low = i16x8.narrow_i32x4_s(integers(q0, magic), integers(q1, magic));
    const x2 = v128.load(src, 32), q2 = codesHalfUp(x2, reciprocal, zero, top, half);
    const b2 = restored(q2, zero, scale), e2 = squaredError(x2, b2);
    squared = f32x4.add(squared, e2), aa = square(aa, x2), bb = square(bb, b2), most = f32x4.pmax(most, e2);
    const x3 = v128.load(src, 48), q3 = codesHalfUp(x3, reciprocal, zero, top, half);
    const b3 = restored(q3, zero, scale), e3 = squaredError(x3, b3);
    squared = f32x4.add(squared, e3), aa = square(aa, x3), bb = square(bb, b3), most = f32x4.pmax(most, e3);
    const high = i16x8.narrow_i32x4_s(integers(q2, magic), integers(q3, magic));
    pack<B>(dst, i8x16.narrow_i16x8_u(low, high), i16x8.splat(0xff));
  }
  const least = i32x4.splat(0x0d800000), limit = i32x4.splat(0x7b800000); // 2^-100, 2^120
  if (!i32x4.all_true(v128.and(f32x4.gt(most, least), f32x4.lt(most, limit)))) return false;
  addSums(sums, squared, aa, bb);
  v128.store(sums, f32x4.pmax(v128.load(sums, 48), f32x4.sqrt(most)), 48);
  return true;
}

/**
 * The same of any block, of which `valid` elements are there, and zeros after them. Sums are counted in `unit`; `back` is one
 * over its square, in float64.
 */
function anyBlock<B>(
  src: usize, dst: usize, size: usize, valid: usize, scale: f32, reciprocal: f32, zero: f32, unit: f32, back: f64,
  sums: usize,
): void {
  const scale4 = f32x4.splat(scale), reciprocal4 = f32x4.splat(reciprocal);
  const zero4 = f32x4.splat(zero), unit4 = f32x4.splat(unit);
  const top = f32x4.splat(highest<B>()), half = f32x4.splat(NEARLY_HALF), magic = i32x4.splat(WHOLE_BITS);
  const magnitude = i32x4.splat(0x7fffffff), valid4 = i32x4.splat(<i32>valid);
  let squared = f32x4.splat(0), aa = squared, bb = squared, largest = v128.load(sums, 48);
  let codes = i32x4.splat(0);
  for (let i: usize = 0, to = dst; i < size; i += 4, src += 16) {
    const x = v128.load(src);
    const q = codesHalfUp(x, reciprocal4, zero4, top, half);
    const there = within(<i32>i, valid4);
    const b = v128.and(restored(q, zero4, scale4), there), e = v128.and(f32x4.sub(x, b), there);
    squared = square(squared, f32x4.mul(e, unit4));
    aa = square(aa, f32x4.mul(x, unit4));
    bb = square(bb, f32x4.mul(b, unit4));
    largest = f32x4.pmax(largest, v128.and(e, magnitude));
    // Four bytes more on top.
    const whole = i16x8.narrow_i32x4_s(integers(q, magic), integers(q, magic));
    codes = v128.shuffle<i32>(codes, i8x16.narrow_i16x8_u(whole, whole), 1, 2, 3, 4);
    if ((i & 12) == 12) {
      pack<B>(to, codes, i16x8.splat(0xff));
      to += bitsOf<B>() << 1;
    }
  }
  addSumsOfUnit(sums, squared, aa, bb, f64x2.splat(back));
  v128.store(sums, largest, 48);
  if (valid < size) clear<B>(dst, size, valid);
}

/** Codes and sums of a block of `count` rows, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
export function encodeWithError<B>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, sums: usize, from: usize,
): void {
  for (let back = from + 64; count > 0; count--, from += 4, back += 8, src += step, dst += rowBytes, sums += SUMS) {
    if (valid == size && load<f32>(from, 48) == 1) {
      const scale = v128.load32_splat(from), reciprocal = v128.load32_splat(from, 16), zero = v128.load32_splat(from, 32);
      if (block<B>(src, dst, size, scale, reciprocal, zero, sums)) continue;
    }
    anyBlock<B>(
      src, dst, size, valid, load<f32>(from), load<f32>(from, 16), load<f32>(from, 32), load<f32>(from, 48),
      load<f64>(back), sums,
    );
  }
}
