import { byTwo, kept } from "./lanes";

// The codes of one block of a matrix, and what they lose: assembly/nbits.ts says how both are stored.

/** Bits of 2^23: added to a whole number, it leaves that in the low mantissa bits. */
export const MAGIC_BITS: i32 = 0x4b000000;
/** The float32 below 0.5: added before cutting, it rounds halves up and nothing else. */
export const NEARLY_HALF: f32 = reinterpret<f32>(0x3effffff);

// @ts-ignore: decorator
@inline
export function highest<B>(): f32 {
  return <f32>((1 << bitsOf<B>()) - 1);
}

/** The width of codes, told by a type: i8 for 2 bits, i16 for 4, i32 for 8. */
// @ts-ignore: decorator
@inline
export function bitsOf<B>(): i32 {
  return <i32>sizeof<B>() << 1;
}

/** Rounds to the nearest whole number, halves up; 0 <= x < 2^22. */
// @ts-ignore: decorator
@inline
export function rounded(x: v128): v128 {
  return f32x4.trunc(f32x4.add(x, f32x4.splat(NEARLY_HALF)));
}

/** Codes as float32; NaN becomes 0. `half` is NEARLY_HALF. */
// @ts-ignore: decorator
@inline
export function codes4(x: v128, reciprocal: v128, zero: v128, top: v128, half: v128): v128 {
  const y = f32x4.add(f32x4.mul(x, reciprocal), zero);
  return f32x4.trunc(f32x4.add(f32x4.pmin(top, f32x4.pmax(f32x4.splat(0), y)), half));
}

// @ts-ignore: decorator
@inline
export function integers(codes: v128, magic: v128): v128 {
  return i32x4.sub(f32x4.add(codes, magic), magic);
}

/** Packs sixteen codes, k ascending: 4, 8 or 16 bytes. */
// @ts-ignore: decorator
@inline
function pack<B>(dst: usize, bytes: v128): void {
  if (bitsOf<B>() == 8) {
    v128.store(dst, bytes);
  } else if (bitsOf<B>() == 4) {
    // 0x0h0l in each i16: h << 4 | l
    const pairs = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 4)), i16x8.splat(0xff));
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(pairs, pairs), 0);
  } else {
    const pairs = v128.or(bytes, i16x8.shr_u(bytes, 6)); // 4 bits in each i16, and some above
    const both = v128.and(pairs, i16x8.splat(0x0f));
    const quads = v128.and(v128.or(both, i32x4.shr_u(both, 12)), i32x4.splat(0xff));
    const half = i16x8.narrow_i32x4_s(quads, quads);
    v128.store32_lane(dst, i8x16.narrow_i16x8_u(half, half), 0);
  }
}

/** The sum so far and a square, all in float32. */
// @ts-ignore: decorator
@inline
export function square(sum: v128, x: v128): v128 {
  return f32x4.add(sum, f32x4.mul(x, x));
}

// @ts-ignore: decorator
@inline
function within(from: i32, valid: v128): v128 {
  return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(from)), valid);
}

/** Four lanes to two in float64: 0 + 2, 1 + 3. */
// @ts-ignore: decorator
@inline
export function pairs(x: v128): v128 {
  return f64x2.promote_low_f32x4(f32x4.add(x, byTwo(x)));
}

// @ts-ignore: decorator
@inline
export function addTo(sums: usize, value: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), value));
}

/**
 * One block of one row, whole and in unit 1: codes and sums. The largest errors are the roots of the largest squares: false,
 * and no sums, where these are so small or large that they are not exact.
 */
