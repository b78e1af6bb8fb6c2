// Shuffles of four 32-bit lanes, and constants that stay in registers.

/** Rotates lanes by two, then by one: two steps fold four lanes into each. */
// @ts-ignore: decorator
@inline
export function byTwo(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 2, 3, 0, 1);
}
// @ts-ignore: decorator
@inline
export function byOne(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 1, 0, 3, 2);
}

/**
 * The same bits in all lanes, in a way that no compiler sees through: it would put the constant into the loop, where V8 builds
 * it anew at each use. `n` is any number below 2^31 that is known at run time alone.
 */
// @ts-ignore: decorator
@inline
export function kept(bits: i32, n: usize): v128 {
  return i32x4.splat(bits | <i32>(n >> 31));
}

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
