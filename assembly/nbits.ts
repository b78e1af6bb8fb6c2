import { bitsOf, block, clear, highest, integers } from "./codes";
import { extremeScale, rangeScale, rangeZero, reciprocalOf, stored } from "./parameters";
import { evens, gather, gatherLanes, highs, lows, odds } from "./transpose";

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
/** What there is of a block's parameters before it is quantized. */
const SYMMETRIC: i32 = 1, GIVEN: i32 = 2;

/** Bytes of the parameters of four rows, and of two sets of them, which stand before all else in the scratch. */
const PARAMETERS: usize = 48, FOUND: usize = 128;

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
