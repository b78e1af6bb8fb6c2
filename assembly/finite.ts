// Extremes of the finite values alone, for callers who asked that NaN and infinities be left out. The second pass over
// data that the scan in range.ts found wanting, so plain rather than fast.

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

// @ts-ignore: decorator
@inline
function finite(x: v128): v128 {
  return f32x4.lt(f32x4.abs(x), f32x4.splat(Infinity));
}

export function rangeFiniteF32(
  src: usize, mins: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    let p = (o * step) << 2;
    for (let g: usize = 1; g <= groups; g++, p += 4) {
      let low = v128.load32_splat(mins + p), high = v128.load32_splat(maxs + p);
      let n = g == groups ? last : inner;
      for (; n >= 4; n -= 4, src += 16) {
        const x = v128.load(src);
        low = lower(low, x);
        high = higher(high, x);
      }
      for (; n > 0; n--, src += 4) {
        const x = v128.load32_splat(src);
        low = lower(low, x);
        high = higher(high, x);
      }
      low = f32x4.pmin(low, v128.shuffle<i32>(low, low, 2, 3, 0, 1));
      high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1));
      low = f32x4.pmin(low, v128.shuffle<i32>(low, low, 1, 0, 3, 2));
      high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2));
      v128.store32_lane(mins + p, low, 0);
      v128.store32_lane(maxs + p, high, 0);
    }
  }
}

export function rangeFiniteF32Columns(
  src: usize, mins: usize, maxs: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    let p = (o * step) << 2;
    for (let g: usize = 1; g <= groups; g++, p += columns << 2) {
      for (let r = g == groups ? last : inner; r > 0; r--) {
        let l = mins + p, h = maxs + p;
        let n = columns;
        for (; n >= 4; n -= 4, src += 16, l += 16, h += 16) {
          const x = v128.load(src);
          v128.store(l, lower(v128.load(l), x));
          v128.store(h, higher(v128.load(h), x));
        }
        for (; n > 0; n--, src += 4, l += 4, h += 4) {
          const x = v128.load32_splat(src);
          v128.store32_lane(l, lower(v128.load32_splat(l), x), 0);
          v128.store32_lane(h, higher(v128.load32_splat(h), x), 0);
        }
      }
    }
  }
}
