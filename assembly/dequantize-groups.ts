import { load1, load4 } from "./code-storage";

// Codes to float32, over groups (assembly/groups.ts). `Z` is the type of the offsets:
//   i32, asymmetric:    x = (q - zeroPoint) * scale
//   f32, float-offset:  x = (q - lowest) * scale + min

// @ts-ignore: decorator
@inline
function values4<Z>(codes: v128, scale: v128, offset: v128, lowest: v128): v128 {
  if (isFloat<Z>()) return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(codes, lowest)), scale), offset);
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(codes, offset)), scale);
}

// @ts-ignore: decorator
@inline
function run<C, Z>(src: usize, dst: usize, n: usize, scale: v128, offset: v128, lowest: v128): void {
  for (; n >= 16; n -= 16, src += 16 * sizeof<C>(), dst += 64) {
    v128.store(dst, values4<Z>(load4<C>(src), scale, offset, lowest));
    v128.store(dst, values4<Z>(load4<C>(src + 4 * sizeof<C>()), scale, offset, lowest), 16);
    v128.store(dst, values4<Z>(load4<C>(src + 8 * sizeof<C>()), scale, offset, lowest), 32);
    v128.store(dst, values4<Z>(load4<C>(src + 12 * sizeof<C>()), scale, offset, lowest), 48);
  }
  for (; n >= 4; n -= 4, src += 4 * sizeof<C>(), dst += 16) {
    v128.store(dst, values4<Z>(load4<C>(src), scale, offset, lowest));
  }
  for (; n > 0; n--, src += sizeof<C>(), dst += 4) {
    v128.store32_lane(dst, values4<Z>(load1<C>(src), scale, offset, lowest), 0);
  }
}

// @ts-ignore: decorator
@inline
export function rows<C, Z>(
  src: usize, dst: usize, scales: usize, offsets: usize, lowest: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  const lowest4 = i32x4.splat(lowest);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      const n = g == groups ? last : inner;
      run<C, Z>(src, dst, n, v128.load32_splat(scales + p), v128.load32_splat(offsets + p), lowest4);
      src += n * sizeof<C>();
      dst += n << 2;
    }
  }
}

// @ts-ignore: decorator
@inline
function row<C, Z>(src: usize, dst: usize, scales: usize, offsets: usize, lowest: v128, columns: usize): void {
  let n = columns;
  for (; n >= 8; n -= 8, src += 8 * sizeof<C>(), dst += 32, scales += 32, offsets += 32) {
    v128.store(dst, values4<Z>(load4<C>(src), v128.load(scales), v128.load(offsets), lowest));
    v128.store(
      dst, values4<Z>(load4<C>(src + 4 * sizeof<C>()), v128.load(scales, 16), v128.load(offsets, 16), lowest), 16,
    );
  }
  for (; n >= 4; n -= 4, src += 4 * sizeof<C>(), dst += 16, scales += 16, offsets += 16) {
    v128.store(dst, values4<Z>(load4<C>(src), v128.load(scales), v128.load(offsets), lowest));
  }
  for (; n > 0; n--, src += sizeof<C>(), dst += 4, scales += 4, offsets += 4) {
    v128.store32_lane(
      dst, values4<Z>(load1<C>(src), v128.load32_splat(scales), v128.load32_splat(offsets), lowest), 0,
    );
  }
}

// @ts-ignore: decorator
@inline
export function columns<C, Z>(
  src: usize, dst: usize, scales: usize, offsets: usize, lowest: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const lowest4 = i32x4.splat(lowest);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += columns << 2) {
      for (let n = g == groups ? last : inner; n > 0; n--) {
        row<C, Z>(src, dst, scales + p, offsets + p, lowest4, columns);
        src += columns * sizeof<C>();
        dst += columns << 2;
      }
    }
  }
}
