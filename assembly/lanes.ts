// Four 32-bit lanes: loads and stores of four or of what is left, shuffles, folds, constants that stay in registers.

/** Four lanes from `p` where W is v128; where it is f32 the one there, in all lanes. */
// @ts-ignore: decorator
@inline
export function loadLanes<W>(p: usize): v128 {
  return isVector<W>() ? v128.load(p) : v128.load32_splat(p);
}

/** Four lanes to `p`, or the first. */
// @ts-ignore: decorator
@inline
export function storeLanes<W>(p: usize, x: v128): void {
  if (isVector<W>()) v128.store(p, x);
  else v128.store32_lane(p, x, 0);
}

/** A lane from each of four places. */
// @ts-ignore: decorator
@inline
export function gatherLanes(p: usize, a: usize, b: usize, c: usize): v128 {
  return v128.load32_lane(c, v128.load32_lane(b, v128.load32_lane(a, v128.load32_zero(p), 1), 2), 3);
}

/** Lanes 0 to 3, `step` bytes apart; as many as `count` says. */
// @ts-ignore: decorator
@inline
export function scatterLanes(p: usize, x: v128, step: usize, count: usize): void {
  v128.store32_lane(p, x, 0);
  if (count > 1) v128.store32_lane(p + step, x, 1);
  if (count > 2) v128.store32_lane(p + 2 * step, x, 2);
  if (count > 3) v128.store32_lane(p + 3 * step, x, 3);
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

/** The smallest of four lanes, in all of them. */
// @ts-ignore: decorator
@inline
export function smallestLane(x: v128): v128 {
  x = f32x4.pmin(x, byTwo(x));
  return f32x4.pmin(x, byOne(x));
}
/** The largest. */
// @ts-ignore: decorator
@inline
export function largestLane(x: v128): v128 {
  x = f32x4.pmax(x, byTwo(x));
  return f32x4.pmax(x, byOne(x));
}

// Rows to columns: of a0 .. a3, b0 .. b3, c0 .. c3, d0 .. d3
//   evens(a, b)  a0 b0 a1 b1    lows(evens(a, b), evens(c, d))   a0 b0 c0 d0
//   odds(a, b)   a2 b2 a3 b3    highs(evens(a, b), evens(c, d))  a1 b1 c1 d1    and so on
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

/** The smallest lane of `a` in lane 0, that of `b` in lane 1, and so on. */
// @ts-ignore: decorator
@inline
export function smallestOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const e = evens(a, b), f = odds(a, b), g = evens(c, d), h = odds(c, d);
  return f32x4.pmin(f32x4.pmin(lows(e, g), highs(e, g)), f32x4.pmin(lows(f, h), highs(f, h)));
}
/** The largest. */
// @ts-ignore: decorator
@inline
export function largestOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const e = evens(a, b), f = odds(a, b), g = evens(c, d), h = odds(c, d);
  return f32x4.pmax(f32x4.pmax(lows(e, g), highs(e, g)), f32x4.pmax(lows(f, h), highs(f, h)));
}

/** Extremes so far and those of four more vectors, lane by lane. NaN may hide a neighbour: it has to be looked for apart. */
// @ts-ignore: decorator
@inline
export function pmin5(low: v128, x: v128, y: v128, z: v128, w: v128): v128 {
  return f32x4.pmin(f32x4.pmin(low, f32x4.pmin(x, y)), f32x4.pmin(z, w));
}
// @ts-ignore: decorator
@inline
export function pmax5(high: v128, x: v128, y: v128, z: v128, w: v128): v128 {
  return f32x4.pmax(f32x4.pmax(high, f32x4.pmax(x, y)), f32x4.pmax(z, w));
}
/** The sum so far and four more vectors. */
// @ts-ignore: decorator
@inline
export function add5(sum: v128, x: v128, y: v128, z: v128, w: v128): v128 {
  return f32x4.add(sum, f32x4.add(f32x4.add(x, y), f32x4.add(z, w)));
}
