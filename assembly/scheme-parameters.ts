import { highs, lows, scatterLanes } from "./lanes";
import { integersHalfToEven } from "./rounding";

// How a range becomes float32 scale and int32 zero point, as src/engine/tensors/schemes.ts does it, to the bit, by number:
//   0, asymmetric      the range holds 0; float32 span, float64 scale, zero point of the scale before it is float32
//   1, symmetric       the same over -m to m, m the largest magnitude; the zero point in the middle of qmin and qmax
//   2, signed extreme  the value of largest magnitude, of two the negative one, meets qmin, a power of two; zero point 0
// A scale below the smallest normal float32 is 1, with zero point 0.

const ASYMMETRIC: i32 = 0, SYMMETRIC: i32 = 1;
const SMALLEST_NORMAL: f64 = 1.1754943508222875e-38;

/** Scale before it is float32, two lanes: span over steps. */
// @ts-ignore: decorator
@inline
function exactScale(low: v128, high: v128, span: v128, steps: v128): v128 {
  const wide = f64x2.promote_low_f32x4(span);
  const exact = f64x2.sub(f64x2.promote_low_f32x4(high), f64x2.promote_low_f32x4(low));
  return f64x2.div(v128.bitselect(exact, wide, f64x2.eq(wide, f64x2.splat(Infinity))), steps);
}

/** Zero points in the low halves of two lanes: those of `exact`, 0 where it is too small. */
// @ts-ignore: decorator
@inline
function zeroPoint2(low: v128, exact: v128, qmin: v128, tiny: v128): v128 {
  const zero = f64x2.sub(qmin, f64x2.div(f64x2.promote_low_f32x4(low), exact));
  return v128.andnot(integersHalfToEven(zero), tiny);
}

/** Parameters of four runs from their extremes; to scales and zero points that lie `step` bytes apart. */
// @ts-ignore: decorator
@inline
export function parameters(
  low: v128, high: v128, rule: i32, qmin: i32, qmax: i32, scales: usize, zeroPoints: usize, step: usize,
): void {
  let scale: v128, zero: v128;
  if (rule <= SYMMETRIC) {
    if (rule == ASYMMETRIC) {
      low = f32x4.pmin(f32x4.splat(0), low), high = f32x4.pmax(f32x4.splat(0), high);
    } else {
      high = f32x4.pmax(high, f32x4.neg(low)), low = f32x4.neg(high);
    }
    const span = f32x4.sub(high, low);
    const steps = f64x2.splat(<f64>(qmax - qmin)), least = f64x2.splat(SMALLEST_NORMAL), one = f64x2.splat(1);
    const a = exactScale(low, high, span, steps);
    const lowB = highs(low, low);
    const b = exactScale(lowB, highs(high, high), highs(span, span), steps);
    const tinyA = f64x2.lt(a, least), tinyB = f64x2.lt(b, least);
    scale = lows(
      f32x4.demote_f64x2_zero(v128.bitselect(one, a, tinyA)), f32x4.demote_f64x2_zero(v128.bitselect(one, b, tinyB)),
    );
    if (rule == ASYMMETRIC) {
      const base = f64x2.splat(<f64>qmin);
      zero = v128.shuffle<i32>(zeroPoint2(low, a, base, tinyA), zeroPoint2(lowB, b, base, tinyB), 0, 2, 4, 6);
    } else {
      const middle = i32x4.splat(<i32>nearest<f64>(<f64>(qmin + qmax) / 2));
      zero = v128.andnot(middle, v128.shuffle<i32>(tinyA, tinyB, 0, 2, 4, 6));
    }
  } else {
    const extreme = v128.bitselect(low, high, f32x4.ge(f32x4.neg(low), high));
    const tiny = f32x4.lt(f32x4.abs(extreme), f32x4.splat(<f32>(SMALLEST_NORMAL * <f64>-qmin)));
    scale = v128.bitselect(f32x4.splat(1), f32x4.div(extreme, f32x4.splat(<f32>qmin)), tiny);
    zero = i32x4.splat(0);
  }
  scatterLanes(scales, scale, step, 4);
  scatterLanes(zeroPoints, zero, step, 4);
}
