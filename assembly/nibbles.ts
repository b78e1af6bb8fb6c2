// 4-bit codes, two to a byte, low nibble first, packed flat over the whole tensor. The kernels of quantize-groups.ts and
// dequantize-groups.ts work on one code a byte; these go between. `odd` is 1 when the first code belongs in a high nibble: the
// byte at dst (src when unpacking) is then shared with the code before it, which is kept.

/** Bytes 0x0l 0x0h to 0xhl in each i16. `ones` is 0x00ff in each. */
// @ts-ignore: decorator
@inline
export function nibblePairs(codes: v128, ones: v128): v128 {
  return v128.and(v128.or(codes, i16x8.shr_u(codes, 4)), ones);
}

// @ts-ignore: decorator
@inline
function sixteen(src: usize): v128 {
  return nibblePairs(v128.and(v128.load(src), i16x8.splat(0x0f0f)), i16x8.splat(0xff));
}

export function packNibbles(src: usize, dst: usize, n: usize, odd: i32): void {
  if (odd && n > 0) {
    store<u8>(dst, (load<u8>(dst) & 0x0f) | (load<u8>(src) << 4));
    src++;
    dst++;
    n--;
  }
  for (; n >= 32; n -= 32, src += 32, dst += 16) {
    v128.store(dst, i8x16.narrow_i16x8_u(sixteen(src), sixteen(src + 16)));
  }
  for (; n >= 2; n -= 2, src += 2, dst++) store<u8>(dst, (load<u8>(src) & 0x0f) | (load<u8>(src, 1) << 4));
  if (n > 0) store<u8>(dst, load<u8>(src) & 0x0f);
}

/** Sign-extends the 4-bit value in each byte if C is signed. */
// @ts-ignore: decorator
@inline
function extend<C>(codes: v128): v128 {
  const eight = i8x16.splat(8);
  return isSigned<C>() ? i8x16.sub(v128.xor(codes, eight), eight) : codes;
}

// @ts-ignore: decorator
@inline
function extend1<C>(code: u8): u8 {
  return isSigned<C>() ? (code ^ 8) - 8 : code;
}

// @ts-ignore: decorator
@inline
function unpack<C>(src: usize, dst: usize, n: usize, odd: i32): void {
  if (odd && n > 0) {
    store<u8>(dst, extend1<C>(load<u8>(src) >> 4));
    src++;
    dst++;
    n--;
  }
  for (; n >= 32; n -= 32, src += 16, dst += 32) {
    const bytes = v128.load(src);
    const low = extend<C>(v128.and(bytes, i8x16.splat(0x0f)));
    const high = extend<C>(v128.and(i16x8.shr_u(bytes, 4), i8x16.splat(0x0f)));
    // l0 l1 l2 .. and h0 h1 h2 .. interleave to l0 h0 l1 h1 ..
    v128.store(dst, v128.shuffle<i8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    v128.store(dst, v128.shuffle<i8>(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 16);
  }
  for (; n >= 2; n -= 2, src++, dst += 2) {
    store<u8>(dst, extend1<C>(load<u8>(src) & 0x0f));
    store<u8>(dst, extend1<C>(load<u8>(src) >> 4), 1);
  }
  if (n > 0) store<u8>(dst, extend1<C>(load<u8>(src) & 0x0f));
}

export function unpackI4(src: usize, dst: usize, n: usize, odd: i32): void {
  unpack<i8>(src, dst, n, odd);
}

export function unpackU4(src: usize, dst: usize, n: usize, odd: i32): void {
  unpack<u8>(src, dst, n, odd);
}
