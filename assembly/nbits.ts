import { byTwo } from "./lanes";

// Matrices quantized in blocks of `size` along K, as com.microsoft MatMulNBits and GatherBlockQuantized store them:
// codes of B bits [n, blocks, size * B / 8], low bits first, 0 beyond K; scales [n, blocks]; zero points of B bits
// [n, ceil(blocks * B / 8)], low bits first, the middle code beyond the last block.
//
//   q = clamp(roundf(x * (1 / scale) + zeroPoint), 0, 2^B - 1)     restored: (q - zeroPoint) * scale
//
// float32 at every step, no fused multiplication, roundf away from zero on ties: ONNX Runtime's packer, for which these
// are right: a reciprocal that is no finite number (scale 0, or as good as 0) counts as 0, so that all codes are zero points.
//
// `sums` takes 64 bytes for each row of the result, added to what is there (the caller starts with zeros): float64 sums
//   of the squared error over even k, over odd k; of x^2 over even k, over odd k: element by element, k ascending;
//   of what is restored, squared: (q - zeroPoint)^2, whole numbers unless the zero point is none, are summed over a block in
//   float32, lanes k mod 4, of which 0 + 2 and 1 + 3 go times scale^2 into a sum each;
// and 4 float32, the largest error of k mod 4, NaN skipped. NaN and infinities show in x^2, which nothing finite overflows.

const SUMS: usize = 64;
const MAGIC: f32 = 8388608.0; // 2^23: added to a whole number, it leaves that in the low mantissa bits
const MAGIC_BITS: i32 = 0x4b000000;
/** The float32 below 0.5: added before cutting, it rounds halves up and nothing else. */
const NEARLY_HALF: f32 = reinterpret<f32>(0x3effffff);

/** What there is of a block's parameters before it is quantized. */
const SYMMETRIC: i32 = 1, GIVEN: i32 = 2;

/** Bytes of the parameters of four rows, and of two sets of them, which stand before all else in the scratch. */
const PARAMETERS: usize = 48, FOUND: usize = 128;

// @ts-ignore: decorator
@inline
function highest<B>(): f32 {
  return <f32>((1 << bitsOf<B>()) - 1);
}

/** The width of codes, told by a type: i8 for 2 bits, i16 for 4, i32 for 8. */
// @ts-ignore: decorator
@inline
function bitsOf<B>(): i32 {
  return <i32>sizeof<B>() << 1;
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

/** Rounds to the nearest whole number, halves up; 0 <= x < 2^22. */
// @ts-ignore: decorator
@inline
function rounded(x: v128): v128 {
  return f32x4.trunc(f32x4.add(x, f32x4.splat(NEARLY_HALF)));
}

/** Codes as float32; NaN becomes 0. */
// @ts-ignore: decorator
@inline
export function codes4(x: v128, reciprocal: v128, zero: v128, top: v128): v128 {
  const y = f32x4.add(f32x4.mul(x, reciprocal), zero);
  return rounded(f32x4.pmin(top, f32x4.pmax(f32x4.splat(0), y)));
}

// @ts-ignore: decorator
@inline
function integers(codes: v128): v128 {
  return i32x4.sub(f32x4.add(codes, f32x4.splat(MAGIC)), i32x4.splat(MAGIC_BITS));
}

/** Sixteen codes, k ascending, packed: 4, 8 or 16 bytes. */
// @ts-ignore: decorator
@inline
function pack<B>(dst: usize, a: v128, b: v128, c: v128, d: v128): void {
  const low = i16x8.narrow_i32x4_s(integers(a), integers(b));
  const high = i16x8.narrow_i32x4_s(integers(c), integers(d));
  const bytes = i8x16.narrow_i16x8_u(low, high);
  if (bitsOf<B>() == 8) {
    v128.store(dst, bytes);
  } else if (bitsOf<B>() == 4) {
    // 0x0h0l in each i16: h << 4 | l
    const pairs = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 4)), i16x8.splat(0xff));
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(pairs, pairs), 0);
  } else {
    const pairs = v128.or(bytes, i16x8.shr_u(bytes, 6)); // 4 bits in each i16, and some above
    const both = v128.and(pairs, i16x8.splat(0x0f));
    const quads = v128.and(v128.or(both, i32x4.shr_u(both, 12)), i32x4.splat(0xff));
    const half = i16x8.narrow_i32x4_s(quads, quads);
    v128.store32_lane(dst, i8x16.narrow_i16x8_u(half, half), 0);
  }
}

