// Rows to columns, four lanes at a time.

/** 4 x 4 lanes, row i of the result is lane i of the four. */
// @ts-ignore: decorator
@inline
export function evens(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
}
// @ts-ignore: decorator
@inline
export function odds(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
}
// @ts-ignore: decorator
@inline
export function lows(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2);
}
// @ts-ignore: decorator
@inline
export function highs(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 1, 3);
}

// @ts-ignore: decorator
@inline
export function gatherLanes(p: usize, a: usize, b: usize, c: usize): v128 {
  return v128.load32_lane(c, v128.load32_lane(b, v128.load32_lane(a, v128.load32_zero(p), 1), 2), 3);
}

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
