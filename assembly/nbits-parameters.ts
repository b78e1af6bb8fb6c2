import { unitOf } from "./block-error";
import { extremeScale, rangeScale, rangeZero, reciprocalOf, stored } from "./block-parameters";
import { evens, gatherLanes, highs, lows, odds } from "./lanes";
import { bitsOf, highest } from "./nbits-codes";
import { packZeroPoint } from "./nbits-zero-points";
import { WHOLE_BITS, integers } from "./rounding";

/** What there is of a block's parameters before it is quantized. */
export const SYMMETRIC: i32 = 1, GIVEN: i32 = 2;

/**
 * Bytes of the parameters of four rows, a lane each: scales, reciprocals, zero points; where sums are asked for units (16), and
 * what brings squares in them back (32, float64), else what all values add up to (16). Two sets of them stand before all else
 * in the scratch.
 */
export const PARAMETERS: usize = 96, FOUND: usize = 192;

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
  const bits = bitsOf<B>();
  const r1: usize = count > 1 ? step : 0, r2: usize = count > 2 ? step << 1 : r1, r3: usize = count > 3 ? 3 * step : r2;
  const row = blocks << 2;
  const middle = f32x4.splat(<f32>(1 << (bits - 1)));
  let scale: v128, zero: v128 = middle;
  scales += b << 2;
  if (kind == GIVEN) {
    const s1: usize = count > 1 ? row : 0, s2: usize = count > 2 ? row << 1 : s1, s3: usize = count > 3 ? 3 * row : s2;
    scale = gatherLanes(scales, scales + s1, scales + s2, scales + s3);
    const z = zeroPoints + (b << 2);
    zero = gatherLanes(z, z + s1, z + s2, z + s3);
  } else {
    let l0 = v128.load(src), l1 = v128.load(src + r1), l2 = v128.load(src + r2), l3 = v128.load(src + r3);
    let h0 = l0, h1 = l1, h2 = l2, h3 = l3;
    let sum = f32x4.splat(0);
    // A row at a time: addresses are immediate then.
    const bytes = size << 2;
    for (let p = src, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l0 = f32x4.pmin(f32x4.pmin(l0, f32x4.pmin(x, y)), f32x4.pmin(z, w));
      h0 = f32x4.pmax(f32x4.pmax(h0, f32x4.pmax(x, y)), f32x4.pmax(z, w));
      if (isBoolean<Sums>()) sum = f32x4.add(sum, f32x4.add(f32x4.add(x, y), f32x4.add(z, w)));
    }
    for (let p = src + r1, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l1 = f32x4.pmin(f32x4.pmin(l1, f32x4.pmin(x, y)), f32x4.pmin(z, w));
      h1 = f32x4.pmax(f32x4.pmax(h1, f32x4.pmax(x, y)), f32x4.pmax(z, w));
      if (isBoolean<Sums>()) sum = f32x4.add(sum, f32x4.add(f32x4.add(x, y), f32x4.add(z, w)));
    }
    for (let p = src + r2, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l2 = f32x4.pmin(f32x4.pmin(l2, f32x4.pmin(x, y)), f32x4.pmin(z, w));
      h2 = f32x4.pmax(f32x4.pmax(h2, f32x4.pmax(x, y)), f32x4.pmax(z, w));
      if (isBoolean<Sums>()) sum = f32x4.add(sum, f32x4.add(f32x4.add(x, y), f32x4.add(z, w)));
    }
    for (let p = src + r3, end = p + bytes; p < end; p += 64) {
      const x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
      l3 = f32x4.pmin(f32x4.pmin(l3, f32x4.pmin(x, y)), f32x4.pmin(z, w));
      h3 = f32x4.pmax(f32x4.pmax(h3, f32x4.pmax(x, y)), f32x4.pmax(z, w));
      if (isBoolean<Sums>()) sum = f32x4.add(sum, f32x4.add(f32x4.add(x, y), f32x4.add(z, w)));
    }
    if (isBoolean<Sums>()) v128.store(to, f32x4.add(v128.load(to, 48), sum), 48);
    // Rows to lanes.
    const la = evens(l0, l1), lb = odds(l0, l1), lc = evens(l2, l3), ld = odds(l2, l3);
    const ha = evens(h0, h1), hb = odds(h0, h1), hc = evens(h2, h3), hd = odds(h2, h3);
    const low = f32x4.pmin(f32x4.pmin(lows(la, lc), highs(la, lc)), f32x4.pmin(lows(lb, ld), highs(lb, ld)));
    const high = f32x4.pmax(f32x4.pmax(lows(ha, hc), highs(ha, hc)), f32x4.pmax(lows(hb, hd), highs(hb, hd)));
    if (kind == SYMMETRIC) {
      scale = extremeScale(low, high, gatherLanes(src, src + r1, src + r2, src + r3), middle);
    } else {
      const levels = f32x4.splat(highest<B>());
      scale = rangeScale(low, high, levels);
      zero = rangeZero(low, scale, levels);
      const whole = integers(zero, i32x4.splat(WHOLE_BITS));
      const packed: usize = (blocks * bits + 7) >> 3;
      const at = zeroPoints + ((b * bits) >> 3), shift = <i32>((b * bits) & 7);
      packZeroPoint<B>(at, i32x4.extract_lane(whole, 0), shift);
      if (count > 1) packZeroPoint<B>(at + packed, i32x4.extract_lane(whole, 1), shift);
      if (count > 2) packZeroPoint<B>(at + 2 * packed, i32x4.extract_lane(whole, 2), shift);
      if (count > 3) packZeroPoint<B>(at + 3 * packed, i32x4.extract_lane(whole, 3), shift);
    }
    scale = stored(scale, rounding);
    v128.store32_lane(scales, scale, 0);
    if (count > 1) v128.store32_lane(scales + row, scale, 1);
    if (count > 2) v128.store32_lane(scales + 2 * row, scale, 2);
    if (count > 3) v128.store32_lane(scales + 3 * row, scale, 3);
  }
  const reciprocal = reciprocalOf(scale);
  v128.store(to, scale);
  v128.store(to, reciprocal, 16);
  if (!isBoolean<Sums>()) {
    const unit = unitOf(scale, reciprocal), one = f64x2.splat(1);
    const a = f64x2.promote_low_f32x4(unit), b = f64x2.promote_low_f32x4(highs(unit, unit));
    v128.store(to, unit, 48);
    v128.store(to, f64x2.div(one, f64x2.mul(a, a)), 64);
    v128.store(to, f64x2.div(one, f64x2.mul(b, b)), 80);
  }
  v128.store(to, zero, 32);
}

/** Whether a value may be NaN or infinite: their sums are then, and those of large values, too. */
export function mayHoldNonFinite(scratch: usize): i32 {
  const sum = f32x4.add(v128.load(scratch, 48), v128.load(scratch + PARAMETERS, 48));
  return i32(!i32x4.all_true(f32x4.lt(f32x4.abs(sum), f32x4.splat(Infinity))));
}