/** The sum so far and the squares of four float32 values: lane k mod 2, in order. */
// @ts-ignore: decorator
@inline
function squares(sum: v128, x: v128): v128 {
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
  return f64x2.add(f64x2.add(sum, f64x2.mul(low, low)), f64x2.mul(high, high));
}

// @ts-ignore: decorator
@inline
function within(from: i32, valid: v128): v128 {
  return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(from)), valid);
}

/** One block of one row: codes and sums. `Tail` is bool where only `valid` of its elements are there. */
// @ts-ignore: decorator
@inline
function block<B, Tail>(
  src: usize, dst: usize, size: usize, valid: usize, scale: v128, reciprocal: v128, zero: v128, sums: usize,
): void {
  const top = f32x4.splat(highest<B>());
  let squared = v128.load(sums), aa = v128.load(sums, 16);
  let dd = f32x4.splat(0), largest = v128.load(sums, 48);
  const magnitude = i32x4.splat(0x7fffffff);
  const valid4 = i32x4.splat(<i32>valid);
  for (let i: usize = 0; i < size; i += 16, src += 64, dst += bitsOf<B>() << 1) {
    const x0 = v128.load(src), x1 = v128.load(src, 16), x2 = v128.load(src, 32), x3 = v128.load(src, 48);
    const q0 = codes4(x0, reciprocal, zero, top), q1 = codes4(x1, reciprocal, zero, top);
    const q2 = codes4(x2, reciprocal, zero, top), q3 = codes4(x3, reciprocal, zero, top);
    pack<B>(dst, q0, q1, q2, q3);
    let d0 = f32x4.sub(q0, zero), d1 = f32x4.sub(q1, zero), d2 = f32x4.sub(q2, zero), d3 = f32x4.sub(q3, zero);
    let e0 = f32x4.sub(x0, f32x4.mul(d0, scale)), e1 = f32x4.sub(x1, f32x4.mul(d1, scale));
    let e2 = f32x4.sub(x2, f32x4.mul(d2, scale)), e3 = f32x4.sub(x3, f32x4.mul(d3, scale));
    if (isBoolean<Tail>()) {
      const m0 = within(<i32>i, valid4), m1 = within(<i32>i + 4, valid4);
      const m2 = within(<i32>i + 8, valid4), m3 = within(<i32>i + 12, valid4);
      d0 = v128.and(d0, m0), d1 = v128.and(d1, m1), d2 = v128.and(d2, m2), d3 = v128.and(d3, m3);
      e0 = v128.and(e0, m0), e1 = v128.and(e1, m1), e2 = v128.and(e2, m2), e3 = v128.and(e3, m3);
    }
    squared = squares(squares(squares(squares(squared, e0), e1), e2), e3);
    aa = squares(squares(squares(squares(aa, x0), x1), x2), x3);
    dd = f32x4.add(f32x4.add(dd, f32x4.mul(d0, d0)), f32x4.mul(d1, d1));
    dd = f32x4.add(f32x4.add(dd, f32x4.mul(d2, d2)), f32x4.mul(d3, d3));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e0, magnitude)), v128.and(e1, magnitude));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e2, magnitude)), v128.and(e3, magnitude));
  }
  v128.store(sums, squared);
  v128.store(sums, aa, 16);
  const unit = f64x2.promote_low_f32x4(scale);
  const pairs = f64x2.promote_low_f32x4(f32x4.add(dd, byTwo(dd)));
  v128.store(sums, f64x2.add(v128.load(sums, 32), f64x2.mul(pairs, f64x2.mul(unit, unit))), 32);
  v128.store(sums, largest, 48);
}

/** Zeros from element `valid` of a block on. */
function clear<B>(dst: usize, size: usize, valid: usize): void {
  let at = (valid * bitsOf<B>()) >> 3;
  const rest = (valid * bitsOf<B>()) & 7;
  if (rest) {
    const mask: i32 = (1 << (<i32>rest)) - 1;
    store<u8>(dst + at, <u8>(<i32>load<u8>(dst + at) & mask));
    at++;
  }
  memory.fill(dst + at, 0, ((size * bitsOf<B>()) >> 3) - at);
}

