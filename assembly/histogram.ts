// Counts of values in bins of equal width, a table of uint32 for each parameter: value x is counted in bin
// floor(x * scale) + bins / 2, or in the first or last where that is beyond them. The scale is a power of two, so the product
// is exact unless it underflows. NaN counts as zero.

import { loadLanes } from "./lanes";

// @ts-ignore: decorator
@inline
function binOf(x: v128, scale: v128, half: v128, highest: v128): v128 {
  const zero = i32x4.splat(0);
  const bin = i32x4.trunc_sat_f32x4_s(f32x4.floor(f32x4.mul(x, scale)));
  // A product that underflows loses its sign: below 0 there is bin -1 (as a mask), not 0.
  const below = i32x4.add(bin, v128.and(f32x4.lt(x, zero), i32x4.eq(bin, zero)));
  return i32x4.add(i32x4.max_s(i32x4.min_s(below, highest), i32x4.neg(half)), half);
}

// @ts-ignore: decorator
@inline
function count(table: usize, bin: i32): void {
  const at = table + (<usize>bin << 2);
  store<u32>(at, load<u32>(at) + 1);
}

// @ts-ignore: decorator
@inline
function countAll(table: usize, bins: v128): void {
  count(table, i32x4.extract_lane(bins, 0)), count(table, i32x4.extract_lane(bins, 1));
  count(table, i32x4.extract_lane(bins, 2)), count(table, i32x4.extract_lane(bins, 3));
}

// @ts-ignore: decorator
@inline
function run(src: usize, n: usize, table: usize, scale: v128, half: v128, highest: v128): void {
  for (; n >= 8; n -= 8, src += 32) {
    const a = binOf(v128.load(src), scale, half, highest);
    const b = binOf(v128.load(src, 16), scale, half, highest);
    countAll(table, a);
    countAll(table, b);
  }
  for (; n > 0; n--, src += 4) count(table, i32x4.extract_lane(binOf(v128.load32_splat(src), scale, half, highest), 0));
}

export function histogramF32(
  src: usize, tables: usize, scales: usize, bins: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  const half = i32x4.splat(<i32>(bins >> 1)), highest = i32x4.splat(<i32>(bins >> 1) - 1);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = o * step; g <= groups; g++, p++) {
      const n = g == groups ? last : inner;
      run(src, n, tables + ((p * bins) << 2), v128.load32_splat(scales + (p << 2)), half, highest);
      src += n << 2;
    }
  }
}

/** A row of columns, each with a table and a scale of its own. */
// @ts-ignore: decorator
@inline
function row(src: usize, tables: usize, scales: usize, columns: usize, bins: usize, half: v128, highest: v128): void {
  const table = bins << 2;
  let c: usize = 0;
  for (; c + 4 <= columns; c += 4, tables += table << 2) {
    const at = c << 2;
    const bin = binOf(v128.load(src + at), v128.load(scales + at), half, highest);
    count(tables, i32x4.extract_lane(bin, 0)), count(tables + table, i32x4.extract_lane(bin, 1));
    count(tables + 2 * table, i32x4.extract_lane(bin, 2)), count(tables + 3 * table, i32x4.extract_lane(bin, 3));
  }
  for (; c < columns; c++, tables += table) {
    const at = c << 2;
    count(tables, i32x4.extract_lane(binOf(loadLanes<f32>(src + at), loadLanes<f32>(scales + at), half, highest), 0));
  }
}

export function histogramF32Columns(
  src: usize, tables: usize, scales: usize, bins: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const half = i32x4.splat(<i32>(bins >> 1)), highest = i32x4.splat(<i32>(bins >> 1) - 1);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = o * step; g <= groups; g++, p += columns) {
      for (let left = g == groups ? last : inner; left > 0; left--, src += columns << 2) {
        row(src, tables + ((p * bins) << 2), scales + (p << 2), columns, bins, half, highest);
      }
    }
  }
}
