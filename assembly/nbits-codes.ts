import { kept } from "./lanes";
import { nibblePairs } from "./nibbles";
import { CUT, CUT_BITS, NEARLY_HALF_BITS, sixteenthsHalfUp } from "./rounding";

// The codes of one block of a matrix alone, for callers who do not ask what was lost: assembly/quantize-nbits.ts says how they
// are stored.

/** The width of codes, told by a type: i8 for 2 bits, i16 for 4, i32 for 8. */
// @ts-ignore: decorator
@inline
export function bitsOf<B>(): i32 {
  return <i32>sizeof<B>() << 1;
}

/** The highest code. */
// @ts-ignore: decorator
@inline
export function highest<B>(): f32 {
  return <f32>((1 << bitsOf<B>()) - 1);
}

/**
 * Packs sixteen codes, a byte each, k ascending, to 4, 8 or 16 bytes. `ones` is 0x00ff in each i16.
 *
 *   2 bits   0a 0b 0c 0d ..  ->  b << 2 | a, d << 2 | c, ..  ->  d << 6 | c << 4 | b << 2 | a, ..
 *   4 bits   0a 0b 0c 0d ..  ->  b << 4 | a, d << 4 | c, ..
 */
// @ts-ignore: decorator
@inline
export function pack<B>(dst: usize, bytes: v128, ones: v128): void {
  if (bitsOf<B>() == 8) {
    v128.store(dst, bytes);
  } else if (bitsOf<B>() == 4) {
    const pairs = nibblePairs(bytes, ones);
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(pairs, pairs), 0);
  } else {
    const pairs = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 6)), i16x8.splat(0x0f));
    const quads = v128.and(v128.or(pairs, i32x4.shr_u(pairs, 12)), i32x4.splat(0xff));
    const halves = i16x8.narrow_i32x4_s(quads, quads);
    v128.store32_lane(dst, i8x16.narrow_i16x8_u(halves, halves), 0);
  }
}

/** Zeros from element `valid` of a block on. */
export function clear<B>(dst: usize, size: usize, valid: usize): void {
  let at = (valid * bitsOf<B>()) >> 3;
  const rest = (valid * bitsOf<B>()) & 7;
  if (rest) {
    const mask: i32 = (1 << (<i32>rest)) - 1;
    store<u8>(dst + at, <u8>(<i32>load<u8>(dst + at) & mask));
    at++;
  }
  memory.fill(dst + at, 0, ((size * bitsOf<B>()) >> 3) - at);
}

/** Sixteen codes, a byte each. */
// @ts-ignore: decorator
@inline
function sixteen(src: usize, reciprocal: v128, zero: v128, half: v128, cut: v128, bits: v128): v128 {
  const a = sixteenthsHalfUp(v128.load(src), reciprocal, zero, half, cut, bits);
  const b = sixteenthsHalfUp(v128.load(src, 16), reciprocal, zero, half, cut, bits);
  const c = sixteenthsHalfUp(v128.load(src, 32), reciprocal, zero, half, cut, bits);
  const d = sixteenthsHalfUp(v128.load(src, 48), reciprocal, zero, half, cut, bits);
  return i8x16.narrow_i16x8_u(
    i16x8.shr_s(i16x8.narrow_i32x4_s(a, b), 4), i16x8.shr_s(i16x8.narrow_i32x4_s(c, d), 4),
  );
}

/** Codes of a block of `count` rows, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
export function encode<B>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, from: usize,
): void {
  const half = kept(NEARLY_HALF_BITS, size), cut = kept(CUT, size), bits = kept(CUT_BITS, size);
  const top = kept(0x01010101 * <i32>highest<B>(), size), ones = kept(0x00ff00ff, size);
  for (; count > 0; count--, from += 4, src += step, dst += rowBytes) {
    const reciprocal = v128.load32_splat(from, 16), zero = v128.load32_splat(from, 32);
    let to = dst;
    let p = src;
    const end = src + (size << 2);
    if (bitsOf<B>() == 4) {
      for (; p + 128 <= end; p += 128, to += 16) {
        const low = sixteen(p, reciprocal, zero, half, cut, bits), high = sixteen(p + 64, reciprocal, zero, half, cut, bits);
        v128.store(
          to, i8x16.narrow_i16x8_u(nibblePairs(i8x16.min_u(low, top), ones), nibblePairs(i8x16.min_u(high, top), ones)),
        );
      }
    }
    for (; p < end; p += 64, to += bitsOf<B>() << 1) {
      const q = sixteen(p, reciprocal, zero, half, cut, bits);
      pack<B>(to, bitsOf<B>() == 8 ? q : i8x16.min_u(q, top), ones);
    }
    if (valid < size) clear<B>(dst, size, valid);
  }
}
