import { byTwo } from "./lanes";

// The codes of one block of a matrix, and what they lose: assembly/nbits.ts says how both are stored.

const MAGIC: f32 = 8388608.0; // 2^23: added to a whole number, it leaves that in the low mantissa bits
const MAGIC_BITS: i32 = 0x4b000000;
/** The float32 below 0.5: added before cutting, it rounds halves up and nothing else. */
const NEARLY_HALF: f32 = reinterpret<f32>(0x3effffff);

// @ts-ignore: decorator
@inline
export function highest<B>(): f32 {
  return <f32>((1 << bitsOf<B>()) - 1);
}

/** The width of codes, told by a type: i8 for 2 bits, i16 for 4, i32 for 8. */
// @ts-ignore: decorator
@inline
export function bitsOf<B>(): i32 {
  return <i32>sizeof<B>() << 1;
}

/** Rounds to the nearest whole number, halves up; 0 <= x < 2^22. */
// @ts-ignore: decorator
@inline
export function rounded(x: v128): v128 {
  return f32x4.trunc(f32x4.add(x, f32x4.splat(NEARLY_HALF)));
}

/** Codes as float32; NaN becomes 0. */
// @ts-ignore: decorator
@inline
export function codes4(x: v128, reciprocal: v128, zero: v128, top: v128): v128 {
  const y = f32x4.add(f32x4.mul(x, reciprocal), zero);
  return rounded(f32x4.pmin(top, f32x4.pmax(f32x4.splat(0), y)));
}

// @ts-ignore: decorator
@inline
export function integers(codes: v128): v128 {
  return i32x4.sub(f32x4.add(codes, f32x4.splat(MAGIC)), i32x4.splat(MAGIC_BITS));
}

/** Sixteen codes, k ascending, packed: 4, 8 or 16 bytes. */
// @ts-ignore: decorator
@inline
function pack<B>(dst: usize, a: v128, b: v128, c: v128, d: v128): void {
  const low = i16x8.narrow_i32x4_s(integers(a), integers(b));
  const high = i16x8.narrow_i32x4_s(integers(c), integers(d));
  const bytes = i8x16.narrow_i16x8_u(low, high);
  if (bitsOf<B>() == 8) {
    v128.store(dst, bytes);
  } else if (bitsOf<B>() == 4) {
    // 0x0h0l in each i16: h << 4 | l
    const pairs = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 4)), i16x8.splat(0xff));
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(pairs, pairs), 0);
  } else {
    const pairs = v128.or(bytes, i16x8.shr_u(bytes, 6)); // 4 bits in each i16, and some above
    const both = v128.and(pairs, i16x8.splat(0x0f));
    const quads = v128.and(v128.or(both, i32x4.shr_u(both, 12)), i32x4.splat(0xff));
    const half = i16x8.narrow_i32x4_s(quads, quads);
    v128.store32_lane(dst, i8x16.narrow_i16x8_u(half, half), 0);
  }
}

/** The sum so far and the squares of four float32 values: lane k mod 2, in order. */
// @ts-ignore: decorator
@inline
export function squares(sum: v128, x: v128): v128 {
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
  return f64x2.add(f64x2.add(sum, f64x2.mul(low, low)), f64x2.mul(high, high));
}

// @ts-ignore: decorator
@inline
function within(from: i32, valid: v128): v128 {
  return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(from)), valid);
}

/** One block of one row: codes and sums. `Tail` is bool where only `valid` of its elements are there. */
// @ts-ignore: decorator
@inline
export function block<B, Tail>(
  src: usize, dst: usize, size: usize, valid: usize, scale: v128, reciprocal: v128, zero: v128, sums: usize,
): void {
  const top = f32x4.splat(highest<B>());
  let squared = v128.load(sums), aa = v128.load(sums, 16);
  let dd = f32x4.splat(0), largest = v128.load(sums, 48);
  const magnitude = i32x4.splat(0x7fffffff);
  const valid4 = i32x4.splat(<i32>valid);
  for (let i: usize = 0; i < size; i += 16, src += 64, dst += bitsOf<B>() << 1) {
    const x0 = v128.load(src), x1 = v128.load(src, 16), x2 = v128.load(src, 32), x3 = v128.load(src, 48);
    const q0 = codes4(x0, reciprocal, zero, top), q1 = codes4(x1, reciprocal, zero, top);
    const q2 = codes4(x2, reciprocal, zero, top), q3 = codes4(x3, reciprocal, zero, top);
    pack<B>(dst, q0, q1, q2, q3);
    let d0 = f32x4.sub(q0, zero), d1 = f32x4.sub(q1, zero), d2 = f32x4.sub(q2, zero), d3 = f32x4.sub(q3, zero);
    let e0 = f32x4.sub(x0, f32x4.mul(d0, scale)), e1 = f32x4.sub(x1, f32x4.mul(d1, scale));
    let e2 = f32x4.sub(x2, f32x4.mul(d2, scale)), e3 = f32x4.sub(x3, f32x4.mul(d3, scale));
    if (isBoolean<Tail>()) {
      const m0 = within(<i32>i, valid4), m1 = within(<i32>i + 4, valid4);
      const m2 = within(<i32>i + 8, valid4), m3 = within(<i32>i + 12, valid4);
      d0 = v128.and(d0, m0), d1 = v128.and(d1, m1), d2 = v128.and(d2, m2), d3 = v128.and(d3, m3);
      e0 = v128.and(e0, m0), e1 = v128.and(e1, m1), e2 = v128.and(e2, m2), e3 = v128.and(e3, m3);
    }
    squared = squares(squares(squares(squares(squared, e0), e1), e2), e3);
    aa = squares(squares(squares(squares(aa, x0), x1), x2), x3);
    dd = f32x4.add(f32x4.add(dd, f32x4.mul(d0, d0)), f32x4.mul(d1, d1));
    dd = f32x4.add(f32x4.add(dd, f32x4.mul(d2, d2)), f32x4.mul(d3, d3));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e0, magnitude)), v128.and(e1, magnitude));
    largest = f32x4.pmax(f32x4.pmax(largest, v128.and(e2, magnitude)), v128.and(e3, magnitude));
  }
  v128.store(sums, squared);
  v128.store(sums, aa, 16);
  const unit = f64x2.promote_low_f32x4(scale);
  const pairs = f64x2.promote_low_f32x4(f32x4.add(dd, byTwo(dd)));
  v128.store(sums, f64x2.add(v128.load(sums, 32), f64x2.mul(pairs, f64x2.mul(unit, unit))), 32);
  v128.store(sums, largest, 48);
}

/** Zeros from element `valid` of a block on. */
export function clear<B>(dst: usize, size: usize, valid: usize): void {
  let at = (valid * bitsOf<B>()) >> 3;
  const rest = (valid * bitsOf<B>()) & 7;
  if (rest) {
    const mask: i32 = (1 << (<i32>rest)) - 1;
    store<u8>(dst + at, <u8>(<i32>load<u8>(dst + at) & mask));
    at++;
  }
  memory.fill(dst + at, 0, ((size * bitsOf<B>()) >> 3) - at);
}
