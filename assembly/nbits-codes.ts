import { kept } from "./lanes";
import { FOUND, PARAMETERS, find } from "./nbits-parameters";
import { CUT, CUT_BITS, NEARLY_HALF_BITS, sixteenthsHalfUp } from "./rounding";
import { gather } from "./transpose";

// Matrices in blocks as assembly/quantize-nbits.ts has them, byte for byte, without its sums: for callers who do not ask what was
// lost. What these return is not 0 if a NaN or an infinity was met; codes, scales and zero points are then of no use.

/** Sixteen codes, a byte each. */
// @ts-ignore: decorator
@inline
function sixteen(src: usize, reciprocal: v128, zero: v128, half: v128, cut: v128, bits: v128): v128 {
  const a = sixteenthsHalfUp(v128.load(src), reciprocal, zero, half, cut, bits);
  const b = sixteenthsHalfUp(v128.load(src, 16), reciprocal, zero, half, cut, bits);
  const c = sixteenthsHalfUp(v128.load(src, 32), reciprocal, zero, half, cut, bits);
  const d = sixteenthsHalfUp(v128.load(src, 48), reciprocal, zero, half, cut, bits);
  return i8x16.narrow_i16x8_u(
    i16x8.shr_s(i16x8.narrow_i32x4_s(a, b), 4), i16x8.shr_s(i16x8.narrow_i32x4_s(c, d), 4),
  );
}

/** Bytes 0x0h 0x0l, l first, to 0xhl in each i16. */
// @ts-ignore: decorator
@inline
function pairs(q: v128, top: v128, ones: v128): v128 {
  q = i8x16.min_u(q, top);
  return v128.and(v128.or(q, i16x8.shr_u(q, 4)), ones);
}

/** Sixteen codes of 2 bits, packed. */
// @ts-ignore: decorator
@inline
function store2(dst: usize, q: v128): void {
  const both = v128.and(v128.or(q, i16x8.shr_u(q, 6)), i16x8.splat(0x0f));
  const quads = v128.and(v128.or(both, i32x4.shr_u(both, 12)), i32x4.splat(0xff));
  const halves = i16x8.narrow_i32x4_s(quads, quads);
  v128.store32_lane(dst, i8x16.narrow_i16x8_u(halves, halves), 0);
}

// @ts-ignore: decorator
@inline
export function highest<B>(): f32 {
  return <f32>((1 << bitsOf<B>()) - 1);
}

/** The width of codes, told by a type: i8 for 2 bits, i16 for 4, i32 for 8. */
// @ts-ignore: decorator
@inline
export function bitsOf<B>(): i32 {
  return <i32>sizeof<B>() << 1;
}

