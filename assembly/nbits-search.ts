import { extremeScale, rangeScale, rangeZero, reciprocalOf, stored } from "./block-parameters";
import { evens, gatherLanes, highs, lows, odds } from "./lanes";
import { NEARLY_HALF, codesHalfUp } from "./rounding";

// Searches for the scale and zero point of each block of a matrix (assembly/quantize-nbits.ts says how blocks lie), from where
// its extremes put them: s0 and z0. Four blocks at a time, a lane each; sums run over k in order, float32 at every step.
// In units of a scale s, with the highest code H:  y = x * (1 / s),  l = clamp(roundHalfToEven(y), -z, H - z),  d = y - l.
//
// mse, least squares: for 7 scales s0 / t (both signs where the zero point is fixed; else with z0, z0 - 1 and z0 + 1)
// these codes are held and the scale that suits them best is s * (1 + sum dl / sum ll), its squared error
// sum dd - (sum dl)^2 / sum ll, divided by t^2 to compare. The best is taken if, with the codes that it is going to get
// and as it is stored, the block's squared error is below that of s0 and z0, by more than rounding can feign.
//
// hqq, half-quadratic quantization (Badri and Shaji 2023: https://mobiusml.github.io/hqq_blog/): makes sum |error|^p
// small, p < 1, which leaves a few large errors alone for the sake of many small ones. By turns codes, what of each error
// counts as an outlier (the proximal step: e = sign(d) * max(|d| - |d|^(p - 1) / beta, 0)) and the parameters that suit
// the rest; the best parameters met are kept. What differs from the published form, and why:
// - The scale moves, by 1 + sum (d - e) l / sum ll, and the zero point stays: published, it is the other way round, with
//   a zero point that is no whole number. Packed zero points are whole, and rounding them undoes that step.
// - beta counts in units of the scale, so that the size of the weights does not matter: 4 makes of 0.33 and more outliers.
//   It stays the same, as growing by 1 % a turn makes no difference, and there are 10 turns, not 20: on trained weights at
//   4 bits sum |error|^p ends at most 2 % higher for it, and the squared error no higher.
// - p is 3/4, not 0.7: |d|^p = sqrt|d| * sqrt(sqrt|d|) is the same on every machine, a power by a library is not.

const LANES: usize = 16;
const SCALES: i32 = 7;
/** A squared error in float32 of up to 256 terms is off by less than half of this. */
const CLEARLY: f32 = 0.9999;
const TURNS: i32 = 10;
/** 1 / beta. */
const SHRINK: f32 = 0.25;

/** The first of the t that are tried, and how far they lie apart: 1 is among them. */
// @ts-ignore: decorator
@inline
function lowestT(bits: i32): f32 {
  return bits == 2 ? 0.5 : bits == 4 ? 0.90625 : 0.984375;
}
// @ts-ignore: decorator
@inline
function stepT(bits: i32): f32 {
  return bits == 2 ? 0.25 : bits == 4 ? 0.046875 : 0.0078125;
}

/** `valid` elements of four blocks `step` bytes apart, of which `count` are there, to [valid][4]. */
function panelOfRows(src: usize, step: usize, count: usize, valid: usize, dst: usize): void {
  const r1: usize = count > 1 ? step : 0, r2: usize = count > 2 ? step << 1 : r1, r3: usize = count > 3 ? 3 * step : r2;
  for (; valid >= 4; valid -= 4, src += 16, dst += 4 * LANES) {
    const x0 = v128.load(src), x1 = v128.load(src + r1), x2 = v128.load(src + r2), x3 = v128.load(src + r3);
    const a = evens(x0, x1), b = odds(x0, x1), d = evens(x2, x3), e = odds(x2, x3);
    v128.store(dst, lows(a, d));
    v128.store(dst, highs(a, d), LANES);
    v128.store(dst, lows(b, e), 2 * LANES);
    v128.store(dst, highs(b, e), 3 * LANES);
  }
  for (; valid > 0; valid--, src += 4, dst += LANES) v128.store(dst, gatherLanes(src, src + r1, src + r2, src + r3));
}

/** The same of `count` columns, rows `stride` bytes apart. */
function panelOfColumns(src: usize, stride: usize, count: usize, valid: usize, dst: usize): void {
  if (count == 4) {
    for (; valid > 0; valid--, src += stride, dst += LANES) v128.store(dst, v128.load(src));
    return;
  }
  const c1: usize = count > 1 ? 4 : 0, c2: usize = count > 2 ? 8 : c1;
  for (; valid > 0; valid--, src += stride, dst += LANES) {
    v128.store(dst, gatherLanes(src, src + c1, src + c2, src + c2));
  }
}

