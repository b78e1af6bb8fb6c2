import { viewOf } from "../../formats/float-types.ts";
import { wordsOf } from "./compressed-layout.ts";

/** What makes all codes of a word unsigned: the highest bit of each turned over, which adds 2^(bits - 1). */
const offsets = { 4: 0x88888888 | 0, 8: 0x80808080 | 0 } as const;

/**
 * Signed codes of some rows as the words of `weight_packed`: unsigned by an offset of 2^(bits - 1), low bits first along a
 * row, zeros in what is left of its last word. Rows do not depend on each other.
 *
 * @param codes as the engine has them, row-major: int8, or int4 two to a byte, low nibble first, flat over all rows
 * @returns [rows, ceil(columns * bits / 32)], written to `into` where it is given (the codes' own memory will do where
 *   rows fill their words)
 */
export function packInt32(
  codes: Int8Array | Uint8Array,
  rows: number,
  columns: number,
  bits: 4 | 8,
  into: Int32Array = new Int32Array(rows * wordsOf(columns, bits)),
): Int32Array {
  const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
  if ((columns * bits) % 32 === 0) {
    const words = viewOf(Int32Array, bytes);
    const offset = offsets[bits];
    for (let i = 0; i < words.length; i++) into[i] = words[i]! ^ offset;
    return into;
  }
  const codeAt = bits === 8 ? (i: number) => bytes[i]! : (i: number) => (bytes[i >> 1]! >> (4 * (i & 1))) & 15;
  return pack(rows, columns, bits, into, (row, column) => codeAt(row * columns + column));
}

/**
 * Signed zero points of some rows as the words of `weight_zero_point`: the same, but down the rows.
 *
 * @param zeroPoints [rows, groups]; the rows begin at a multiple of 32 / bits
 * @returns [ceil(rows * bits / 32), groups]
 */
export function packZeroPoints(zeroPoints: ArrayLike<number>, rows: number, groups: number, bits: 4 | 8): Int32Array {
  const down = wordsOf(rows, bits);
  const words = new Int32Array(down * groups);
  for (let group = 0; group < groups; group++) {
    const column = pack(1, rows, bits, new Int32Array(down), (_, row) => zeroPoints[row * groups + group]!);
    column.forEach((word, i) => {
      words[i * groups + group] = word;
    });
  }
  return words;
}

function pack(
  rows: number,
  columns: number,
  bits: 4 | 8,
  into: Int32Array,
  codeAt: (row: number, column: number) => number,
): Int32Array {
  const width = wordsOf(columns, bits);
  const [mask, highest] = [2 ** bits - 1, 2 ** (bits - 1)];
  into.fill(0, 0, rows * width);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const bit = column * bits;
      into[row * width + (bit >> 5)]! |= ((codeAt(row, column) & mask) ^ highest) << (bit & 31);
    }
  }
  return into;
}

/** The bytes of `weight_shape`. */
export function shapeBytes(shape: readonly number[]): Uint8Array {
  return new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
}
