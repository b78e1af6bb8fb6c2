import { bitsOf } from "./nbits-codes";
import { WHOLE_BITS, integers } from "./rounding";

// Zero points of blocks as com.microsoft MatMulNBits stores them: [n, ceil(blocks * B / 8)] bytes, low bits first, with the
// middle code beyond the last block.

/** Those of block `b` of `count` rows, a lane each. Blocks come in order. */
// @ts-ignore: decorator
@inline
export function packZeroPoints<B>(zero: v128, zeroPoints: usize, b: usize, blocks: usize, count: usize): void {
  const whole = integers(zero, i32x4.splat(WHOLE_BITS));
  const row: usize = (blocks * bitsOf<B>() + 7) >> 3;
  const bit = b * bitsOf<B>(), at = zeroPoints + (bit >> 3), shift = <i32>(bit & 7);
  put<B>(at, i32x4.extract_lane(whole, 0), shift);
  if (count > 1) put<B>(at + row, i32x4.extract_lane(whole, 1), shift);
  if (count > 2) put<B>(at + 2 * row, i32x4.extract_lane(whole, 2), shift);
  if (count > 3) put<B>(at + 3 * row, i32x4.extract_lane(whole, 3), shift);
}

/** The first code of a byte fills the rest of it with middle codes. */
// @ts-ignore: decorator
@inline
function put<B>(at: usize, code: i32, shift: i32): void {
  if (bitsOf<B>() == 8) {
    store<u8>(at, code);
    return;
  }
  const mask = (1 << bitsOf<B>()) - 1;
  const byte = shift ? <i32>load<u8>(at) : bitsOf<B>() == 4 ? 0x88 : 0xaa;
  store<u8>(at, (byte & ~(mask << shift)) | (code << shift));
}
