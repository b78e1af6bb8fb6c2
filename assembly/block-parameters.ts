import { roundHalfUp } from "./rounding";

// Scales and zero points of four blocks, a lane each, from their extremes: ONNX Runtime's rules (MLAS range2scale and
// range2scalezp), float32 at every step.

/** To the nearest float16 (1) or bfloat16 (2), halves to even, as float32; but never to 0 what is not 0. */
function narrowed(x: v128, to: i32): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const bits = v128.xor(x, sign);
  const shift = to == 1 ? 13 : 16;
  const odd = v128.and(i32x4.shr_u(bits, shift), i32x4.splat(1));
  const half = i32x4.splat((1 << (shift - 1)) - 1);
  let y = v128.and(i32x4.add(i32x4.add(bits, half), odd), i32x4.splat(-1 << shift));
  let least = i32x4.splat(0x00010000); // 2^-133
  if (to == 1) {
    // Subnormal: adding 0.5 lets the float32 adder round at the right bit.
    const subnormal = f32x4.sub(f32x4.add(bits, f32x4.splat(0.5)), f32x4.splat(0.5));
    y = v128.bitselect(subnormal, y, f32x4.lt(bits, f32x4.splat(reinterpret<f32>(0x38800000))));
    y = v128.bitselect(f32x4.splat(Infinity), y, f32x4.gt(y, f32x4.splat(65504)));
    least = i32x4.splat(0x33800000); // 2^-24
  }
  y = i32x4.max_s(y, v128.and(least, i32x4.gt_s(bits, i32x4.splat(0))));
  return v128.or(y, sign);
}

/** The scale as it is going to be stored. */
// @ts-ignore: decorator
@inline
export function stored(scale: v128, rounding: i32): v128 {
  return rounding ? narrowed(scale, rounding) : scale;
}

/** One over each scale; 0 where float32 has no such number. */
// @ts-ignore: decorator
@inline
export function reciprocalOf(scale: v128): v128 {
  const reciprocal = f32x4.div(f32x4.splat(1), scale);
  return v128.and(reciprocal, f32x4.lt(f32x4.abs(reciprocal), f32x4.splat(Infinity)));
}

/** The value of largest magnitude meets the lowest code; where all are zeros, the first of them tells the sign. */
// @ts-ignore: decorator
@inline
export function extremeScale(low: v128, high: v128, first: v128, middle: v128): v128 {
  const extreme = v128.bitselect(high, low, f32x4.gt(f32x4.abs(high), f32x4.abs(low)));
  const none = f32x4.eq(extreme, f32x4.splat(0));
  return f32x4.div(f32x4.neg(v128.bitselect(first, extreme, none)), middle);
}

/** The range, 0 within it, over the number of steps; halved on the way where float32 has no number that large. */
// @ts-ignore: decorator
@inline
export function rangeScale(low: v128, high: v128, levels: v128): v128 {
  const lowest = f32x4.pmin(f32x4.splat(0), low), most = f32x4.pmax(f32x4.splat(0), high);
  const half = f32x4.splat(0.5);
  const span = f32x4.sub(most, lowest);
  const wide = f32x4.eq(span, f32x4.splat(Infinity));
  const halved = f32x4.sub(f32x4.mul(most, half), f32x4.mul(lowest, half));
  const scale = f32x4.div(v128.bitselect(halved, span, wide), levels);
  return v128.bitselect(f32x4.add(scale, scale), scale, wide);
}

/** The code nearest to where 0 lies; 0 where the scale is 0. */
// @ts-ignore: decorator
@inline
export function rangeZero(low: v128, scale: v128, levels: v128): v128 {
  const none = f32x4.splat(0);
  const zero = roundHalfUp(f32x4.pmin(levels, f32x4.pmax(none, f32x4.div(f32x4.neg(f32x4.pmin(none, low)), scale))));
  return v128.and(zero, f32x4.ne(scale, none)); // subnormal bounds over a scale that underflowed
}
