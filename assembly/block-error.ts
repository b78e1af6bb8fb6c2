import { byTwo } from "./lanes";

// What quantization costs within a block: sums of squares in float32 lanes, added up in float64.

/**
 * What sums over blocks are counted in: 1 where no square that matters is then too small or large for float32, else one over
 * the scale; where there is no such number, one that suits what such a block may hold: next to nothing, or next to infinity.
 */
// @ts-ignore: decorator
@inline
export function unitOf(scale: v128, reciprocal: v128): v128 {
  const size = f32x4.abs(scale);
  const infinite = f32x4.eq(size, f32x4.splat(Infinity));
  const other = v128.bitselect(i32x4.splat(0x0d800000), i32x4.splat(0x7b800000), infinite); // 2^-100, 2^120
  const unit = v128.bitselect(other, reciprocal, f32x4.eq(reciprocal, f32x4.splat(0)));
  const usual = v128.and(f32x4.ge(size, i32x4.splat(0x2b800000)), f32x4.le(size, i32x4.splat(0x53800000))); // 2^-40, 2^40
  return v128.bitselect(f32x4.splat(1), unit, usual);
}

/** The sum so far and a square, all in float32. */
// @ts-ignore: decorator
@inline
export function square(sum: v128, x: v128): v128 {
  return f32x4.add(sum, f32x4.mul(x, x));
}

/** Which of the lanes from place `from` on are below `valid`. */
// @ts-ignore: decorator
@inline
export function within(from: i32, valid: v128): v128 {
  return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(from)), valid);
}

/** Four lanes to two in float64: 0 + 2, 1 + 3. */
// @ts-ignore: decorator
@inline
function pairs(x: v128): v128 {
  return f64x2.promote_low_f32x4(f32x4.add(x, byTwo(x)));
}

// @ts-ignore: decorator
@inline
function addTo(sums: usize, value: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), value));
}

/** Adds a block's squared errors and squares before and after, counted in 1, to a row's sums. */
// @ts-ignore: decorator
@inline
export function addSums(sums: usize, squared: v128, aa: v128, bb: v128): void {
  addTo(sums, pairs(squared));
  addTo(sums + 16, pairs(aa));
  addTo(sums + 32, pairs(bb));
}

/** The same counted in another unit; `back` is one over its square. */
// @ts-ignore: decorator
@inline
export function addSumsOfUnit(sums: usize, squared: v128, aa: v128, bb: v128, back: v128): void {
  addTo(sums, f64x2.mul(pairs(squared), back));
  addTo(sums + 16, f64x2.mul(pairs(aa), back));
  addTo(sums + 32, f64x2.mul(pairs(bb), back));
}