// @ts-ignore: decorator
@inline
export function block<B>(src: usize, dst: usize, size: usize, scale: v128, reciprocal: v128, zero: v128, sums: usize): bool {
  const top = kept(reinterpret<i32>(highest<B>()), size), half = kept(reinterpret<i32>(NEARLY_HALF), size);
  const magic = kept(MAGIC_BITS, size);
  let squared = f32x4.splat(0), aa = squared, bb = squared, most = squared;
  for (const end = src + (size << 2); src < end; src += 64, dst += bitsOf<B>() << 1) {
    const x0 = v128.load(src);
    const q0 = codes4(x0, reciprocal, zero, top, half);
    const b0 = f32x4.mul(f32x4.sub(q0, zero), scale), e0 = f32x4.sub(x0, b0), ee0 = f32x4.mul(e0, e0);
    squared = f32x4.add(squared, ee0), aa = square(aa, x0), bb = square(bb, b0), most = f32x4.pmax(most, ee0);
    const x1 = v128.load(src, 16);
    const q1 = codes4(x1, reciprocal, zero, top, half);
    const b1 = f32x4.mul(f32x4.sub(q1, zero), scale), e1 = f32x4.sub(x1, b1), ee1 = f32x4.mul(e1, e1);
    squared = f32x4.add(squared, ee1), aa = square(aa, x1), bb = square(bb, b1), most = f32x4.pmax(most, ee1);
    const low = i16x8.narrow_i32x4_s(integers(q0, magic), integers(q1, magic));
    const x2 = v128.load(src, 32);
    const q2 = codes4(x2, reciprocal, zero, top, half);
    const b2 = f32x4.mul(f32x4.sub(q2, zero), scale), e2 = f32x4.sub(x2, b2), ee2 = f32x4.mul(e2, e2);
    squared = f32x4.add(squared, ee2), aa = square(aa, x2), bb = square(bb, b2), most = f32x4.pmax(most, ee2);
    const x3 = v128.load(src, 48);
    const q3 = codes4(x3, reciprocal, zero, top, half);
    const b3 = f32x4.mul(f32x4.sub(q3, zero), scale), e3 = f32x4.sub(x3, b3), ee3 = f32x4.mul(e3, e3);
    squared = f32x4.add(squared, ee3), aa = square(aa, x3), bb = square(bb, b3), most = f32x4.pmax(most, ee3);
    const high = i16x8.narrow_i32x4_s(integers(q2, magic), integers(q3, magic));
    pack<B>(dst, i8x16.narrow_i16x8_u(low, high));
  }
  const least = f32x4.splat(reinterpret<f32>(0x0d800000)), highest4 = f32x4.splat(reinterpret<f32>(0x7b800000)); // 2^-100, 2^120
  if (!i32x4.all_true(v128.and(f32x4.gt(most, least), f32x4.lt(most, highest4)))) return false;
  addTo(sums, pairs(squared));
  addTo(sums + 16, pairs(aa));
  addTo(sums + 32, pairs(bb));
  v128.store(sums, f32x4.pmax(v128.load(sums, 48), f32x4.sqrt(most)), 48);
  return true;
}

/**
 * The same of any block, of which `valid` elements are there, and zeros after them. Sums are counted in `unit`; `back` is one
 * over its square, in float64.
 */
export function anyBlock<B>(
  src: usize, dst: usize, size: usize, valid: usize, scale: f32, reciprocal: f32, zero: f32, unit: f32, back: f64, sums: usize,
): void {
  const scale4 = f32x4.splat(scale), reciprocal4 = f32x4.splat(reciprocal), zero4 = f32x4.splat(zero), unit4 = f32x4.splat(unit);
  const top = f32x4.splat(highest<B>()), half = f32x4.splat(NEARLY_HALF), magic = i32x4.splat(MAGIC_BITS);
  const magnitude = i32x4.splat(0x7fffffff), valid4 = i32x4.splat(<i32>valid);
  let squared = f32x4.splat(0), aa = squared, bb = squared, largest = v128.load(sums, 48);
  let codes = i32x4.splat(0);
  for (let i: usize = 0, to = dst; i < size; i += 4, src += 16) {
    const x = v128.load(src);
    const q = codes4(x, reciprocal4, zero4, top, half);
    const there = within(<i32>i, valid4);
    const b = v128.and(f32x4.mul(f32x4.sub(q, zero4), scale4), there), e = v128.and(f32x4.sub(x, b), there);
    squared = square(squared, f32x4.mul(e, unit4));
    aa = square(aa, f32x4.mul(x, unit4));
    bb = square(bb, f32x4.mul(b, unit4));
    largest = f32x4.pmax(largest, v128.and(e, magnitude));
    // Four bytes more on top.
    const whole = i16x8.narrow_i32x4_s(integers(q, magic), integers(q, magic));
    codes = v128.shuffle<i32>(codes, i8x16.narrow_i16x8_u(whole, whole), 1, 2, 3, 4);
    if ((i & 12) == 12) {
      pack<B>(to, codes);
      to += bitsOf<B>() << 1;
    }
  }
  const back2 = f64x2.splat(back);
  addTo(sums, f64x2.mul(pairs(squared), back2));
  addTo(sums + 16, f64x2.mul(pairs(aa), back2));
  addTo(sums + 32, f64x2.mul(pairs(bb), back2));
  v128.store(sums, largest, 48);
  if (valid < size) clear<B>(dst, size, valid);
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
