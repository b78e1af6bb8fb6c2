import { add5, kept, largestLane, largestOfEach, pmax5, pmin5, smallestLane, smallestOfEach } from "./lanes";
import { nibblePairs } from "./nibbles";
import { holdsNonFinite } from "./range";
import { MAGIC_BITS, codesInRange } from "./rounding";
import { parameters } from "./scheme-parameters";

// Groups that follow one another in memory and are short, blocks above all: range, parameters and codes in one pass. Runs
// are [outer][groups][inner], the last of each outer `last` long; run g of outer o takes parameter o * step + g.
// assembly/scheme-parameters.ts says what `rule` makes of a range. Codes are those of ONNX QuantizeLinear, saturated to what
// the type holds:
//   q = saturate(roundHalfToEven(x / scale) + zeroPoint)
//
// 4-bit codes are packed, two to a byte, low nibble first, the first of a call in a low nibble: `inner` is even where groups
// follow, and the elements of an outer are even where outers follow. Where the last code is an odd one, the high nibble
// beside it is 0. What is returned is not 0 if a NaN or an infinity was met; what was written is of no use then.
//
// `Packed` is bool for 4-bit codes, `C` tells their sign; `Near` is bool for a candidate of the benchmark.

/** What codes are counted from before they are clamped: below the lowest there is nothing. */
// @ts-ignore: decorator
@inline
function lowest<C, Packed>(): i32 {
  return isBoolean<Packed>() && isSigned<C>() ? -8 : 0;
}

/** Bytes of n codes. */
// @ts-ignore: decorator
@inline
function bytesOf<Packed>(n: usize): usize {
  return isBoolean<Packed>() ? n >> 1 : n;
}

/** Sixteen codes, a byte each, clamped by their type. */
// @ts-ignore: decorator
@inline
function sixteen<C, Packed>(src: usize, scale: v128, magic: v128, bias: v128): v128 {
  const low = i16x8.narrow_i32x4_s(
    codesInRange(v128.load(src), scale, magic, bias), codesInRange(v128.load(src, 16), scale, magic, bias),
  );
  const high = i16x8.narrow_i32x4_s(
    codesInRange(v128.load(src, 32), scale, magic, bias), codesInRange(v128.load(src, 48), scale, magic, bias),
  );
  return isSigned<C>() && !isBoolean<Packed>() ? i8x16.narrow_i16x8_s(low, high) : i8x16.narrow_i16x8_u(low, high);
}

/** The code in lane 0, as it is stored. */
// @ts-ignore: decorator
@inline
function single<C, Packed>(src: usize, scale: v128, magic: v128, bias: v128): i32 {
  const q = i32x4.extract_lane(codesInRange(v128.load32_splat(src), scale, magic, bias), 0);
  if (isBoolean<Packed>()) return min(max(q, 0), 15) ^ (isSigned<C>() ? 8 : 0);
  return isSigned<C>() ? min(max(q, -128), 127) : min(max(q, 0), 255);
}

/** Codes of one run of n values with its parameters. */
// @ts-ignore: decorator
@inline
function encode<C, Packed>(
  src: usize, dst: usize, n: usize, scaleAt: usize, zeroAt: usize, magic: v128, top: v128, ones: v128,
): void {
  const scale = v128.load32_splat(scaleAt);
  const bias = i32x4.sub(i32x4.splat(MAGIC_BITS + lowest<C, Packed>()), v128.load32_splat(zeroAt));
  const signs = isSigned<C>() ? i8x16.splat(<i8>0x88) : i32x4.splat(0);
  if (isBoolean<Packed>()) {
    for (; n >= 32; n -= 32, src += 128, dst += 16) {
      const low = nibblePairs(i8x16.min_u(sixteen<C, Packed>(src, scale, magic, bias), top), ones);
      const high = nibblePairs(i8x16.min_u(sixteen<C, Packed>(src + 64, scale, magic, bias), top), ones);
      const bytes = i8x16.narrow_i16x8_u(low, high);
      v128.store(dst, isSigned<C>() ? v128.xor(bytes, signs) : bytes);
    }
    for (; n >= 16; n -= 16, src += 64, dst += 8) {
      const both = nibblePairs(i8x16.min_u(sixteen<C, Packed>(src, scale, magic, bias), top), ones);
      const bytes = i8x16.narrow_i16x8_u(both, both);
      v128.store64_lane(dst, isSigned<C>() ? v128.xor(bytes, signs) : bytes, 0);
    }
    for (; n >= 2; n -= 2, src += 8, dst++) {
      const low = single<C, Packed>(src, scale, magic, bias), high = single<C, Packed>(src + 4, scale, magic, bias);
      store<u8>(dst, low | (high << 4));
    }
    if (n > 0) store<u8>(dst, single<C, Packed>(src, scale, magic, bias));
  } else {
    for (; n >= 16; n -= 16, src += 64, dst += 16) v128.store(dst, sixteen<C, Packed>(src, scale, magic, bias));
    for (; n > 0; n--, src += 4, dst++) store<u8>(dst, single<C, Packed>(src, scale, magic, bias));
  }
}