/** Packs sixteen codes, k ascending: 4, 8 or 16 bytes. */
// @ts-ignore: decorator
@inline
export function pack<B>(dst: usize, bytes: v128): void {
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

/** Zeros from element `valid` of a block on. */
export function clear<B>(dst: usize, size: usize, valid: usize): void {
  let at = (valid * bitsOf<B>()) >> 3;
  const rest = (valid * bitsOf<B>()) & 7;
  if (rest) {
    const mask: i32 = (1 << (<i32>rest)) - 1;
    store<u8>(dst + at, <u8>(<i32>load<u8>(dst + at) & mask));
    at++;
  }
  memory.fill(dst + at, 0, ((size * bitsOf<B>()) >> 3) - at);
}

/** Codes of a block of `count` rows, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
function encode<B>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, from: usize,
): void {
  const half = kept(NEARLY_HALF_BITS, size), cut = kept(CUT, size), bits = kept(CUT_BITS, size);
  const top = kept(0x01010101 * <i32>highest<B>(), size), ones = kept(0x00ff00ff, size);
  for (; count > 0; count--, from += 4, src += step, dst += rowBytes) {
    const reciprocal = v128.load32_splat(from, 16), zero = v128.load32_splat(from, 32);
    let to = dst;
    let p = src;
    const end = src + (size << 2);
    if (bitsOf<B>() == 4) {
      for (; p + 128 <= end; p += 128, to += 16) {
        const low = sixteen(p, reciprocal, zero, half, cut, bits), high = sixteen(p + 64, reciprocal, zero, half, cut, bits);
        v128.store(to, i8x16.narrow_i16x8_u(pairs(low, top, ones), pairs(high, top, ones)));
      }
    }
    for (; p < end; p += 64, to += bitsOf<B>() << 1) {
      const q = sixteen(p, reciprocal, zero, half, cut, bits);
      if (bitsOf<B>() == 8) {
        v128.store(to, q);
      } else if (bitsOf<B>() == 4) {
        const both = pairs(q, top, ones);
        v128.store64_lane(to, i8x16.narrow_i16x8_u(both, both), 0);
      } else {
        store2(to, i8x16.min_u(q, top));
      }
    }
    if (valid < size) clear<B>(dst, size, valid);
  }
}

/** Whether a value may be NaN or infinite: their sums are then, and those of large values, too. */
function wrong(scratch: usize): i32 {
  const sum = f32x4.add(v128.load(scratch, 48), v128.load(scratch + PARAMETERS, 48));
  return i32(!i32x4.all_true(f32x4.lt(f32x4.abs(sum), f32x4.splat(Infinity))));
}

/** Whether a value of `rows` rows of n values, `stride` elements apart, is NaN or infinite. */
function notFinite(src: usize, rows: usize, n: usize, stride: usize): i32 {
  for (; rows > 0; rows--, src += stride << 2) {
    for (let p = src, end = src + (n << 2); p < end; p += 4) if (!isFinite(load<f32>(p))) return 1;
  }
  return 0;
}

/** [n, k] in rows `stride` elements apart. */
// @ts-ignore: decorator
@inline
function rows<B>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  const blocks = (k + size - 1) / size;
  const rowBytes: usize = (blocks * size * bitsOf<B>()) >> 3;
  const blockBytes: usize = (size * bitsOf<B>()) >> 3;
  const zeroBytes: usize = (blocks * bitsOf<B>() + 7) >> 3;
  const tail = scratch + FOUND;
  memory.fill(scratch, 0, FOUND);
  for (let r: usize = 0; r < n; r += 4) {
    const count = min<usize>(4, n - r);
    let at = src + ((r * stride) << 2), step = stride << 2;
    let from = at, fromStep = step, to = dst + r * rowBytes;
    for (let b: usize = 0; b <= blocks; b++) {
      if (b < blocks) {
        const valid = k - b * size;
        if (valid < size) {
          memory.fill(tail, 0, size << 4);
          for (let i: usize = 0; i < count; i++) memory.copy(tail + ((i * size) << 2), at + i * step, valid << 2);
          at = tail, step = size << 2;
        }
        find<B, bool>(
          at, step, count, size, b, scales + ((r * blocks) << 2), zeroPoints + r * zeroBytes, blocks, symmetric, rounding,
          scratch + (b & 1) * PARAMETERS,
        );
      }
      if (b > 0) {
        const valid = min(size, k - (b - 1) * size);
        encode<B>(from, fromStep, count, size, valid, to, rowBytes, scratch + (~b & 1) * PARAMETERS);
        to += blockBytes;
      }
      from = at, fromStep = step;
      at += size << 2;
    }
  }
  return wrong(scratch) && notFinite(src, n, k, stride);
}

/** n columns of [k, stride]. */
// @ts-ignore: decorator
@inline
function columns<B>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  const blocks = (k + size - 1) / size;
  const rowBytes: usize = (blocks * size * bitsOf<B>()) >> 3;
  const blockBytes: usize = (size * bitsOf<B>()) >> 3;
  const zeroBytes: usize = (blocks * bitsOf<B>() + 7) >> 3;
  const step = size << 2;
  const panel = scratch + FOUND, from = src;
  memory.fill(scratch, 0, FOUND);
  for (let b: usize = 0; b < blocks; b++, src += (size * stride) << 2, dst += blockBytes) {
    const valid = min(size, k - b * size);
    gather(src, stride << 2, valid, size, n, panel);
    for (let c: usize = 0; c < n + 4; c += 4) {
      if (c < n) {
        find<B, bool>(
          panel + c * step, step, min<usize>(4, n - c), size, b, scales + ((c * blocks) << 2), zeroPoints + c * zeroBytes,
          blocks, symmetric, rounding, scratch + ((c >> 2) & 1) * PARAMETERS,
        );
      }
      if (c > 0) {
        const last = c - 4;
        encode<B>(
          panel + last * step, step, min<usize>(4, n - last), size, valid, dst + last * rowBytes, rowBytes,
          scratch + ((last >> 2) & 1) * PARAMETERS,
        );
      }
    }
  }
  return wrong(scratch) && notFinite(from, k, n, stride);
}

export function packF32N2(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return rows<i8>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}

export function packF32N4(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return rows<i16>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}

export function packF32N8(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return rows<i32>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}

export function packF32N2Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return columns<i8>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}

export function packF32N4Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return columns<i16>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}

export function packF32N8Columns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, _sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, symmetric: i32, rounding: i32,
): i32 {
  return columns<i32>(src, dst, scales, zeroPoints, scratch, n, k, stride, size, symmetric, rounding);
}