/** The sum of squared errors of a panel, in units of `1 / unit`, with the codes that these parameters are going to get. */
function squaredError(panel: usize, valid: usize, scale: v128, zero: v128, top: v128, unit: v128): v128 {
  const reciprocal = reciprocalOf(scale), half = f32x4.splat(NEARLY_HALF);
  let sum = f32x4.splat(0);
  for (const end = panel + valid * LANES; panel < end; panel += LANES) {
    const x = v128.load(panel);
    const q = codesHalfUp(x, reciprocal, zero, top, half);
    const e = f32x4.mul(f32x4.sub(x, f32x4.mul(f32x4.sub(q, zero), scale)), unit);
    sum = f32x4.add(sum, f32x4.mul(e, e));
  }
  return sum;
}

/** Scales, found; zero points are left in `zeroAt`. */
function mse(
  panel: usize, valid: usize, bits: i32, symmetric: bool, rounding: i32, s0: v128, z0: v128, top: v128, zeroAt: usize,
): v128 {
  const none = f32x4.splat(0), one = f32x4.splat(1);
  const unit = reciprocalOf(s0);
  const end = panel + valid * LANES;
  const variants = symmetric ? 2 : 3;
  let best = f32x4.splat(Infinity), scale = s0, zero = z0;
  for (let variant = 0; variant < variants; variant++) {
    const shift: f32 = symmetric || variant == 0 ? 0 : variant == 1 ? -1 : 1;
    const sign: f32 = symmetric && variant == 1 ? -1 : 1;
    const z = f32x4.pmin(top, f32x4.pmax(none, f32x4.add(z0, f32x4.splat(shift))));
    const lowest = f32x4.sub(none, z), highest = f32x4.sub(top, z);
    for (let j = 0; j < SCALES; j++) {
      const t = sign * (lowestT(bits) + <f32>j * stepT(bits));
      const reciprocal = f32x4.mul(unit, f32x4.splat(t));
      let dd = none, dl = none, ll = none;
      for (let p = panel; p < end; p += LANES) {
        const y = f32x4.mul(v128.load(p), reciprocal);
        const l = f32x4.pmin(highest, f32x4.pmax(lowest, f32x4.nearest(y)));
        const d = f32x4.sub(y, l);
        dd = f32x4.add(dd, f32x4.mul(d, d));
        dl = f32x4.add(dl, f32x4.mul(d, l));
        ll = f32x4.add(ll, f32x4.mul(l, l));
      }
      const error = f32x4.div(f32x4.sub(dd, f32x4.div(f32x4.mul(dl, dl), ll)), f32x4.splat(t * t));
      const better = f32x4.lt(error, best);
      const s = f32x4.mul(f32x4.div(s0, f32x4.splat(t)), f32x4.add(one, f32x4.div(dl, ll)));
      best = v128.bitselect(error, best, better);
      scale = v128.bitselect(s, scale, better);
      zero = v128.bitselect(z, zero, better);
    }
  }
  const first = stored(s0, rounding);
  scale = stored(scale, rounding);
  const before = squaredError(panel, valid, first, z0, top, unit);
  const after = squaredError(panel, valid, scale, zero, top, unit);
  const fell = f32x4.lt(after, f32x4.mul(before, f32x4.splat(CLEARLY)));
  v128.store(zeroAt, v128.bitselect(zero, z0, fell));
  return v128.bitselect(scale, first, fell);
}

function hqq(panel: usize, valid: usize, rounding: i32, s0: v128, z0: v128, top: v128): v128 {
  const none = f32x4.splat(0), one = f32x4.splat(1), signs = i32x4.splat(0x80000000);
  const unit = reciprocalOf(s0);
  const lowest = f32x4.sub(none, z0), highest = f32x4.sub(top, z0);
  const end = panel + valid * LANES;
  let best = f32x4.splat(Infinity), scale = s0, found = s0;
  for (let turn = 0; turn < TURNS; turn++) {
    const reciprocal = reciprocalOf(scale);
    let cost = none, rl = none, ll = none;
    for (let p = panel; p < end; p += LANES) {
      const y = f32x4.mul(v128.load(p), reciprocal);
      const l = f32x4.pmin(highest, f32x4.pmax(lowest, f32x4.nearest(y)));
      const d = f32x4.sub(y, l);
      const size = f32x4.abs(d);
      const root = f32x4.sqrt(size), fourth = f32x4.sqrt(root);
      cost = f32x4.add(cost, f32x4.mul(root, fourth));
      const rest = v128.or(f32x4.pmin(size, f32x4.div(f32x4.splat(SHRINK), fourth)), v128.and(d, signs)); // d - e
      rl = f32x4.add(rl, f32x4.mul(rest, l));
      ll = f32x4.add(ll, f32x4.mul(l, l));
    }
    const root = f32x4.sqrt(f32x4.abs(f32x4.mul(scale, unit)));
    cost = f32x4.mul(cost, f32x4.mul(root, f32x4.sqrt(root)));
    const better = f32x4.lt(cost, best);
    best = v128.bitselect(cost, best, better);
    found = v128.bitselect(scale, found, better);
    const factor = f32x4.add(one, f32x4.div(rl, ll));
    scale = v128.bitselect(f32x4.mul(scale, factor), scale, f32x4.gt(factor, none));
  }
  return stored(found, rounding);
}

