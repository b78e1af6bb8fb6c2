// What halves do not hold of the float32 values they were made of.

/**
 * Adds to three int32 counters at `out`: values other than 0 that became 0, values other than what their halves stand for
 * (`restored`) where these are below the smallest normal one, and halves with all bits of the `exponent` set: infinities and
 * NaN. At most 262,000 values a call: lanes count in 16 bits.
 *
 *   values     x0 x1 x2 x3 | x4 x5 x6 x7
 *   restored   y0 y1 y2 y3 | y4 y5 y6 y7
 *   halves     h0 h1 h2 h3   h4 h5 h6 h7
 */
export function countF32Halves(values: usize, halves: usize, restored: usize, out: usize, n: i32, exponent: i32): void {
  assert(n <= 262144);
  const all = i16x8.splat(<i16>exponent);
  const magnitude = i16x8.splat(0x7fff);
  const zero = i64x2.splat(0);
  let lost = zero;
  let small = zero;
  let special = zero;
  const whole = n & ~7;
  for (let i: usize = 0; i < <usize>whole; i += 8) {
    const h = v128.load(halves + 2 * i);
    const e = v128.and(h, all);
    const none = i16x8.eq(v128.and(h, magnitude), zero);
    const x = v128.load(values + 4 * i);
    const y = v128.load(values + 4 * i, 16);
    const differs = i16x8.narrow_i32x4_s(
      f32x4.ne(x, v128.load(restored + 4 * i)),
      f32x4.ne(y, v128.load(restored + 4 * i, 16)),
    );
    lost = i16x8.sub(lost, v128.and(none, differs));
    small = i16x8.sub(small, v128.and(v128.andnot(i16x8.eq(e, zero), none), differs));
    special = i16x8.sub(special, i16x8.eq(e, all));
  }
  let a = sumOf(lost);
  let b = sumOf(small);
  let c = sumOf(special);
  for (let i: usize = whole; i < <usize>n; i++) {
    const h = <i32>load<u16>(halves + 2 * i);
    const e = h & exponent;
    const differs = i32(load<f32>(values + 4 * i) != load<f32>(restored + 4 * i));
    if ((h & 0x7fff) == 0) a += differs;
    else if (e == 0) b += differs;
    else if (e == exponent) c++;
  }
  store<i32>(out, load<i32>(out) + a);
  store<i32>(out, load<i32>(out, 4) + b, 4);
  store<i32>(out, load<i32>(out, 8) + c, 8);
}

/** Of unsigned 16-bit lanes. */
// @ts-ignore: decorator
@inline
function sumOf(counts: v128): i32 {
  const pairs = i32x4.extadd_pairwise_i16x8_u(counts);
  return (
    i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1) +
    i32x4.extract_lane(pairs, 2) + i32x4.extract_lane(pairs, 3)
  );
}
