import { bitsOf } from "./nbits-codes";

// @ts-ignore: decorator
@inline
export function packZeroPoint<B>(at: usize, code: i32, shift: i32): void {
  if (bitsOf<B>() == 8) {
    store<u8>(at, code);
    return;
  }
  const mask = (1 << bitsOf<B>()) - 1;
  const byte = shift ? <i32>load<u8>(at) : bitsOf<B>() == 4 ? 0x88 : 0xaa;
  store<u8>(at, (byte & ~(mask << shift)) | (code << shift));
}
