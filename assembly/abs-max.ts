import { ROWS, STREAMS_FROM } from "./groups";
import { byOne, byTwo, loadLanes, storeLanes } from "./lanes";

// The largest magnitude over [outer][groups][inner], folded into what `maxs` holds already: the caller starts with 0. What
// they return is not 0 if a NaN or an infinity was met. In bits: without their sign floats order as integers do, and NaN
// stands above Infinity.

const INFINITY_BITS: i32 = 0x7f800000;

/** The larger of `a` and the magnitude of x. */
// @ts-ignore: decorator
@inline
function larger(a: v128, x: v128): v128 {
  return i32x4.max_s(a, v128.and(x, i32x4.splat(0x7fffffff)));
}

// @ts-ignore: decorator
@inline
function run(src: usize, n: usize, maxs: usize): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  if (n >= STREAMS_FROM) {
    const quarter = (n >> 2) & ~15;
    const from = quarter << 2;
    const end = src + from;
    for (; src < end; src += 32) {
      a = larger(larger(a, v128.load(src)), v128.load(src, 16));
      b = larger(larger(b, v128.load(src + from)), v128.load(src + from, 16));
      c = larger(larger(c, v128.load(src + 2 * from)), v128.load(src + 2 * from, 16));
      d = larger(larger(d, v128.load(src + 3 * from)), v128.load(src + 3 * from, 16));
    }
    src += 3 * from;
    n -= quarter << 2;
  }
  for (; n >= 16; n -= 16, src += 64) {
    a = larger(a, v128.load(src)), b = larger(b, v128.load(src, 16));
    c = larger(c, v128.load(src, 32)), d = larger(d, v128.load(src, 48));
  }
  for (; n >= 4; n -= 4, src += 16) a = larger(a, v128.load(src));
  for (; n > 0; n--, src += 4) a = larger(a, v128.load32_splat(src));
  a = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  a = i32x4.max_s(a, byTwo(a));
  a = i32x4.max_s(a, byOne(a));
  const bits = i32x4.extract_lane(a, 0);
  if (bits > load<i32>(maxs)) store<i32>(maxs, bits);
  return i32(bits >= INFINITY_BITS);
}

export function absMaxF32(
  src: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): i32 {
  let bad = 0;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      const n = g == groups ? last : inner;
      bad |= run(src, n, maxs + p);
      src += n << 2;
    }
  }
  return bad;
}

/** Four columns of a strip where W is v128, one where it is f32; rows are `from` bytes apart. */
// @ts-ignore: decorator
@inline
function column<W>(src: usize, maxs: usize, rows: usize, from: usize): v128 {
  let a = loadLanes<W>(maxs);
  for (; rows > 0; rows--, src += from) a = larger(a, loadLanes<W>(src));
  storeLanes<W>(maxs, a);
  return a;
}

// @ts-ignore: decorator
@inline
function strip(src: usize, maxs: usize, rows: usize, columns: usize): v128 {
  const from = columns << 2;
  let top = i32x4.splat(0);
  let p: usize = 0;
  for (; p + 64 <= from; p += 64) {
    let a = v128.load(maxs + p), b = v128.load(maxs + p, 16), c = v128.load(maxs + p, 32), d = v128.load(maxs + p, 48);
    let s = src + p;
    for (let r = rows; r > 0; r--, s += from) {
      a = larger(a, v128.load(s)), b = larger(b, v128.load(s, 16));
      c = larger(c, v128.load(s, 32)), d = larger(d, v128.load(s, 48));
    }
    v128.store(maxs + p, a), v128.store(maxs + p, b, 16), v128.store(maxs + p, c, 32), v128.store(maxs + p, d, 48);
    top = i32x4.max_s(top, i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d)));
  }
  for (; p + 16 <= from; p += 16) top = i32x4.max_s(top, column<v128>(src + p, maxs + p, rows, from));
  for (; p < from; p += 4) top = i32x4.max_s(top, column<f32>(src + p, maxs + p, rows, from));
  return top;
}

export function absMaxF32Columns(
  src: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): i32 {
  let top = i32x4.splat(0);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += columns << 2) {
      for (let left = g == groups ? last : inner; left > 0; left -= min(left, ROWS)) {
        top = i32x4.max_s(top, strip(src, maxs + p, min(left, ROWS), columns));
        src += (min(left, ROWS) * columns) << 2;
      }
    }
  }
  return i32(v128.any_true(i32x4.ge_s(top, i32x4.splat(INFINITY_BITS))));
}
