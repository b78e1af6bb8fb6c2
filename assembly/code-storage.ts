// Codes in i32 lanes, to and from the type `C` that they are stored in: i8, u8, i16, u16, or i32.

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
