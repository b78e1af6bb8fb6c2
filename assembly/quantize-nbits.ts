import { bitsOf, encode } from "./nbits-codes";
import { SUMS, encodeWithError } from "./nbits-codes-with-error";
import { FOUND, GIVEN, PARAMETERS, find, mayHoldNonFinite } from "./nbits-parameters";
import { holdsNonFinite } from "./range";
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
// Three kernels, each over rows and over columns: `quantize` finds scales and zero points, `encode` takes those given, both
// add up what is lost; `pack` finds them and leaves sums alone, which is faster.
//
// `sums` takes 64 bytes for each row of the result, added to what is there (the caller starts with zeros): two float64 each
//   of the squared error, of x^2 and of the square of what is restored. Over a block they are summed in float32, k ascending,
//   lanes k mod 4, of (value * unit)^2 (assembly/block-error.ts says what unit: 1 unless scales are very small or large).
//   Lanes 0 + 2 and 1 + 3 of that times 1 / unit^2, in float64, are added;
// and 4 float32, the largest error of k mod 4, NaN skipped. NaN and infinities show in x^2: where scales are found here or by
// assembly/nbits-search.ts nothing finite overflows.
//
// The type `B` tells the width of codes, i8 for 2 bits, i16 for 4, i32 for 8; `Sums` is bool where there are none.

/** Codes, and what they lose, of a block of `count` rows `step` bytes apart, with the parameters at `from`. */
// @ts-ignore: decorator
@inline
function write<B, Sums>(
  src: usize, step: usize, count: usize, size: usize, valid: usize, dst: usize, rowBytes: usize, sums: usize, from: usize,
): void {
  if (isBoolean<Sums>()) encode<B>(src, step, count, size, valid, dst, rowBytes, from);
  else encodeWithError<B>(src, step, count, size, valid, dst, rowBytes, sums, from);
}

/** Bytes of a row's zero points. */
// @ts-ignore: decorator
@inline
function zeroPointBytes<B>(blocks: usize, kind: i32): usize {
  return kind == GIVEN ? blocks << 2 : (blocks * bitsOf<B>() + 7) >> 3;
}

/** Bytes of n codes. */
// @ts-ignore: decorator
@inline
function codeBytes<B>(n: usize): usize {
  return (n * bitsOf<B>()) >> 3;
}

/** [n, k] in rows `stride` elements apart, four rows at a time. */
function rows<B, Sums>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, kind: i32, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  const rowBytes = codeBytes<B>(blocks * size), blockBytes = codeBytes<B>(size);
  const zeroBytes = zeroPointBytes<B>(blocks, kind);
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
        find<B, Sums>(
          at, step, count, size, b, scales + ((r * blocks) << 2), zeroPoints + r * zeroBytes, blocks, kind, rounding,
          scratch + (b & 1) * PARAMETERS,
        );
      }
      if (b > 0) {
        const valid = min(size, k - (b - 1) * size);
        write<B, Sums>(from, fromStep, count, size, valid, to, rowBytes, sums + r * SUMS, scratch + (~b & 1) * PARAMETERS);
        to += blockBytes;
      }
      from = at, fromStep = step;
      at += size << 2;
    }
  }
}

/** n columns of [k, stride], a row of blocks at a time. */
function columns<B, Sums>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, kind: i32, rounding: i32,
): void {
  const blocks = (k + size - 1) / size;
  const rowBytes = codeBytes<B>(blocks * size), blockBytes = codeBytes<B>(size);
  const zeroBytes = zeroPointBytes<B>(blocks, kind);
  const step = size << 2;
  const panel = scratch + FOUND;
  for (let b: usize = 0; b < blocks; b++, src += (size * stride) << 2, dst += blockBytes) {
    const valid = min(size, k - b * size);
    gather(src, stride << 2, valid, size, n, panel);
    for (let c: usize = 0; c < n + 4; c += 4) {
      if (c < n) {
        find<B, Sums>(
          panel + c * step, step, min<usize>(4, n - c), size, b, scales + ((c * blocks) << 2), zeroPoints + c * zeroBytes,
          blocks, kind, rounding, scratch + ((c >> 2) & 1) * PARAMETERS,
        );
      }
      if (c > 0) {
        const last = c - 4;
        write<B, Sums>(
          panel + last * step, step, min<usize>(4, n - last), size, valid, dst + last * rowBytes, rowBytes,
          sums + last * SUMS, scratch + ((last >> 2) & 1) * PARAMETERS,
        );
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function rowsOfBits<Sums>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, kind: i32, rounding: i32,
): void {
  assert((bits == 2 || bits == 4 || bits == 8) && size % 16 == 0);
  if (bits == 2) rows<i8, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
  else if (bits == 4) rows<i16, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
  else rows<i32, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
}

// @ts-ignore: decorator
@inline
function columnsOfBits<Sums>(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, kind: i32, rounding: i32,
): void {
  assert((bits == 2 || bits == 4 || bits == 8) && size % 16 == 0);
  if (bits == 2) columns<i8, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
  else if (bits == 4) columns<i16, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
  else columns<i32, Sums>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, kind, rounding);
}

export function quantizeF32N(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32,
): void {
  rowsOfBits<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, symmetric, rounding);
}

export function quantizeF32NColumns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32,
): void {
  columnsOfBits<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, symmetric, rounding);
}

export function encodeF32N(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32,
): void {
  rowsOfBits<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, GIVEN, 0);
}

export function encodeF32NColumns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32,
): void {
  columnsOfBits<i32>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, GIVEN, 0);
}

/** Not 0 if a NaN or an infinity was met; codes, scales and zero points are then of no use. */
export function packF32N(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32,
): i32 {
  memory.fill(scratch, 0, FOUND);
  rowsOfBits<bool>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, symmetric, rounding);
  return mayHoldNonFinite(scratch) && holdsNonFinite(src, n, k, stride);
}

export function packF32NColumns(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, sums: usize, scratch: usize,
  n: usize, k: usize, stride: usize, size: usize, bits: i32, symmetric: i32, rounding: i32,
): i32 {
  memory.fill(scratch, 0, FOUND);
  columnsOfBits<bool>(src, dst, scales, zeroPoints, sums, scratch, n, k, stride, size, bits, symmetric, rounding);
  return mayHoldNonFinite(scratch) && holdsNonFinite(src, k, n, stride);
}
