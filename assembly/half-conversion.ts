import { kept } from "./lanes";

// Half precision: IEEE 754 binary16 and bfloat16, to and from float32. Widening is exact; narrowing rounds half to even,
// overflows to infinity and keeps NaN a (quiet) NaN. In bits throughout, so that every engine agrees on NaN payloads.

/**
 * binary16, sign-extended to i32 lanes, to float32. Shifted into place the exponent is 112 too small, which a multiplication by
 * 2^112 (`scale`) mends, subnormals included. Infinity and NaN are 0x47800000 and more then, and lack 0x38000000 of the full
 * exponent; their payload stays as it is.
 */
// @ts-ignore: decorator
@inline
function widen(h: v128, rest: v128, scale: v128, largest: v128, missing: v128, signs: v128): v128 {
  const value = f32x4.mul(v128.and(i32x4.shl(h, 13), rest), scale);
  const special = v128.and(i32x4.gt_s(value, largest), missing);
  return v128.or(v128.or(value, special), v128.and(h, signs));
}

// Constants of `narrow`, all of them bits.
export const MAGNITUDE: i32 = 0x7fffffff, EXPONENT: i32 = 0x7f800000;
/** 2^-14, below which halves are subnormal, and 2^16, from which on all are infinite. */
export const LEAST: i32 = 0x38800000, MOST: i32 = 0x47800000;
/** 13 in the exponent: so far above a float32 its last place is that of a half. */
export const ABOVE: i32 = 0x06800000;

/**
 * float32 to binary16 bits in i32 lanes, without the sign. Added to a power of two 13 above its own, held between LEAST and
 * MOST, a magnitude is rounded by the adder to the steps of a half; the difference of the bits counts them, from the start
 * of the power's half, which the exponent tells.
 */
// @ts-ignore: decorator
@inline
export function narrow(
  x: v128, magnitude: v128, exponent: v128, least: v128, most: v128, above: v128, start: v128, infinity: v128, quiet: v128,
): v128 {
  const size = v128.and(x, magnitude);
  const power = i32x4.min_s(i32x4.max_s(v128.and(size, exponent), least), most);
  const far = i32x4.add(power, above);
  const steps = i32x4.sub(f32x4.add(size, far), far);
  const half = i32x4.min_s(i32x4.sub(i32x4.add(steps, i32x4.shr_u(power, 13)), start), infinity);
  return v128.or(half, v128.and(i32x4.gt_s(size, exponent), quiet));
}

/** float32 to bfloat16 bits in i32 lanes: the upper half, rounded; a NaN is cut and made quiet. */
// @ts-ignore: decorator
@inline
function narrowBrain(x: v128, one: v128, half: v128, magnitude: v128, exponent: v128, quiet: v128): v128 {
  const upper = i32x4.shr_u(x, 16);
  const odd = v128.and(upper, one);
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, half), odd), 16);
  const nan = i32x4.gt_s(v128.and(x, magnitude), exponent);
  return v128.bitselect(v128.or(upper, quiet), rounded, nan);
}

export function convertF16F32(src: usize, dst: usize, n: usize): void {
  const rest = kept(0x0fffe000, n), scale = kept(0x77800000, n), largest = kept(0x477fffff, n);
  const missing = kept(0x38000000, n), signs = kept(0x80000000, n);
  for (; n >= 8; n -= 8, src += 16, dst += 32) {
    v128.store(dst, widen(v128.load16x4_s(src), rest, scale, largest, missing, signs));
    v128.store(dst, widen(v128.load16x4_s(src, 8), rest, scale, largest, missing, signs), 16);
  }
  for (; n > 0; n--, src += 2, dst += 4) {
    v128.store32_lane(dst, widen(i32x4.splat(<i32>load<i16>(src)), rest, scale, largest, missing, signs), 0);
  }
}

export function convertBF16F32(src: usize, dst: usize, n: usize): void {
  for (; n >= 8; n -= 8, src += 16, dst += 32) {
    const h = v128.load(src);
    v128.store(dst, i32x4.shl(i32x4.extend_low_i16x8_u(h), 16));
    v128.store(dst, i32x4.shl(i32x4.extend_high_i16x8_u(h), 16), 16);
  }
  for (; n > 0; n--, src += 2, dst += 4) store<u32>(dst, <u32>load<u16>(src) << 16);
}

export function convertF32F16(src: usize, dst: usize, n: usize): void {
  const magnitude = kept(MAGNITUDE, n), exponent = kept(EXPONENT, n), least = kept(LEAST, n), most = kept(MOST, n);
  const above = kept(ABOVE, n), start = kept(LEAST >> 13, n), infinity = kept(0x7c00, n), quiet = kept(0x0200, n);
  const signs = kept(0x80008000, n);
  for (; n >= 8; n -= 8, src += 32, dst += 16) {
    const x = v128.load(src), y = v128.load(src, 16);
    const halves = i16x8.narrow_i32x4_s(
      narrow(x, magnitude, exponent, least, most, above, start, infinity, quiet),
      narrow(y, magnitude, exponent, least, most, above, start, infinity, quiet),
    );
    const upper = i16x8.narrow_i32x4_s(i32x4.shr_s(x, 16), i32x4.shr_s(y, 16));
    v128.store(dst, v128.or(halves, v128.and(upper, signs)));
  }
  for (; n > 0; n--, src += 4, dst += 2) {
    const half = narrow(v128.load32_splat(src), magnitude, exponent, least, most, above, start, infinity, quiet);
    store<u16>(dst, <u16>(i32x4.extract_lane(half, 0) | (<i32>load<u16>(src, 2) & 0x8000)));
  }
}

export function convertF32BF16(src: usize, dst: usize, n: usize): void {
  const one = kept(1, n), half = kept(0x7fff, n), magnitude = kept(MAGNITUDE, n), exponent = kept(EXPONENT, n);
  const quiet = kept(0x40, n);
  for (; n >= 8; n -= 8, src += 32, dst += 16) {
    const low = narrowBrain(v128.load(src), one, half, magnitude, exponent, quiet);
    v128.store(dst, i16x8.narrow_i32x4_u(low, narrowBrain(v128.load(src, 16), one, half, magnitude, exponent, quiet)));
  }
  for (; n > 0; n--, src += 4, dst += 2) {
    const bits = narrowBrain(v128.load32_splat(src), one, half, magnitude, exponent, quiet);
    store<u16>(dst, <u16>i32x4.extract_lane(bits, 0));
  }
}
