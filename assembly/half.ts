// Half precision: IEEE 754 binary16 and bfloat16, to and from float32. Widening is exact; narrowing rounds half to even,
// overflows to infinity and keeps NaN a (quiet) NaN. In bits throughout, so that every engine agrees on NaN payloads.

/**
 * binary16 bits (in i32 lanes) to float32. Shifted into place the exponent is 112 too small, which a multiplication by
 * 2^112 mends, subnormals included; infinity and NaN get the full exponent.
 */
// @ts-ignore: decorator
@inline
function widen(h: v128): v128 {
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const rest = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  const value = f32x4.mul(rest, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.ge_s(rest, i32x4.splat(0x0f800000));
  const exponent = v128.and(special, i32x4.splat(0x7f800000));
  // For infinity and NaN the product's mantissa is rest's; taking rest itself keeps the payload whatever the multiplier does.
  return v128.or(sign, v128.bitselect(v128.or(rest, exponent), value, special));
}

/** float32 to binary16 bits in i32 lanes. */
// @ts-ignore: decorator
@inline
function narrow(x: v128): v128 {
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  // Normal: subtract 112 from the exponent, add half a step (less one when the kept part is even), cut.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, i32x4.splat(0xc8000fff)), odd), 13);
  // Subnormal: adding 0.5 lets the float32 adder round at the right bit.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const special = v128.bitselect(
    i32x4.splat(0x7e00), i32x4.splat(0x7c00), i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)),
  );
  let half = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(0x38800000)));
  half = v128.bitselect(special, half, i32x4.ge_s(magnitude, i32x4.splat(0x47800000)));
  return v128.or(sign, half);
}

/** float32 to bfloat16 bits in i32 lanes: the upper half, rounded; a NaN is cut and made quiet. */
// @ts-ignore: decorator
@inline
function narrowBrain(x: v128): v128 {
  const upper = i32x4.shr_u(x, 16);
  const odd = v128.and(upper, i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  const nan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.bitselect(v128.or(upper, i32x4.splat(0x40)), rounded, nan);
}

export function convertF16F32(src: usize, dst: usize, n: usize): void {
  for (; n >= 8; n -= 8, src += 16, dst += 32) {
    const h = v128.load(src);
    v128.store(dst, widen(i32x4.extend_low_i16x8_u(h)));
    v128.store(dst, widen(i32x4.extend_high_i16x8_u(h)), 16);
  }
  for (; n > 0; n--, src += 2, dst += 4) v128.store32_lane(dst, widen(i32x4.splat(<i32>load<u16>(src))), 0);
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
  for (; n >= 8; n -= 8, src += 32, dst += 16) {
    v128.store(dst, i16x8.narrow_i32x4_u(narrow(v128.load(src)), narrow(v128.load(src, 16))));
  }
  for (; n > 0; n--, src += 4, dst += 2) {
    store<u16>(dst, <u16>i32x4.extract_lane(narrow(v128.load32_splat(src)), 0));
  }
}

export function convertF32BF16(src: usize, dst: usize, n: usize): void {
  for (; n >= 8; n -= 8, src += 32, dst += 16) {
    v128.store(dst, i16x8.narrow_i32x4_u(narrowBrain(v128.load(src)), narrowBrain(v128.load(src, 16))));
  }
  for (; n > 0; n--, src += 4, dst += 2) {
    store<u16>(dst, <u16>i32x4.extract_lane(narrowBrain(v128.load32_splat(src)), 0));
  }
}