/** To the nearest float16 (1) or bfloat16 (2), halves to even, as float32; but never to 0 what is not 0. */
function narrowed(x: v128, to: i32): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const bits = v128.xor(x, sign);
  const shift = to == 1 ? 13 : 16;
  const odd = v128.and(i32x4.shr_u(bits, shift), i32x4.splat(1));
  const half = i32x4.splat((1 << (shift - 1)) - 1);
  let y = v128.and(i32x4.add(i32x4.add(bits, half), odd), i32x4.splat(-1 << shift));
  let least = i32x4.splat(0x00010000); // 2^-133
  if (to == 1) {
    // Subnormal: adding 0.5 lets the float32 adder round at the right bit.
    const subnormal = f32x4.sub(f32x4.add(bits, f32x4.splat(0.5)), f32x4.splat(0.5));
    y = v128.bitselect(subnormal, y, f32x4.lt(bits, f32x4.splat(reinterpret<f32>(0x38800000))));
    y = v128.bitselect(f32x4.splat(Infinity), y, f32x4.gt(y, f32x4.splat(65504)));
    least = i32x4.splat(0x33800000); // 2^-24
  }
  y = i32x4.max_s(y, v128.and(least, i32x4.gt_s(bits, i32x4.splat(0))));
  return v128.or(y, sign);
}

/** The scale as it is going to be stored. */
// @ts-ignore: decorator
@inline
export function stored(scale: v128, rounding: i32): v128 {
  return rounding ? narrowed(scale, rounding) : scale;
}

/** One over each scale; 0 where float32 has no such number. */
// @ts-ignore: decorator
@inline
export function reciprocalOf(scale: v128): v128 {
  const reciprocal = f32x4.div(f32x4.splat(1), scale);
  return v128.and(reciprocal, f32x4.lt(f32x4.abs(reciprocal), f32x4.splat(Infinity)));
}

/** The value of largest magnitude meets the lowest code; where all are zeros, the first of them tells the sign. */
// @ts-ignore: decorator
@inline
export function extremeScale(low: v128, high: v128, first: v128, middle: v128): v128 {
  const extreme = v128.bitselect(high, low, f32x4.gt(f32x4.abs(high), f32x4.abs(low)));
  const none = f32x4.eq(extreme, f32x4.splat(0));
  return f32x4.div(f32x4.neg(v128.bitselect(first, extreme, none)), middle);
}

/** The range, 0 within it, over the number of steps; halved on the way where float32 has no number that large. */
// @ts-ignore: decorator
@inline
export function rangeScale(low: v128, high: v128, levels: v128): v128 {
  const lowest = f32x4.pmin(f32x4.splat(0), low), most = f32x4.pmax(f32x4.splat(0), high);
  const half = f32x4.splat(0.5);
  const span = f32x4.sub(most, lowest);
  const wide = f32x4.eq(span, f32x4.splat(Infinity));
  const halved = f32x4.sub(f32x4.mul(most, half), f32x4.mul(lowest, half));
  const scale = f32x4.div(v128.bitselect(halved, span, wide), levels);
  return v128.bitselect(f32x4.add(scale, scale), scale, wide);
}

/** The code nearest to where 0 lies; 0 where the scale is 0. */
// @ts-ignore: decorator
@inline
export function rangeZero(low: v128, scale: v128, levels: v128): v128 {
  const none = f32x4.splat(0);
  const zero = rounded(f32x4.pmin(levels, f32x4.pmax(none, f32x4.div(f32x4.neg(f32x4.pmin(none, low)), scale))));
  return v128.and(zero, f32x4.ne(scale, none)); // subnormal bounds over a scale that underflowed
}

/**
 * Parameters of block `b` of up to four rows, `step` bytes apart, of which `count` are there, to `to`: scales,
 * reciprocals and zero points, a lane for each row.
 */