/** The parameters of a run of any length; what its values add up to. */
function find1(src: usize, n: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32): v128 {
  let low = v128.load32_splat(src), high = low, sum = f32x4.splat(0);
  const end = src + (n << 2);
  let p = src;
  for (; p + 16 <= end; p += 16) {
    const x = v128.load(p);
    low = f32x4.pmin(low, x), high = f32x4.pmax(high, x), sum = f32x4.add(sum, x);
  }
  for (; p < end; p += 4) {
    const x = v128.load32_splat(p);
    low = f32x4.pmin(low, x), high = f32x4.pmax(high, x), sum = f32x4.add(sum, x);
  }
  parameters(smallestLane(low), largestLane(high), rule, qmin, qmax, scales, zeroPoints, 0);
  return sum;
}

/** Parameters and codes of a run of any length; what its values add up to. */
function alone<C, Packed>(
  src: usize, dst: usize, n: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32,
  magic: v128, top: v128, ones: v128,
): v128 {
  const sum = find1(src, n, scales, zeroPoints, rule, qmin, qmax);
  encode<C, Packed>(src, dst, n, scales, zeroPoints, magic, top, ones);
  return sum;
}

/**
 * `runs` runs of n values, a multiple of 16, one after the other: four at a time, a quarter of them all apart, or where
 * `Near` is bool the next four (bench/assembly/index.ts has what was measured); what their values add up to.
 */
// @ts-ignore: decorator
@inline
function many<C, Packed, Near>(
  src: usize, dst: usize, runs: usize, n: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32,
  magic: v128, top: v128, ones: v128,
): v128 {
  const quarter = runs >> 2;
  const bytes = n << 2, codes = bytesOf<Packed>(n);
  const apart: usize = isBoolean<Near>() ? 1 : quarter, next: usize = isBoolean<Near>() ? 4 : 1;
  const from = apart * bytes, to = apart * codes, step = apart << 2;
  const rest = src + (quarter << 2) * bytes, restTo = dst + (quarter << 2) * codes;
  let sum = f32x4.splat(0);
  // The parameters of four runs are found before the four before them are written, so that neither waits for the other.
  for (let b: usize = 0; b <= quarter; b++) {
    if (b < quarter) {
      let l0 = v128.load(src), l1 = v128.load(src + from), l2 = v128.load(src + 2 * from), l3 = v128.load(src + 3 * from);
      let h0 = l0, h1 = l1, h2 = l2, h3 = l3;
      for (let p = src, end = src + bytes; p < end; p += 64) {
        let x = v128.load(p), y = v128.load(p, 16), z = v128.load(p, 32), w = v128.load(p, 48);
        l0 = pmin5(l0, x, y, z, w), h0 = pmax5(h0, x, y, z, w), sum = add5(sum, x, y, z, w);
        const q = p + from;
        x = v128.load(q), y = v128.load(q, 16), z = v128.load(q, 32), w = v128.load(q, 48);
        l1 = pmin5(l1, x, y, z, w), h1 = pmax5(h1, x, y, z, w), sum = add5(sum, x, y, z, w);
        const r = q + from;
        x = v128.load(r), y = v128.load(r, 16), z = v128.load(r, 32), w = v128.load(r, 48);
        l2 = pmin5(l2, x, y, z, w), h2 = pmax5(h2, x, y, z, w), sum = add5(sum, x, y, z, w);
        const s = r + from;
        x = v128.load(s), y = v128.load(s, 16), z = v128.load(s, 32), w = v128.load(s, 48);
        l3 = pmin5(l3, x, y, z, w), h3 = pmax5(h3, x, y, z, w), sum = add5(sum, x, y, z, w);
      }
      const low = smallestOfEach(l0, l1, l2, l3), high = largestOfEach(h0, h1, h2, h3);
      const at = (b * next) << 2;
      parameters(low, high, rule, qmin, qmax, scales + at, zeroPoints + at, step);
    }
    if (b > 0) {
      let s = src - next * bytes, d = dst, at = ((b - 1) * next) << 2;
      for (let i = 0; i < 4; i++, s += from, d += to, at += step) {
        encode<C, Packed>(s, d, n, scales + at, zeroPoints + at, magic, top, ones);
      }
      dst += next * codes;
    }
    src += next * bytes;
  }
  src = rest, dst = restTo, scales += quarter << 4, zeroPoints += quarter << 4;
  for (let left = runs & 3; left > 0; left--, src += bytes, dst += codes, scales += 4, zeroPoints += 4) {
    sum = f32x4.add(sum, alone<C, Packed>(src, dst, n, scales, zeroPoints, rule, qmin, qmax, magic, top, ones));
  }
  return sum;
}

