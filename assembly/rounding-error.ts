// The squared error that codes of a given scale would have, without writing them: what a search over ranges compares.
//
//   place = (x - min) * (1 / scale)
//   error = place - clamp(roundHalfToEven(place), lowest - zeroPoint, highest - zeroPoint)
//
// In multiples of the scale, so that squares neither overflow nor vanish, however large or small the values are. By the
// reciprocal, so ties may round to the other neighbour, whose error is the same. What is not finite has no error: it is left
// out of the range, too. Squares are added in float32 over
// short stretches, which are added in float64. Along a run a stretch is 512 elements: element i goes to lane i mod 4 of one of
// two accumulators in turn, which are added, lanes fold as (0 + 2) + (1 + 3); what is left of a multiple of 8 goes to lane 0
// of the first. Along a column it is 16 rows, which go to two accumulators in turn.

import { byOne, byTwo, loadLanes } from "./lanes";

const STRETCH: usize = 512;
const ROWS: usize = 16;

// @ts-ignore: decorator
@inline
function squared(x: v128, min: v128, inverse: v128, low: v128, high: v128): v128 {
  const place = f32x4.mul(f32x4.sub(x, min), inverse);
  const code = f32x4.pmin(f32x4.pmax(f32x4.nearest(place), low), high);
  const error = f32x4.sub(place, code);
  const square = f32x4.mul(error, error);
  return v128.and(square, f32x4.lt(square, f32x4.splat(Infinity)));
}

// @ts-ignore: decorator
@inline
function sumOfLanes(x: v128): f64 {
  x = f32x4.add(x, byTwo(x));
  return <f64>f32x4.extract_lane(f32x4.add(x, byOne(x)), 0);
}

// @ts-ignore: decorator
@inline
function bound(level: i32, zeroPoints: usize): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(level), v128.load32_splat(zeroPoints)));
}

// @ts-ignore: decorator
@inline
function stretch(src: usize, n: usize, min: v128, inverse: v128, low: v128, high: v128): f64 {
  let a = f32x4.splat(0), b = a;
  for (; n >= 8; n -= 8, src += 32) {
    a = f32x4.add(a, squared(v128.load(src), min, inverse, low, high));
    b = f32x4.add(b, squared(v128.load(src, 16), min, inverse, low, high));
  }
  for (; n > 0; n--, src += 4) {
    const one = squared(v128.load32_splat(src), min, inverse, low, high);
    a = f32x4.add(a, v128.shuffle<i32>(one, f32x4.splat(0), 0, 4, 4, 4));
  }
  return sumOfLanes(f32x4.add(a, b));
}

export function roundingErrorF32(
  src: usize, out: usize, scales: usize, mins: usize, zeroPoints: usize, lowest: i32, highest: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = o * step; g <= groups; g++, p++) {
      const at = p << 2;
      const min = v128.load32_splat(mins + at), inverse = f32x4.div(f32x4.splat(1), v128.load32_splat(scales + at));
      const low = bound(lowest, zeroPoints + at), high = bound(highest, zeroPoints + at);
      let sum = load<f64>(out + (p << 3));
      for (let left = g == groups ? last : inner; left > 0; ) {
        const n = left < STRETCH ? left : STRETCH;
        sum += stretch(src, n, min, inverse, low, high);
        src += n << 2;
        left -= n;
      }
      store<f64>(out + (p << 3), sum);
    }
  }
}

/** `W` columns, four or one, down a few rows. */
// @ts-ignore: decorator
@inline
function columnsDown<W>(
  src: usize, out: usize, scales: usize, mins: usize, zeroPoints: usize, lowest: i32, highest: i32,
  rows: usize, stride: usize,
): void {
  const min = loadLanes<W>(mins), zero = loadLanes<W>(zeroPoints);
  const inverse = f32x4.div(f32x4.splat(1), loadLanes<W>(scales));
  const low = f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(lowest), zero));
  const high = f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(highest), zero));
  let a = f32x4.splat(0), b = a;
  for (; rows >= 2; rows -= 2, src += 2 * stride) {
    a = f32x4.add(a, squared(loadLanes<W>(src), min, inverse, low, high));
    b = f32x4.add(b, squared(loadLanes<W>(src + stride), min, inverse, low, high));
  }
  if (rows > 0) a = f32x4.add(a, squared(loadLanes<W>(src), min, inverse, low, high));
  const sum = f32x4.add(a, b);
  if (isVector<W>()) {
    v128.store(out, f64x2.add(v128.load(out), f64x2.promote_low_f32x4(sum)));
    v128.store(out, f64x2.add(v128.load(out, 16), f64x2.promote_low_f32x4(byTwo(sum))), 16);
  } else {
    store<f64>(out, load<f64>(out) + <f64>f32x4.extract_lane(sum, 0));
  }
}

export function roundingErrorF32Columns(
  src: usize, out: usize, scales: usize, mins: usize, zeroPoints: usize, lowest: i32, highest: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const stride = columns << 2;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = o * step; g <= groups; g++, p += columns) {
      for (let left = g == groups ? last : inner; left > 0; ) {
        const rows = left < ROWS ? left : ROWS;
        let c: usize = 0;
        for (; c + 4 <= columns; c += 4) {
          const at = (p + c) << 2;
          columnsDown<v128>(
            src + (c << 2), out + (at << 1), scales + at, mins + at, zeroPoints + at, lowest, highest, rows, stride,
          );
        }
        for (; c < columns; c++) {
          const at = (p + c) << 2;
          columnsDown<f32>(
            src + (c << 2), out + (at << 1), scales + at, mins + at, zeroPoints + at, lowest, highest, rows, stride,
          );
        }
        src += rows * stride;
        left -= rows;
      }
    }
  }
}
