// From float32 to whole numbers: where ties are rounded.

// Half to even, as ONNX QuantizeLinear rounds. The type `Z` of the offsets tells two formulas apart:
//   i32, asymmetric:    q = saturate(roundHalfToEven(x / scale) + zeroPoint)
//   f32, float-offset:  q = saturate(roundHalfToEven(((x - min) / (max - min)) * (qmax - qmin) + qmin))
// float32 at every step, in this order.

/** 1.5 * 2^23: added to a float32 below 2^22 in size, it leaves the value rounded half to even in the low mantissa bits. */
const MAGIC: f32 = 12582912.0;
export const MAGIC_BITS: i32 = 0x4b400000;

/** The lower clamp, before rounding: what becomes the lowest code once the zero point is added. */
// @ts-ignore: decorator
@inline
export function floorOf<Z>(lowest: i32, offset: v128): v128 {
  return isFloat<Z>()
    ? f32x4.splat(<f32>lowest)
    : f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(lowest), offset));
}

/** What turns the bits of a rounded value back into an integer, zero point added. */
// @ts-ignore: decorator
@inline
export function biasOf<Z>(offset: v128): v128 {
  return isFloat<Z>() ? i32x4.splat(MAGIC_BITS) : i32x4.sub(i32x4.splat(MAGIC_BITS), offset);
}

/**
 * Four codes in i32 lanes. pmax(floor, x) in this order turns NaN into the floor on every engine; values above 2^22 stay
 * monotone through the addition, so that the narrowing saturates them.
 */
// @ts-ignore: decorator
@inline
export function codesHalfToEven<Z>(
  x: v128, divisor: v128, offset: v128, levels: v128, base: v128, floor: v128, bias: v128,
): v128 {
  if (isFloat<Z>()) x = f32x4.sub(x, offset);
  x = f32x4.div(x, divisor);
  if (isFloat<Z>()) x = f32x4.add(f32x4.mul(x, levels), base);
  return i32x4.sub(f32x4.add(f32x4.pmax(floor, x), f32x4.splat(MAGIC)), bias);
}

/** The same of values that their scale keeps below 2^22 codes: no floor. `magic` are MAGIC_BITS, `bias` what biasOf says. */
// @ts-ignore: decorator
@inline
export function codesInRange(x: v128, scale: v128, magic: v128, bias: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.div(x, scale), magic), bias);
}

/** Float64 to whole numbers in the low halves of two lanes; |x| is below 2^31. */
// @ts-ignore: decorator
@inline
export function integersHalfToEven(x: v128): v128 {
  return f64x2.add(x, f64x2.splat(6755399441055744.0)); // 1.5 * 2^52
}

// Half up, as ONNX Runtime's packer of blocks rounds (away from zero, of codes that are not negative):
//   q = clamp(roundf(x * (1 / scale) + zeroPoint), 0, 2^B - 1)

/** The float32 below 0.5: added before cutting, it rounds halves up and nothing else. */
export const NEARLY_HALF: f32 = reinterpret<f32>(0x3effffff);
export const NEARLY_HALF_BITS: i32 = 0x3effffff;
/** Bits of 2^23: added to a whole number, it leaves that in the low mantissa bits. */
export const WHOLE_BITS: i32 = 0x4b000000;
/**
 * Bits of 2^19 less half a step there: added to t, it leaves floor(16 * t), or one more, above the bits of 2^19; never more
 * than 16 * floor(t) + 15 though, as at whole t the tie goes to the even mantissa.
 */
export const CUT: i32 = 0x48ffffff;
export const CUT_BITS: i32 = 0x49000000;

/** Rounds to the nearest whole number; 0 <= x < 2^22. */
// @ts-ignore: decorator
@inline
export function roundHalfUp(x: v128): v128 {
  return f32x4.trunc(f32x4.add(x, f32x4.splat(NEARLY_HALF)));
}

/** Four codes in float32 lanes; NaN becomes 0. `half` is NEARLY_HALF. */
// @ts-ignore: decorator
@inline
export function codesHalfUp(x: v128, reciprocal: v128, zero: v128, top: v128, half: v128): v128 {
  const y = f32x4.add(f32x4.mul(x, reciprocal), zero);
  return f32x4.trunc(f32x4.add(f32x4.pmin(top, f32x4.pmax(f32x4.splat(0), y)), half));
}

/** Whole numbers in float32 lanes to i32 lanes. `magic` are WHOLE_BITS. */
// @ts-ignore: decorator
@inline
export function integers(codes: v128, magic: v128): v128 {
  return i32x4.sub(f32x4.add(codes, magic), magic);
}

/** 16 times the code, and up to 15 more, in i32 lanes; not clamped. The last three are NEARLY_HALF_BITS, CUT, CUT_BITS. */
// @ts-ignore: decorator
@inline
export function sixteenthsHalfUp(x: v128, reciprocal: v128, zero: v128, half: v128, cut: v128, bits: v128): v128 {
  const y = f32x4.add(f32x4.mul(x, reciprocal), zero);
  return i32x4.sub(f32x4.add(f32x4.add(y, half), cut), bits);
}
