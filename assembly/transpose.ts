import { evens, gatherLanes, highs, lows, odds } from "./lanes";

// Rows to columns.

/** `valid` rows of n values, `stride` bytes apart, to [n, size], zeros beyond. */
export function gather(src: usize, stride: usize, valid: usize, size: usize, n: usize, dst: usize): void {
  const step = size << 2;
  const whole = valid & ~7, across = n & ~3;
  if (valid < size) memory.fill(dst, 0, n * step);
  for (let i: usize = 0; i < whole; i += 8, src += stride << 3) {
    const src4 = src + (stride << 2);
    let p = src, p4 = src4, q = dst + (i << 2);
    for (let c: usize = 0; c < across; c += 4, p += 16, p4 += 16, q += step << 2) {
      const x0 = v128.load(p), x1 = v128.load(p + stride), x2 = v128.load(p + 2 * stride), x3 = v128.load(p + 3 * stride);
      const y0 = v128.load(p4), y1 = v128.load(p4 + stride), y2 = v128.load(p4 + 2 * stride), y3 = v128.load(p4 + 3 * stride);
      const a = evens(x0, x1), b = odds(x0, x1), d = evens(x2, x3), e = odds(x2, x3);
      const f = evens(y0, y1), g = odds(y0, y1), h = evens(y2, y3), j = odds(y2, y3);
      v128.store(q, lows(a, d));
      v128.store(q, lows(f, h), 16);
      v128.store(q + step, highs(a, d));
      v128.store(q + step, highs(f, h), 16);
      v128.store(q + 2 * step, lows(b, e));
      v128.store(q + 2 * step, lows(g, j), 16);
      v128.store(q + 3 * step, highs(b, e));
      v128.store(q + 3 * step, highs(g, j), 16);
    }
    for (let c = across; c < n; c++, p += 4, q += step) {
      v128.store(q, gatherLanes(p, p + stride, p + 2 * stride, p + 3 * stride));
      v128.store(q, gatherLanes(p4, p4 + stride, p4 + 2 * stride, p4 + 3 * stride), 16);
      p4 += 4;
    }
  }
  for (let i = whole; i < valid; i++, src += stride) {
    for (let c: usize = 0; c < n; c++) store<f32>(dst + c * step + (i << 2), load<f32>(src + (c << 2)));
  }
}

/** n columns of [k, stride] to [n, k]. */
export function transposeF32(src: usize, dst: usize, n: usize, k: usize, stride: usize): void {
  gather(src, stride << 2, k, k, n, dst);
}

/** Rows that are taken at a time: of what is written whole cache lines, then. */
const BAND: usize = 64;

// @ts-ignore: decorator
@inline
function low(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
// @ts-ignore: decorator
@inline
function high(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Two rows of eight bytes, `to` bytes apart; where the next two belong. */
// @ts-ignore: decorator
@inline
function storeHalves(dst: usize, to: usize, rows: v128): usize {
  v128.store64_lane(dst, rows, 0);
  v128.store64_lane(dst + to, rows, 1);
  return dst + (to << 1);
}

/** Eight rows of sixteen columns, `from` and `to` bytes apart. */
// @ts-ignore: decorator
@inline
function tile(src: usize, from: usize, dst: usize, to: usize): void {
  const src4 = src + (from << 2);
  const a0 = v128.load(src), a1 = v128.load(src + from), a2 = v128.load(src + 2 * from), a3 = v128.load(src + 3 * from);
  const a4 = v128.load(src4), a5 = v128.load(src4 + from), a6 = v128.load(src4 + 2 * from), a7 = v128.load(src4 + 3 * from);
  // Three rounds, each of which makes the highest bit of the row the lowest of the place: columns 2 i and 2 i + 1 end up in i.
  const b0 = low(a0, a4), b1 = high(a0, a4), b2 = low(a1, a5), b3 = high(a1, a5);
  const b4 = low(a2, a6), b5 = high(a2, a6), b6 = low(a3, a7), b7 = high(a3, a7);
  const c0 = low(b0, b4), c1 = high(b0, b4), c2 = low(b1, b5), c3 = high(b1, b5);
  const c4 = low(b2, b6), c5 = high(b2, b6), c6 = low(b3, b7), c7 = high(b3, b7);
  const d0 = low(c0, c4), d1 = high(c0, c4), d2 = low(c1, c5), d3 = high(c1, c5);
  const d4 = low(c2, c6), d5 = high(c2, c6), d6 = low(c3, c7), d7 = high(c3, c7);
  dst = storeHalves(dst, to, d0), dst = storeHalves(dst, to, d1), dst = storeHalves(dst, to, d2);
  dst = storeHalves(dst, to, d3), dst = storeHalves(dst, to, d4), dst = storeHalves(dst, to, d5);
  storeHalves(storeHalves(dst, to, d6), to, d7);
}

/** [k, n] bytes to [n, k]. */
export function transposeBytes(src: usize, dst: usize, n: usize, k: usize): void {
  const across = n & ~15;
  for (let top: usize = 0; top < k; top += BAND) {
    const rows = min(BAND, k - top), whole = rows & ~7;
    const from = src + top * n, to = dst + top;
    for (let c: usize = 0; c < across; c += 16) {
      for (let r: usize = 0; r < whole; r += 8) tile(from + r * n + c, n, to + c * k + r, k);
    }
    for (let r: usize = 0; r < rows; r++) {
      for (let c: usize = r < whole ? across : 0; c < n; c++) store<u8>(to + c * k + r, load<u8>(from + r * n + c));
    }
  }
}
