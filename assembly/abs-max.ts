import { ROWS, STREAMS_FROM } from "./groups";
import { byOne, byTwo } from "./lanes";

// The largest magnitude over [outer][groups][inner], folded into what `maxs` holds already: the caller starts with 0. What
// they return is not 0 if a NaN or an infinity was met. In bits: without their sign floats order as integers do, and NaN
// stands above Infinity.

const INFINITY_BITS: i32 = 0x7f800000;

// @ts-ignore: decorator
@inline
function magnitude(x: v128): v128 {
  return v128.and(x, i32x4.splat(0x7fffffff));
}

// @ts-ignore: decorator
@inline
function runAbs(src: usize, n: usize, maxs: usize): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  if (n >= STREAMS_FROM) {
    const quarter = (n >> 2) & ~15;
    const from = quarter << 2;
    const end = src + from;
    for (; src < end; src += 32) {
      a = i32x4.max_s(i32x4.max_s(a, magnitude(v128.load(src))), magnitude(v128.load(src, 16)));
      b = i32x4.max_s(i32x4.max_s(b, magnitude(v128.load(src + from))), magnitude(v128.load(src + from, 16)));
      c = i32x4.max_s(i32x4.max_s(c, magnitude(v128.load(src + 2 * from))), magnitude(v128.load(src + 2 * from, 16)));
      d = i32x4.max_s(i32x4.max_s(d, magnitude(v128.load(src + 3 * from))), magnitude(v128.load(src + 3 * from, 16)));
    }
    src += 3 * from;
    n -= quarter << 2;
  }
  for (; n >= 16; n -= 16, src += 64) {
    a = i32x4.max_s(a, magnitude(v128.load(src)));
    b = i32x4.max_s(b, magnitude(v128.load(src, 16)));
    c = i32x4.max_s(c, magnitude(v128.load(src, 32)));
    d = i32x4.max_s(d, magnitude(v128.load(src, 48)));
  }
  for (; n >= 4; n -= 4, src += 16) a = i32x4.max_s(a, magnitude(v128.load(src)));
  for (; n > 0; n--, src += 4) a = i32x4.max_s(a, magnitude(v128.load32_splat(src)));
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
    let p = (o * step) << 2;
    for (let g: usize = 1; g <= groups; g++, p += 4) {
      const n = g == groups ? last : inner;
      bad |= runAbs(src, n, maxs + p);
      src += n << 2;
    }
  }
  return bad;
}

// @ts-ignore: decorator
@inline
function stripAbs(src: usize, maxs: usize, rows: usize, columns: usize): v128 {
  const from = columns << 2;
  let top = i32x4.splat(0);
  let c: usize = 0;
  for (; c + 16 <= columns; c += 16) {
    const p = c << 2;
    let a = v128.load(maxs + p), b = v128.load(maxs + p, 16), d = v128.load(maxs + p, 32), e = v128.load(maxs + p, 48);
    let s = src + p;
    for (let r = rows; r > 0; r--, s += from) {
      a = i32x4.max_s(a, magnitude(v128.load(s)));
      b = i32x4.max_s(b, magnitude(v128.load(s, 16)));
      d = i32x4.max_s(d, magnitude(v128.load(s, 32)));
      e = i32x4.max_s(e, magnitude(v128.load(s, 48)));
    }
    v128.store(maxs + p, a);
    v128.store(maxs + p, b, 16);
    v128.store(maxs + p, d, 32);
    v128.store(maxs + p, e, 48);
    top = i32x4.max_s(top, i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(d, e)));
  }
  for (; c + 4 <= columns; c += 4) {
    const p = c << 2;
    let a = v128.load(maxs + p);
    let s = src + p;
    for (let r = rows; r > 0; r--, s += from) a = i32x4.max_s(a, magnitude(v128.load(s)));
    v128.store(maxs + p, a);
    top = i32x4.max_s(top, a);
  }
  for (; c < columns; c++) {
    const p = c << 2;
    let a = v128.load32_splat(maxs + p);
    let s = src + p;
    for (let r = rows; r > 0; r--, s += from) a = i32x4.max_s(a, magnitude(v128.load32_splat(s)));
    v128.store32_lane(maxs + p, a, 0);
    top = i32x4.max_s(top, a);
  }
  return top;
}

export function absMaxF32Columns(
  src: usize, maxs: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): i32 {
  let top = i32x4.splat(0);
  for (let o: usize = 0; o < outer; o++) {
    let p = (o * step) << 2;
    for (let g: usize = 1; g <= groups; g++, p += columns << 2) {
      let left = g == groups ? last : inner;
      while (left > 0) {
        const count = min(left, ROWS);
        top = i32x4.max_s(top, stripAbs(src, maxs + p, count, columns));
        src += (count * columns) << 2;
        left -= count;
      }
    }
  }
  return i32(v128.any_true(i32x4.ge_s(top, i32x4.splat(INFINITY_BITS))));
}