// @ts-ignore: decorator
@inline
export function blocks<C, Packed, Near>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): i32 {
  if (isBoolean<Packed>()) {
    assert((groups == 1 || inner % 2 == 0) && (outer == 1 || ((groups - 1) * inner + last) % 2 == 0));
  }
  const magic = kept(MAGIC_BITS, inner), top = kept(0x0f0f0f0f, inner), ones = kept(0x00ff00ff, inner);
  const from = src, elements = outer * ((groups - 1) * inner + last);
  // Runs that are all alike follow one another across outers.
  if (inner == last && (outer == 1 || step == groups)) groups *= outer, outer = 1;
  const whole: usize = inner & 15 ? 0 : inner == last ? groups : groups - 1;
  let sum = f32x4.splat(0);
  for (; outer > 0; outer--, scales += step << 2, zeroPoints += step << 2) {
    sum = f32x4.add(sum, many<C, Packed, Near>(src, dst, whole, inner, scales, zeroPoints, rule, qmin, qmax, magic, top, ones));
    src += (whole * inner) << 2, dst += bytesOf<Packed>(whole * inner);
    for (let g = whole; g < groups; g++) {
      const n = g == groups - 1 ? last : inner, at = g << 2;
      sum = f32x4.add(
        sum, alone<C, Packed>(src, dst, n, scales + at, zeroPoints + at, rule, qmin, qmax, magic, top, ones),
      );
      src += n << 2, dst += bytesOf<Packed>(n);
    }
  }
  // Large values may have added up to infinity, too.
  return i32x4.all_true(f32x4.lt(f32x4.abs(sum), f32x4.splat(Infinity))) ? 0 : holdsNonFinite(from, 1, elements, 0);
}

export function blocksF32I4(src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32, outer: usize, groups: usize, inner: usize, last: usize, step: usize): i32 {
  return blocks<i8, bool, i32>(src, dst, scales, zeroPoints, rule, qmin, qmax, outer, groups, inner, last, step);
}

export function blocksF32U4(src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32, outer: usize, groups: usize, inner: usize, last: usize, step: usize): i32 {
  return blocks<u8, bool, i32>(src, dst, scales, zeroPoints, rule, qmin, qmax, outer, groups, inner, last, step);
}

export function blocksF32I8(src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32, outer: usize, groups: usize, inner: usize, last: usize, step: usize): i32 {
  return blocks<i8, i32, i32>(src, dst, scales, zeroPoints, rule, qmin, qmax, outer, groups, inner, last, step);
}

export function blocksF32U8(src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32, outer: usize, groups: usize, inner: usize, last: usize, step: usize): i32 {
  return blocks<u8, i32, i32>(src, dst, scales, zeroPoints, rule, qmin, qmax, outer, groups, inner, last, step);
}
