import { ROWS, STREAMS_FROM } from "./groups";
import { largestLane, loadLanes, smallestLane, storeLanes } from "./lanes";

// Extremes over [outer][groups][inner], folded into what `mins` and `maxs` hold already: the caller starts with
// +Infinity and -Infinity and may come again with the next piece. What rangeF32 returns is not 0 if a NaN or an infinity was
// met. pmin(acc, x), in this order, skips NaN.

/** Lanes that are NaN in either: x + y is NaN then, or for +Infinity and -Infinity, which count as well. */
// @ts-ignore: decorator
@inline
function unordered(x: v128, y: v128): v128 {
  const sum = f32x4.add(x, y);
  return f32x4.ne(sum, sum);
}

// @ts-ignore: decorator
@inline
function storeExtremes(lowest: v128, highest: v128, mins: usize, maxs: usize): i32 {
  const low = f32x4.extract_lane(smallestLane(lowest), 0);
  const high = f32x4.extract_lane(largestLane(highest), 0);
  if (low < load<f32>(mins)) store<f32>(mins, low);
  if (high > load<f32>(maxs)) store<f32>(maxs, high);
  return i32(low == -Infinity) | i32(high == Infinity);
}

// @ts-ignore: decorator
@inline
function run(src: usize, n: usize, mins: usize, maxs: usize): i32 {
  let la = f32x4.splat(Infinity), lb = la, lc = la, ld = la;
  let ha = f32x4.splat(-Infinity), hb = ha, hc = ha, hd = ha;
  let bad = i32x4.splat(0);
  if (n >= STREAMS_FROM) {
    const quarter = (n >> 2) & ~15;
    const from = quarter << 2;
    const end = src + from;
    for (; src < end; src += 32) {
      let x = v128.load(src), y = v128.load(src, 16);
      bad = v128.or(bad, unordered(x, y));
      la = f32x4.pmin(f32x4.pmin(la, x), y), ha = f32x4.pmax(f32x4.pmax(ha, x), y);
      x = v128.load(src + from), y = v128.load(src + from, 16);
      bad = v128.or(bad, unordered(x, y));
      lb = f32x4.pmin(f32x4.pmin(lb, x), y), hb = f32x4.pmax(f32x4.pmax(hb, x), y);
      x = v128.load(src + 2 * from), y = v128.load(src + 2 * from, 16);
      bad = v128.or(bad, unordered(x, y));
      lc = f32x4.pmin(f32x4.pmin(lc, x), y), hc = f32x4.pmax(f32x4.pmax(hc, x), y);
      x = v128.load(src + 3 * from), y = v128.load(src + 3 * from, 16);
      bad = v128.or(bad, unordered(x, y));
      ld = f32x4.pmin(f32x4.pmin(ld, x), y), hd = f32x4.pmax(f32x4.pmax(hd, x), y);
    }
    src += 3 * from;
    n -= quarter << 2;
  }
  for (; n >= 16; n -= 16, src += 64) {
    const x = v128.load(src), y = v128.load(src, 16), z = v128.load(src, 32), w = v128.load(src, 48);
    bad = v128.or(bad, v128.or(unordered(x, y), unordered(z, w)));
    la = f32x4.pmin(la, x), lb = f32x4.pmin(lb, y), lc = f32x4.pmin(lc, z), ld = f32x4.pmin(ld, w);
    ha = f32x4.pmax(ha, x), hb = f32x4.pmax(hb, y), hc = f32x4.pmax(hc, z), hd = f32x4.pmax(hd, w);
  }
  for (; n >= 4; n -= 4, src += 16) {
    const x = v128.load(src);
    bad = v128.or(bad, f32x4.ne(x, x)), la = f32x4.pmin(la, x), ha = f32x4.pmax(ha, x);
  }
  for (; n > 0; n--, src += 4) {
    const x = v128.load32_splat(src);
    bad = v128.or(bad, f32x4.ne(x, x)), la = f32x4.pmin(la, x), ha = f32x4.pmax(ha, x);
  }
  la = f32x4.pmin(f32x4.pmin(la, lb), f32x4.pmin(lc, ld));
  ha = f32x4.pmax(f32x4.pmax(ha, hb), f32x4.pmax(hc, hd));
  return i32(v128.any_true(bad)) | storeExtremes(la, ha, mins, maxs);
}

export function rangeF32(
  src: usize, mins: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): i32 {
  let bad = 0;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      const n = g == groups ? last : inner;
      bad |= run(src, n, mins + p, maxs + p);
      src += n << 2;
    }
  }
  return bad;
}

// @ts-ignore: decorator
@inline
function infinite(low: v128, high: v128): v128 {
  return v128.or(f32x4.eq(low, f32x4.splat(-Infinity)), f32x4.eq(high, f32x4.splat(Infinity)));
}

/** Four columns of a strip where W is v128, one where it is f32; rows are `from` bytes apart. */
// @ts-ignore: decorator
@inline
function column<W>(src: usize, mins: usize, maxs: usize, rows: usize, from: usize): v128 {
  let low = loadLanes<W>(mins), high = loadLanes<W>(maxs);
  let bad = i32x4.splat(0);
  for (; rows > 0; rows--, src += from) {
    const x = loadLanes<W>(src);
    bad = v128.or(bad, f32x4.ne(x, x)), low = f32x4.pmin(low, x), high = f32x4.pmax(high, x);
  }
  storeLanes<W>(mins, low);
  storeLanes<W>(maxs, high);
  return v128.or(bad, infinite(low, high));
}

