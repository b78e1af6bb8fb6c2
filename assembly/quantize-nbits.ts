import { bitsOf } from "./nbits-codes";
import { anyBlock, block } from "./nbits-codes-with-error";
import { FOUND, GIVEN, PARAMETERS, find } from "./nbits-parameters";
import { gather } from "./transpose";

// Matrices quantized in blocks of `size` along K, as com.microsoft MatMulNBits and GatherBlockQuantized store them:
// codes of B bits [n, blocks, size * B / 8], low bits first, 0 beyond K; scales [n, blocks]; zero points of B bits
// [n, ceil(blocks * B / 8)], low bits first, the middle code beyond the last block.
//
//   q = clamp(roundf(x * (1 / scale) + zeroPoint), 0, 2^B - 1)     restored: (q - zeroPoint) * scale
//
// float32 at every step, no fused multiplication, roundf away from zero on ties: ONNX Runtime's packer, for which these
// are right: a reciprocal that is no finite number (scale 0, or as good as 0) counts as 0, so that all codes are zero points.
//
// `sums` takes 64 bytes for each row of the result, added to what is there (the caller starts with zeros): two float64 each
//   of the squared error, of x^2 and of the square of what is restored. Over a block they are summed in float32, k ascending,
//   lanes k mod 4, of (value * unit)^2 (assembly/block-error.ts says what unit: 1 unless scales are very small or large). Lanes 0 + 2 and 1 + 3 of
//   that times 1 / unit^2, in float64, are added;
// and 4 float32, the largest error of k mod 4, NaN skipped. NaN and infinities show in x^2: where scales are found here or by
// assembly/nbits-search.ts nothing finite overflows.

const SUMS: usize = 64;
/** Codes and sums of a block of `count` rows, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
function encode<B>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, sums: usize, from: usize,
): void {
  for (let back = from + 64; count > 0; count--, from += 4, back += 8, src += step, dst += rowBytes, sums += SUMS) {
    if (valid == size && load<f32>(from, 48) == 1) {
      const scale = v128.load32_splat(from), reciprocal = v128.load32_splat(from, 16), zero = v128.load32_splat(from, 32);
      if (block<B>(src, dst, size, scale, reciprocal, zero, sums)) continue;
    }
    anyBlock<B>(
      src, dst, size, valid, load<f32>(from), load<f32>(from, 16), load<f32>(from, 32), load<f32>(from, 48), load<f64>(back), sums,
    );
  }
}

/** [n, k] in rows `stride` elements apart. */
function rows<B>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, kind: i32, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  const rowBytes: usize = (blocks * size * bitsOf<B>()) >> 3;
  const blockBytes: usize = (size * bitsOf<B>()) >> 3;
  const zeroBytes: usize = kind == GIVEN ? blocks << 2 : (blocks * bitsOf<B>() + 7) >> 3;
  const padded = scratch + FOUND;
  for (let r: usize = 0; r < n; r += 4) {
    const count = min<usize>(4, n - r);
    let at = src + ((r * stride) << 2), step = stride << 2;
    let from = at, fromStep = step, to = dst + r * rowBytes;
    // Each block's parameters are found before the block before it is encoded, so that neither waits for the other.
    for (let b: usize = 0; b <= blocks; b++) {
      if (b < blocks) {
        const valid = k - b * size;
        if (valid < size) {
          memory.fill(padded, 0, size << 4);
          for (let i: usize = 0; i < count; i++) memory.copy(padded + ((i * size) << 2), at + i * step, valid << 2);
          at = padded, step = size << 2;
        }
        find<B, i32>(
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
        find<B, i32>(
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
