import { unitOf } from "./block-error";
import { extremeScale, rangeScale, rangeZero, reciprocalOf, stored } from "./block-parameters";
import { add5, gatherLanes, highs, largestOfEach, pmax5, pmin5, scatterLanes, smallestOfEach } from "./lanes";
import { bitsOf, highest } from "./nbits-codes";
import { packZeroPoints } from "./nbits-zero-points";

// Scale and zero point of a block in each of up to four rows, a lane each: found, or taken as given.

/** What there is of a block's parameters before it is quantized. */
export const SYMMETRIC: i32 = 1, GIVEN: i32 = 2;

/**
 * Bytes of the parameters of four rows, a lane each: scales, reciprocals, zero points; where sums are asked for units (16), and
 * what brings squares in them back (32, float64), else what all values add up to (16). Two sets of them stand before all else
 * in the scratch.
 */
export const PARAMETERS: usize = 96, FOUND: usize = 192;

/** Four places `step` bytes apart, of which `count` are there: the last one stands for the others. */
// @ts-ignore: decorator
@inline
function gatherRows(p: usize, step: usize, count: usize): v128 {
  const p1 = count > 1 ? p + step : p, p2 = count > 2 ? p1 + step : p1, p3 = count > 3 ? p2 + step : p2;
  return gatherLanes(p, p1, p2, p3);
}

// @ts-ignore: decorator
@inline
function added<Sums>(sum: v128, x: v128, y: v128, z: v128, w: v128): v128 {
  return isBoolean<Sums>() ? add5(sum, x, y, z, w) : sum;
}

/**
 * Parameters of block `b` of up to four rows, `step` bytes apart, of which `count` are there, to `to`. `Sums` is bool where
 * no error sums are asked for: values are added up instead, so that NaN and infinities show.
 */
// @ts-ignore: decorator
@inline
export function find<B, Sums>(
  src: usize, step: usize, count: usize, size: usize, b: usize, scales: usize, zeroPoints: usize, blocks: usize,
  kind: i32, rounding: i32, to: usize,
): void {
  const row = blocks << 2;
  const middle = f32x4.splat(<f32>(1 << (bitsOf<B>() - 1)));
  let scale: v128, zero: v128 = middle;
  scales += b << 2;
  if (kind == GIVEN) {
    scale = gatherRows(scales, row, count);
    zero = gatherRows(zeroPoints + (b << 2), row, count);
  } else {
    const r1: usize = count > 1 ? step : 0, r2: usize = count > 2 ? step << 1 : r1, r3: usize = count > 3 ? 3 * step : r2;
    let l0 = v128.load(src), l1 = v128.load(src + r1), l2 = v128.load(src + r2), l3 = v128.load(src + r3);
    let h0 = l0, h1 = l1, h2 = l2, h3 = l3;
    let sum = f32x4.splat(0);
    // A row at a time: addresses are immediate then.
    const bytes = size << 2;
    for (let p = src, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l0 = pmin5(l0, x, y, z, w), h0 = pmax5(h0, x, y, z, w), sum = added<Sums>(sum, x, y, z, w);
    }
    for (let p = src + r1, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l1 = pmin5(l1, x, y, z, w), h1 = pmax5(h1, x, y, z, w), sum = added<Sums>(sum, x, y, z, w);
    }
    for (let p = src + r2, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l2 = pmin5(l2, x, y, z, w), h2 = pmax5(h2, x, y, z, w), sum = added<Sums>(sum, x, y, z, w);
    }
    for (let p = src + r3, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l3 = pmin5(l3, x, y, z, w), h3 = pmax5(h3, x, y, z, w), sum = added<Sums>(sum, x, y, z, w);
    }
    if (isBoolean<Sums>()) v128.store(to, f32x4.add(v128.load(to, 48), sum), 48);
    const low = smallestOfEach(l0, l1, l2, l3), high = largestOfEach(h0, h1, h2, h3);
    if (kind == SYMMETRIC) {
      scale = extremeScale(low, high, gatherLanes(src, src + r1, src + r2, src + r3), middle);
    } else {
      const levels = f32x4.splat(highest<B>());
      scale = rangeScale(low, high, levels);
      zero = rangeZero(low, scale, levels);
      packZeroPoints<B>(zero, zeroPoints, b, blocks, count);
    }
    scale = stored(scale, rounding);
    scatterLanes(scales, scale, row, count);
  }
  keep<Sums>(to, scale, zero);
}

// @ts-ignore: decorator
@inline
function keep<Sums>(to: usize, scale: v128, zero: v128): void {
  const reciprocal = reciprocalOf(scale);
  v128.store(to, scale);
  v128.store(to, reciprocal, 16);
  v128.store(to, zero, 32);
  if (isBoolean<Sums>()) return;
  const unit = unitOf(scale, reciprocal), one = f64x2.splat(1);
  const a = f64x2.promote_low_f32x4(unit), b = f64x2.promote_low_f32x4(highs(unit, unit));
  v128.store(to, unit, 48);
  v128.store(to, f64x2.div(one, f64x2.mul(a, a)), 64);
  v128.store(to, f64x2.div(one, f64x2.mul(b, b)), 80);
}

/** Whether a value may be NaN or infinite: their sums are then, and those of large values, too. */
export function mayHoldNonFinite(scratch: usize): i32 {
  const sum = f32x4.add(v128.load(scratch, 48), v128.load(scratch + PARAMETERS, 48));
  return i32(!i32x4.all_true(f32x4.lt(f32x4.abs(sum), f32x4.splat(Infinity))));
}