// @ts-ignore: decorator
@inline
function strip(src: usize, mins: usize, maxs: usize, rows: usize, columns: usize): v128 {
  const from = columns << 2;
  let bad = i32x4.splat(0);
  let p: usize = 0;
  for (; p + 64 <= from; p += 64) {
    let la = v128.load(mins + p), lb = v128.load(mins + p, 16), lc = v128.load(mins + p, 32), ld = v128.load(mins + p, 48);
    let ha = v128.load(maxs + p), hb = v128.load(maxs + p, 16), hc = v128.load(maxs + p, 32), hd = v128.load(maxs + p, 48);
    let s = src + p;
    for (let r = rows; r > 0; r--, s += from) {
      const x = v128.load(s), y = v128.load(s, 16), z = v128.load(s, 32), w = v128.load(s, 48);
      bad = v128.or(bad, v128.or(unordered(x, y), unordered(z, w)));
      la = f32x4.pmin(la, x), lb = f32x4.pmin(lb, y), lc = f32x4.pmin(lc, z), ld = f32x4.pmin(ld, w);
      ha = f32x4.pmax(ha, x), hb = f32x4.pmax(hb, y), hc = f32x4.pmax(hc, z), hd = f32x4.pmax(hd, w);
    }
    v128.store(mins + p, la), v128.store(mins + p, lb, 16), v128.store(mins + p, lc, 32), v128.store(mins + p, ld, 48);
    v128.store(maxs + p, ha), v128.store(maxs + p, hb, 16), v128.store(maxs + p, hc, 32), v128.store(maxs + p, hd, 48);
    const low = f32x4.pmin(f32x4.pmin(la, lb), f32x4.pmin(lc, ld)), high = f32x4.pmax(f32x4.pmax(ha, hb), f32x4.pmax(hc, hd));
    bad = v128.or(bad, infinite(low, high));
  }
  for (; p + 16 <= from; p += 16) bad = v128.or(bad, column<v128>(src + p, mins + p, maxs + p, rows, from));
  for (; p < from; p += 4) bad = v128.or(bad, column<f32>(src + p, mins + p, maxs + p, rows, from));
  return bad;
}

export function rangeF32Columns(
  src: usize, mins: usize, maxs: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): i32 {
  let bad = i32x4.splat(0);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += columns << 2) {
      for (let left = g == groups ? last : inner; left > 0; left -= min(left, ROWS)) {
        bad = v128.or(bad, strip(src, mins + p, maxs + p, min(left, ROWS), columns));
        src += (min(left, ROWS) * columns) << 2;
      }
    }
  }
  return i32(v128.any_true(bad));
}

// The same of the finite values alone, for callers who asked that NaN and infinities be left out. The second pass over data
// that the scan found wanting, so plain rather than fast.

// @ts-ignore: decorator
@inline
function finite(x: v128): v128 {
  return f32x4.lt(f32x4.abs(x), f32x4.splat(Infinity));
}

// @ts-ignore: decorator
@inline
function lower(low: v128, x: v128): v128 {
  return f32x4.pmin(low, v128.bitselect(x, f32x4.splat(Infinity), finite(x)));
}

// @ts-ignore: decorator
@inline
function higher(high: v128, x: v128): v128 {
  return f32x4.pmax(high, v128.bitselect(x, f32x4.splat(-Infinity), finite(x)));
}

export function rangeFiniteF32(
  src: usize, mins: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      let low = v128.load32_splat(mins + p), high = v128.load32_splat(maxs + p);
      let n = g == groups ? last : inner;
      for (; n >= 4; n -= 4, src += 16) {
        const x = v128.load(src);
        low = lower(low, x), high = higher(high, x);
      }
      for (; n > 0; n--, src += 4) {
        const x = v128.load32_splat(src);
        low = lower(low, x), high = higher(high, x);
      }
      v128.store32_lane(mins + p, smallestLane(low), 0);
      v128.store32_lane(maxs + p, largestLane(high), 0);
    }
  }
}

/** Four columns of a row, or one. */
// @ts-ignore: decorator
@inline
function finiteColumn<W>(src: usize, mins: usize, maxs: usize): void {
  const x = loadLanes<W>(src);
  storeLanes<W>(mins, lower(loadLanes<W>(mins), x));
  storeLanes<W>(maxs, higher(loadLanes<W>(maxs), x));
}

// @ts-ignore: decorator
@inline
function finiteRow(src: usize, mins: usize, maxs: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 16 <= bytes; c += 16) finiteColumn<v128>(src + c, mins + c, maxs + c);
  for (; c < bytes; c += 4) finiteColumn<f32>(src + c, mins + c, maxs + c);
}

export function rangeFiniteF32Columns(
  src: usize, mins: usize, maxs: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const bytes = columns << 2;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += bytes) {
      for (let r = g == groups ? last : inner; r > 0; r--, src += bytes) finiteRow(src, mins + p, maxs + p, bytes);
    }
  }
}

/** Whether a value of `rows` rows of n values, `stride` elements apart, is NaN or infinite. */
export function holdsNonFinite(src: usize, rows: usize, n: usize, stride: usize): i32 {
  for (; rows > 0; rows--, src += stride << 2) {
    for (let p = src, end = src + (n << 2); p < end; p += 4) if (!isFinite(load<f32>(p))) return 1;
  }
  return 0;
}
