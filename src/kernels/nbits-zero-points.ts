import type { BlockBits } from "./abi.ts";

// Zero points of blocks as com.microsoft MatMulNBits stores them: [n, ceil(blocks * bits / 8)] bytes, low bits first.

/** A byte of middle codes: what stands beyond the last block of a row. */
const middles: Readonly<Record<BlockBits, number>> = { 2: 0xaa, 4: 0x88, 8: 0x80 };

/**
 * The byte that holds the zero point of block `b` of a row, with `zeroPoint` in its place. Blocks come in order: the first
 * one of a byte fills the rest of it with middle codes.
 */
export function packZeroPoint(byte: number, zeroPoint: number, b: number, bits: BlockBits): number {
  const shift = (b * bits) & 7;
  const before = shift === 0 ? middles[bits] : byte;
  return (before & ~((2 ** bits - 1) << shift)) | (zeroPoint << shift);
}