// @ts-ignore: decorator
@inline
function find<B>(
  src: usize, step: usize, count: usize, size: usize, b: usize, scales: usize, zeroPoints: usize, blocks: usize,
  kind: i32, rounding: i32, to: usize,
): void {
  const bits = bitsOf<B>();
  const r1: usize = count > 1 ? step : 0, r2: usize = count > 2 ? step << 1 : r1, r3: usize = count > 3 ? 3 * step : r2;
  const row = blocks << 2;
  const middle = f32x4.splat(<f32>(1 << (bits - 1)));
  let scale: v128, zero: v128 = middle;
  scales += b << 2;
  if (kind == GIVEN) {
    const s1: usize = count > 1 ? row : 0, s2: usize = count > 2 ? row << 1 : s1, s3: usize = count > 3 ? 3 * row : s2;
    scale = gatherLanes(scales, scales + s1, scales + s2, scales + s3);
    const z = zeroPoints + (b << 2);
    zero = gatherLanes(z, z + s1, z + s2, z + s3);
  } else {
    let l0 = f32x4.splat(Infinity), l1 = l0, l2 = l0, l3 = l0;
    let h0 = f32x4.splat(-Infinity), h1 = h0, h2 = h0, h3 = h0;
    const end = src + (size << 2);
    for (let p = src; p < end; p += 16) {
      const x0 = v128.load(p), x1 = v128.load(p + r1), x2 = v128.load(p + r2), x3 = v128.load(p + r3);
      l0 = f32x4.pmin(l0, x0), h0 = f32x4.pmax(h0, x0);
      l1 = f32x4.pmin(l1, x1), h1 = f32x4.pmax(h1, x1);
      l2 = f32x4.pmin(l2, x2), h2 = f32x4.pmax(h2, x2);
      l3 = f32x4.pmin(l3, x3), h3 = f32x4.pmax(h3, x3);
    }
    // Rows to lanes.
    const la = evens(l0, l1), lb = odds(l0, l1), lc = evens(l2, l3), ld = odds(l2, l3);
    const ha = evens(h0, h1), hb = odds(h0, h1), hc = evens(h2, h3), hd = odds(h2, h3);
    const low = f32x4.pmin(f32x4.pmin(lows(la, lc), highs(la, lc)), f32x4.pmin(lows(lb, ld), highs(lb, ld)));
    const high = f32x4.pmax(f32x4.pmax(lows(ha, hc), highs(ha, hc)), f32x4.pmax(lows(hb, hd), highs(hb, hd)));
    if (kind == SYMMETRIC) {
      scale = extremeScale(low, high, gatherLanes(src, src + r1, src + r2, src + r3), middle);
    } else {
      const levels = f32x4.splat(highest<B>());
      scale = rangeScale(low, high, levels);
      zero = rangeZero(low, scale, levels);
      const whole = integers(zero);
      const bytes: usize = (blocks * bits + 7) >> 3;
      const at = zeroPoints + ((b * bits) >> 3), shift = <i32>((b * bits) & 7);
      putZero<B>(at, i32x4.extract_lane(whole, 0), shift);
      if (count > 1) putZero<B>(at + bytes, i32x4.extract_lane(whole, 1), shift);
      if (count > 2) putZero<B>(at + 2 * bytes, i32x4.extract_lane(whole, 2), shift);
      if (count > 3) putZero<B>(at + 3 * bytes, i32x4.extract_lane(whole, 3), shift);
    }
    scale = stored(scale, rounding);
    v128.store32_lane(scales, scale, 0);
    if (count > 1) v128.store32_lane(scales + row, scale, 1);
    if (count > 2) v128.store32_lane(scales + 2 * row, scale, 2);
    if (count > 3) v128.store32_lane(scales + 3 * row, scale, 3);
  }
  v128.store(to, scale);
  v128.store(to, reciprocalOf(scale), 16);
  v128.store(to, zero, 32);
}

