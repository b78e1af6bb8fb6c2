// Arithmetic on four lanes that the kernels share. Pointers are bytes, lengths are elements.

/** 1.5 * 2^23: added to a float32 below 2^22 in size, it leaves the value rounded half to even in the low mantissa bits. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4b400000;

/** From this many elements on a run is read as four streams: one stream leaves memory bandwidth unused beyond the caches. */
export const STREAMS_FROM: usize = 16384;

/** Columns are taken four rows at a time: one row alone is a single stream, and loads its parameters for itself alone. */
export const ROWS: usize = 4;

/** Rotates lanes by two, then by one: two steps fold four lanes into each. */
// @ts-ignore: decorator
@inline
export function byTwo(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 2, 3, 0, 1);
}
// @ts-ignore: decorator
@inline
export function byOne(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 1, 0, 3, 2);
}

/**
 * The same bits in all lanes, in a way that no compiler sees through: it would put the constant into the loop, where V8 builds
 * it anew at each use. `n` is any number below 2^31 that is known at run time alone.
 */
// @ts-ignore: decorator
@inline
export function kept(bits: i32, n: usize): v128 {
  return i32x4.splat(bits | <i32>(n >> 31));
}

// A code type `C` is what is stored (i8, u8, i16, u16). The type `Z` of the offsets tells the two formulas apart:
//   i32, affine:  q = saturate(roundHalfToEven(x / scale) + zeroPoint)                                  ONNX QuantizeLinear
//   f32, minmax:  q = saturate(roundHalfToEven(((x - min) / (max - min)) * (qmax - qmin) + qmin))       float32, in this order

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
 * Four codes as i32. pmax(floor, x) in this order turns NaN into the floor on every engine; values above 2^22 stay
 * monotone through the addition, so that the narrowing saturates them.
 */
// @ts-ignore: decorator
@inline
export function codes4<Z>(x: v128, divisor: v128, offset: v128, levels: v128, base: v128, floor: v128, bias: v128): v128 {
  if (isFloat<Z>()) x = f32x4.sub(x, offset);
  x = f32x4.div(x, divisor);
  if (isFloat<Z>()) x = f32x4.add(f32x4.mul(x, levels), base);
  return i32x4.sub(f32x4.add(f32x4.pmax(floor, x), f32x4.splat(MAGIC)), bias);
}

/**
 * Stores 16 codes: i32 lanes narrow to i16, then to 8 bits, saturating.
 *
 *   a0 a1 a2 a3 | b0 .. b3 | c0 .. c3 | d0 .. d3     i32
 *   a0 .. a3 b0 .. b3      | c0 .. c3 d0 .. d3       i16
 *   a0 .. a3 b0 .. b3 c0 .. c3 d0 .. d3              i8 / u8, then clamped to `highest` (4-bit codes)
 */
// @ts-ignore: decorator
@inline
export function store16<C>(dst: usize, a: v128, b: v128, c: v128, d: v128, highest: v128): void {
  if (sizeof<C>() == 1) {
    const low = i16x8.narrow_i32x4_s(a, b);
    const high = i16x8.narrow_i32x4_s(c, d);
    v128.store(
      dst,
      isSigned<C>()
        ? i8x16.min_s(i8x16.narrow_i16x8_s(low, high), highest)
        : i8x16.min_u(i8x16.narrow_i16x8_u(low, high), highest),
    );
  } else {
    v128.store(dst, isSigned<C>() ? i16x8.narrow_i32x4_s(a, b) : i16x8.narrow_i32x4_u(a, b));
    v128.store(dst, isSigned<C>() ? i16x8.narrow_i32x4_s(c, d) : i16x8.narrow_i32x4_u(c, d), 16);
  }
}

/** Narrows four codes to the low 4 bytes (8-bit types) or 8 bytes (16-bit types). */
// @ts-ignore: decorator
@inline
function narrow4<C>(codes: v128, highest: v128): v128 {
  if (sizeof<C>() == 2) return isSigned<C>() ? i16x8.narrow_i32x4_s(codes, codes) : i16x8.narrow_i32x4_u(codes, codes);
  const half = i16x8.narrow_i32x4_s(codes, codes);
  return isSigned<C>()
    ? i8x16.min_s(i8x16.narrow_i16x8_s(half, half), highest)
    : i8x16.min_u(i8x16.narrow_i16x8_u(half, half), highest);
}

// @ts-ignore: decorator
@inline
export function store4<C>(dst: usize, codes: v128, highest: v128): void {
  if (sizeof<C>() == 1) v128.store32_lane(dst, narrow4<C>(codes, highest), 0);
  else v128.store64_lane(dst, narrow4<C>(codes, highest), 0);
}

// @ts-ignore: decorator
@inline
export function store1<C>(dst: usize, codes: v128, highest: v128): void {
  if (sizeof<C>() == 1) v128.store8_lane(dst, narrow4<C>(codes, highest), 0);
  else v128.store16_lane(dst, narrow4<C>(codes, highest), 0);
}

/** Four codes of type `C` from `src`, widened to i32 lanes. */
// @ts-ignore: decorator
@inline
export function load4<C>(src: usize): v128 {
  if (sizeof<C>() == 4) return v128.load(src);
  if (sizeof<C>() == 2) return isSigned<C>() ? v128.load16x4_s(src) : v128.load16x4_u(src);
  const bytes = v128.load32_zero(src);
  const half = isSigned<C>() ? i16x8.extend_low_i8x16_s(bytes) : i16x8.extend_low_i8x16_u(bytes);
  return isSigned<C>() ? i32x4.extend_low_i16x8_s(half) : i32x4.extend_low_i16x8_u(half);
}

/** One code in lane 0, the others 0. */
// @ts-ignore: decorator
@inline
export function load1<C>(src: usize): v128 {
  return i32x4.replace_lane(i32x4.splat(0), 0, <i32>load<C>(src));
}