/** A panel's blocks: block `b` of `count` rows of the result. */
// @ts-ignore: decorator
@inline
function find(
  isHqq: bool, panel: usize, count: usize, valid: usize, scales: usize, zeroPoints: usize, blocks: usize, bits: i32,
  symmetric: bool, rounding: i32,
): void {
  let low = f32x4.splat(Infinity), high = f32x4.splat(-Infinity);
  for (let p = panel, end = panel + valid * LANES; p < end; p += LANES) {
    const x = v128.load(p);
    low = f32x4.pmin(low, x);
    high = f32x4.pmax(high, x);
  }
  const top = f32x4.splat(<f32>((1 << bits) - 1));
  let zero = f32x4.splat(<f32>(1 << (bits - 1)));
  let scale: v128;
  if (symmetric) {
    scale = extremeScale(low, high, v128.load(panel), zero);
  } else {
    scale = rangeScale(low, high, top);
    zero = rangeZero(low, scale, top);
  }
  scale = v128.and(scale, f32x4.eq(scale, scale)); // NaN, where one is first among zeros
  if (isHqq) {
    scale = hqq(panel, valid, rounding, scale, zero, top);
  } else {
    scale = mse(panel, valid, bits, symmetric, rounding, scale, zero, top, panel);
    zero = v128.load(panel);
  }
  for (; count > 0; count--, scales += blocks << 2, zeroPoints += blocks << 2) {
    v128.store32_lane(scales, scale, 0);
    v128.store32_lane(zeroPoints, zero, 0);
    scale = v128.shuffle<i32>(scale, scale, 1, 2, 3, 3);
    zero = v128.shuffle<i32>(zero, zero, 1, 2, 3, 3);
  }
}

/** [n, k] in rows `stride` elements apart. */
// @ts-ignore: decorator
@inline
function rows(
  isHqq: bool, src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize,
  size: usize, bits: i32, symmetric: bool, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  for (let r: usize = 0; r < n; r += 4) {
    const count = min<usize>(4, n - r);
    for (let b: usize = 0; b < blocks; b++) {
      const valid = min(size, k - b * size);
      const at = (r * blocks + b) << 2;
      panelOfRows(src + ((r * stride + b * size) << 2), stride << 2, count, valid, scratch);
      find(isHqq, scratch, count, valid, scales + at, zeroPoints + at, blocks, bits, symmetric, rounding);
    }
  }
}

/** n columns of [k, stride]. */
// @ts-ignore: decorator
@inline
function columns(
  isHqq: bool, src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize,
  size: usize, bits: i32, symmetric: bool, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  for (let b: usize = 0; b < blocks; b++) {
    const valid = min(size, k - b * size);
    for (let c: usize = 0; c < n; c += 4) {
      const count = min<usize>(4, n - c);
      const at = (c * blocks + b) << 2;
      panelOfColumns(src + ((b * size * stride + c) << 2), stride << 2, count, valid, scratch);
      find(isHqq, scratch, count, valid, scales + at, zeroPoints + at, blocks, bits, symmetric, rounding);
    }
  }
}

export function mseF32(src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32): void {
  rows(false, src, scales, zeroPoints, scratch, n, k, stride, size, bits, symmetric != 0, rounding);
}

export function mseF32Columns(src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32): void {
  columns(false, src, scales, zeroPoints, scratch, n, k, stride, size, bits, symmetric != 0, rounding);
}

export function hqqF32(src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32): void {
  rows(true, src, scales, zeroPoints, scratch, n, k, stride, size, bits, symmetric != 0, rounding);
}

export function hqqF32Columns(src: usize, scales: usize, zeroPoints: usize, scratch: usize, n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32): void {
  columns(true, src, scales, zeroPoints, scratch, n, k, stride, size, bits, symmetric != 0, rounding);
}