/** Codes and sums of a block of `count` rows, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
function encode<B>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, sums: usize, from: usize,
): void {
  for (; count > 0; count--, from += 4, src += step, dst += rowBytes, sums += SUMS) {
    const scale = v128.load32_splat(from), reciprocal = v128.load32_splat(from, 16), zero = v128.load32_splat(from, 32);
    if (valid == size) {
      block<B, i32>(src, dst, size, size, scale, reciprocal, zero, sums);
    } else {
      block<B, bool>(src, dst, size, valid, scale, reciprocal, zero, sums);
      clear<B>(dst, size, valid);
    }
  }
}

// @ts-ignore: decorator
@inline
function putZero<B>(at: usize, code: i32, shift: i32): void {
  if (bitsOf<B>() == 8) {
    store<u8>(at, code);
    return;
  }
  const mask = (1 << bitsOf<B>()) - 1;
  const byte = shift ? <i32>load<u8>(at) : bitsOf<B>() == 4 ? 0x88 : 0xaa;
  store<u8>(at, (byte & ~(mask << shift)) | (code << shift));
}

/** [n, k] in rows `stride` elements apart. */
// @ts-ignore: decorator
@inline
function rows<B>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, kind: i32, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  const rowBytes: usize = (blocks * size * bitsOf<B>()) >> 3;
  const blockBytes: usize = (size * bitsOf<B>()) >> 3;
  const zeroBytes: usize = kind == GIVEN ? blocks << 2 : (blocks * bitsOf<B>() + 7) >> 3;
  const tail = scratch + FOUND;
  for (let r: usize = 0; r < n; r += 4) {
    const count = min<usize>(4, n - r);
    let at = src + ((r * stride) << 2), step = stride << 2;
    let from = at, fromStep = step, to = dst + r * rowBytes;
    // Each block's parameters are found before the block before it is encoded, so that neither waits for the other.
    for (let b: usize = 0; b <= blocks; b++) {
      if (b < blocks) {
        const valid = k - b * size;
        if (valid < size) {
          memory.fill(tail, 0, size << 4);
          for (let i: usize = 0; i < count; i++) memory.copy(tail + ((i * size) << 2), at + i * step, valid << 2);
          at = tail, step = size << 2;
        }
        find<B>(
          at, step, count, size, b, scales + ((r * blocks) << 2), zeroPoints + r * zeroBytes, blocks, kind, rounding,
          scratch + (b & 1) * PARAMETERS,
        );
      }
      if (b > 0) {
        const valid = min(size, k - (b - 1) * size);
        encode<B>(
          from, fromStep, count, size, valid, to, rowBytes, sums + r * SUMS, scratch + (~b & 1) * PARAMETERS,
        );
        to += blockBytes;
      }
      from = at, fromStep = step;
      at += size << 2;
    }
  }
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

/** n columns of [k, stride]. */
// @ts-ignore: decorator
@inline
function columns<B>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, kind: i32, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  const rowBytes: usize = (blocks * size * bitsOf<B>()) >> 3;
  const blockBytes: usize = (size * bitsOf<B>()) >> 3;
  const zeroBytes: usize = kind == GIVEN ? blocks << 2 : (blocks * bitsOf<B>() + 7) >> 3;
  const step = size << 2;
  const panel = scratch + FOUND;
  for (let b: usize = 0; b < blocks; b++, src += (size * stride) << 2, dst += blockBytes) {
    const valid = min(size, k - b * size);
    gather(src, stride << 2, valid, size, n, panel);
    for (let c: usize = 0; c < n + 4; c += 4) {
      if (c < n) {
        find<B>(
          panel + c * step, step, min<usize>(4, n - c), size, b, scales + ((c * blocks) << 2), zeroPoints + c * zeroBytes,
          blocks, kind, rounding, scratch + ((c >> 2) & 1) * PARAMETERS,
        );
      }
      if (c > 0) {
        const last = c - 4;
        encode<B>(
          panel + last * step, step, min<usize>(4, n - last), size, valid, dst + last * rowBytes, rowBytes,
          sums + last * SUMS, scratch + ((last >> 2) & 1) * PARAMETERS,
        );
      }
    }
  }
}

export function quantizeF32N2(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  rows<i8>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function quantizeF32N4(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  rows<i16>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function quantizeF32N8(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  rows<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function quantizeF32N2Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  columns<i8>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function quantizeF32N4Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  columns<i16>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function quantizeF32N8Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): void {
  columns<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, symmetric, rounding);
}

export function encodeF32N2(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  rows<i8>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}

export function encodeF32N4(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  rows<i16>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}

export function encodeF32N8(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  rows<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}

export function encodeF32N2Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  columns<i8>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}

export function encodeF32N4Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  columns<i16>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}

export function encodeF32N8Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize,
): void {
  columns<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, GIVEN, 0);
}
