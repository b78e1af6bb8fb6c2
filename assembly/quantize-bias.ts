import { loadLanes, storeLanes } from "./lanes";

// Biases: float32 to int32 with the scale of the layer's accumulator (input scale * weight scale), zero point 0:
//   q = saturate(roundHalfToEven(float64(x) / float64(scale)))
// In float64, since a float32 quotient has too few bits for an int32. NaN becomes the lowest code, as everywhere.

const LOWEST: f64 = -2147483648.0;

// @ts-ignore: decorator
@inline
function codes4(x: v128, scale: v128): v128 {
  const lowest = f64x2.splat(LOWEST);
  const low = f64x2.div(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(scale));
  const high = f64x2.div(f64x2.promote_low_f32x4(upper(x)), f64x2.promote_low_f32x4(upper(scale)));
  const a = i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(f64x2.pmax(lowest, low)));
  const b = i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(f64x2.pmax(lowest, high)));
  return v128.shuffle<i64>(a, b, 0, 2); // a0 a1 0 0, b0 b1 0 0 -> a0 a1 b0 b1
}

// @ts-ignore: decorator
@inline
function upper(x: v128): v128 {
  return v128.shuffle<i64>(x, x, 1, 1);
}

export function quantizeF32I32(
  src: usize, dst: usize, scales: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      const scale = v128.load32_splat(scales + p);
      let n = g == groups ? last : inner;
      for (; n >= 4; n -= 4, src += 16, dst += 16) v128.store(dst, codes4(v128.load(src), scale));
      for (; n > 0; n--, src += 4, dst += 4) v128.store32_lane(dst, codes4(v128.load32_splat(src), scale), 0);
    }
  }
}

/** Four columns of a row, or one. */
// @ts-ignore: decorator
@inline
function column<W>(src: usize, dst: usize, scales: usize): void {
  storeLanes<W>(dst, codes4(loadLanes<W>(src), loadLanes<W>(scales)));
}

// @ts-ignore: decorator
@inline
function row(src: usize, dst: usize, scales: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 16 <= bytes; c += 16) column<v128>(src + c, dst + c, scales + c);
  for (; c < bytes; c += 4) column<f32>(src + c, dst + c, scales + c);
}

export function quantizeF32I32Columns(
  src: usize, dst: usize, scales: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const bytes = columns << 2;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += bytes) {
      for (let r = g == groups ? last : inner; r > 0; r--, src += bytes, dst += bytes) row(src, dst, scales + p, bytes);
    }
  }
}
