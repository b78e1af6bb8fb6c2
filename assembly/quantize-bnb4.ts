import { addSumsOfUnit, square, unitOf } from "./block-error";
import { reciprocalOf, stored } from "./block-parameters";
import { gatherLanes, kept, largestLane, lows } from "./lanes";

// A flat array in blocks of `size`, quantized to 16 levels that lie anywhere, as com.microsoft MatMulBnb4 stores it: of two
// codes in a byte the first is the high nibble; the scale of a block is its largest magnitude, a level's value is restored
// by (value * scale). With u = x * (1 / scale) a level is the number of thresholds that u is above.
//
// `table`: 15 thresholds, ascending, and one more float32 that is not looked at; the values of the 16 levels, float32; their
// 16 codes, bytes. The value of the level that 0 has is 0.
//
// `sums` goes on from call to call, and is what assembly/quantize-nbits.ts says of a row's; places count from the start of a
// block.

/** The lowest bytes of 16 lanes. */
// @ts-ignore: decorator
@inline
function lowest(a: v128, b: v128, c: v128, d: v128): v128 {
  return lows(
    v128.shuffle<i8>(a, b, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0),
    v128.shuffle<i8>(c, d, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0),
  );
}

/** The byte `shift` bits up of each level's value. */
// @ts-ignore: decorator
@inline
function plane(table: usize, shift: i32): v128 {
  return lowest(
    i32x4.shr_u(v128.load(table, 64), shift), i32x4.shr_u(v128.load(table, 80), shift),
    i32x4.shr_u(v128.load(table, 96), shift), i32x4.shr_u(v128.load(table, 112), shift),
  );
}

/**
 * How many thresholds each of four values is above, in all bytes of its lane. Every fourth threshold tells which three are
 * left; these are looked up: float32 by four bytes of a table of four.
 */
// @ts-ignore: decorator
@inline
function levels4(
  u: v128, quarter1: v128, quarter2: v128, quarter3: v128, firsts: v128, seconds: v128, thirds: v128, places: v128,
): v128 {
  const quarter = i8x16.add(i8x16.add(f32x4.gt(u, quarter1), f32x4.gt(u, quarter2)), f32x4.gt(u, quarter3)); // 0 to -3
  const four = i32x4.shl(i8x16.neg(quarter), 2);
  const at = v128.or(four, places);
  let more = i8x16.add(f32x4.gt(u, i8x16.swizzle(firsts, at)), f32x4.gt(u, i8x16.swizzle(seconds, at)));
  more = i8x16.add(more, f32x4.gt(u, i8x16.swizzle(thirds, at)));
  return i8x16.sub(four, more);
}

function block(src: usize, dst: usize, size: usize, scale: v128, sums: usize, table: usize): void {
  const reciprocal = reciprocalOf(scale), unit = unitOf(scale, reciprocal);
  const codes = v128.load(table, 128);
  const t0 = plane(table, 0), t1 = plane(table, 8), t2 = plane(table, 16), t3 = plane(table, 24);
  const quarter1 = v128.load32_splat(table, 12), quarter2 = v128.load32_splat(table, 28);
  const quarter3 = v128.load32_splat(table, 44);
  const firsts = gatherLanes(table, table + 16, table + 32, table + 48);
  const seconds = gatherLanes(table + 4, table + 20, table + 36, table + 52);
  const thirds = gatherLanes(table + 8, table + 24, table + 40, table + 56);
  const magnitude = kept(0x7fffffff, size), places = kept(0x03020100, size);
  let squared = f32x4.splat(0), aa = squared, bb = squared, largest = v128.load(sums, 48);
  for (const end = src + (size << 2); src < end; src += 64, dst += 8) {
    const x0 = v128.load(src), x1 = v128.load(src, 16), x2 = v128.load(src, 32), x3 = v128.load(src, 48);
    const u0 = f32x4.mul(x0, reciprocal), u1 = f32x4.mul(x1, reciprocal);
    const u2 = f32x4.mul(x2, reciprocal), u3 = f32x4.mul(x3, reciprocal);
    const n0 = levels4(u0, quarter1, quarter2, quarter3, firsts, seconds, thirds, places);
    const n1 = levels4(u1, quarter1, quarter2, quarter3, firsts, seconds, thirds, places);
    const n2 = levels4(u2, quarter1, quarter2, quarter3, firsts, seconds, thirds, places);
    const n3 = levels4(u3, quarter1, quarter2, quarter3, firsts, seconds, thirds, places);
    const levels = i8x16.narrow_i16x8_u(
      i16x8.narrow_i32x4_s(i32x4.shr_u(n0, 24), i32x4.shr_u(n1, 24)),
      i16x8.narrow_i32x4_s(i32x4.shr_u(n2, 24), i32x4.shr_u(n3, 24)),
    );

    // 0x0b0a in each i16, a before b: a << 4 | b
    const q = i8x16.swizzle(codes, levels);
    const both = v128.and(v128.or(i16x8.shl(q, 4), i16x8.shr_u(q, 8)), i16x8.splat(0xff));
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(both, both), 0);

    const b0 = i8x16.swizzle(t0, levels), b1 = i8x16.swizzle(t1, levels);
    const b2 = i8x16.swizzle(t2, levels), b3 = i8x16.swizzle(t3, levels);
    const la = v128.shuffle<i8>(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const ha = v128.shuffle<i8>(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const lb = v128.shuffle<i8>(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const hb = v128.shuffle<i8>(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const y0 = f32x4.mul(v128.shuffle<i16>(la, ha, 0, 8, 1, 9, 2, 10, 3, 11), scale);
    const y1 = f32x4.mul(v128.shuffle<i16>(la, ha, 4, 12, 5, 13, 6, 14, 7, 15), scale);
    const y2 = f32x4.mul(v128.shuffle<i16>(lb, hb, 0, 8, 1, 9, 2, 10, 3, 11), scale);
    const y3 = f32x4.mul(v128.shuffle<i16>(lb, hb, 4, 12, 5, 13, 6, 14, 7, 15), scale);
    const e0 = f32x4.sub(x0, y0), e1 = f32x4.sub(x1, y1), e2 = f32x4.sub(x2, y2), e3 = f32x4.sub(x3, y3);
    squared = square(square(squared, f32x4.mul(e0, unit)), f32x4.mul(e1, unit));
    squared = square(square(squared, f32x4.mul(e2, unit)), f32x4.mul(e3, unit));
    aa = square(square(square(square(aa, f32x4.mul(x0, unit)), f32x4.mul(x1, unit)), f32x4.mul(x2, unit)), f32x4.mul(x3, unit));
    bb = square(square(square(square(bb, f32x4.mul(y0, unit)), f32x4.mul(y1, unit)), f32x4.mul(y2, unit)), f32x4.mul(y3, unit));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e0, magnitude)), v128.and(e1, magnitude));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e2, magnitude)), v128.and(e3, magnitude));
  }
  const wide = f64x2.promote_low_f32x4(unit);
  const back = f64x2.div(f64x2.splat(1), f64x2.mul(wide, wide));
  addSumsOfUnit(sums, squared, aa, bb, back);
  v128.store(sums, largest, 48);
}

// @ts-ignore: decorator
@inline
function absMax(src: usize, size: usize): v128 {
  const magnitude = i32x4.splat(0x7fffffff);
  let a = f32x4.splat(0), b = a;
  for (const end = src + (size << 2); src < end; src += 32) {
    a = f32x4.pmax(a, v128.and(v128.load(src), magnitude));
    b = f32x4.pmax(b, v128.and(v128.load(src, 16), magnitude));
  }
  return largestLane(f32x4.pmax(a, b));
}

/** `scratch` takes size elements and size / 2 bytes. */
export function quantizeF32B4(
  src: usize, dst: usize, scales: usize, sums: usize, scratch: usize, table: usize, n: usize, size: usize, rounding: i32,
): void {
  assert(size % 16 == 0);
  const codes = scratch + (size << 2);
  for (; n > 0; scales += 4, src += size << 2, dst += size >> 1) {
    const valid = min(n, size);
    let from = src, to = dst;
    if (valid < size) {
      memory.fill(scratch, 0, size << 2);
      memory.copy(scratch, src, valid << 2);
      from = scratch, to = codes;
    }
    const scale = stored(absMax(from, size), rounding);
    v128.store32_lane(scales, scale, 0);
    block(from, to, size, scale, sums, table);
    if (valid < size) memory.copy(dst, codes, (valid + 1) >> 1);
    n -= valid;
  }
}

