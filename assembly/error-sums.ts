// What quantization cost: a against b, five float64 results for each group g, added to what `out` holds already
// (the caller starts with zeros):
//
//   out[0 * count + g]  sum (a - b)^2        out[3 * count + g]  sum b^2
//   out[1 * count + g]  sum a * b            out[4 * count + g]  max |a - b|, NaN skipped
//   out[2 * count + g]  sum a^2
//
// Sums are taken in float64 in a stated order, so that the reference and any split into calls agree to the bit. Along a run:
// chunks of 65,536 elements from its start; in a chunk element i goes to lane i mod 4, the lanes fold as
// (0 + 2) + (1 + 3), the rest (chunk length mod 4) is added one by one, the chunk's sum is added to `out`.
// Along a column: element by element, straight into `out`.

const CHUNK: usize = 65536;

// @ts-ignore: decorator
@inline
function upper(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
}

/** Lanes (0, 1) and (2, 3) to (0 + 2) + (1 + 3). */
// @ts-ignore: decorator
@inline
function fold(a: v128, b: v128): f64 {
  const sum = f64x2.add(a, b);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

// @ts-ignore: decorator
@inline
function accumulate(out: usize, value: f64): void {
  store<f64>(out, load<f64>(out) + value);
}

function chunk(a: usize, b: usize, out: usize, stride: usize, n: usize): void {
  // Two accumulators a sum: nine in all with the largest, which leaves registers for the arithmetic.
  const zero = f64x2.splat(0);
  let e0 = zero, e1 = zero, d0 = zero, d1 = zero, s0 = zero, s1 = zero, t0 = zero, t1 = zero, top = zero;
  for (; n >= 4; n -= 4, a += 16, b += 16) {
    const x = v128.load(a), y = v128.load(b);
    let p = f64x2.promote_low_f32x4(x), q = f64x2.promote_low_f32x4(y);
    let e = f64x2.sub(p, q);
    e0 = f64x2.add(e0, f64x2.mul(e, e));
    d0 = f64x2.add(d0, f64x2.mul(p, q));
    s0 = f64x2.add(s0, f64x2.mul(p, p));
    t0 = f64x2.add(t0, f64x2.mul(q, q));
    top = f64x2.pmax(top, f64x2.abs(e));
    p = upper(x), q = upper(y);
    e = f64x2.sub(p, q);
    e1 = f64x2.add(e1, f64x2.mul(e, e));
    d1 = f64x2.add(d1, f64x2.mul(p, q));
    s1 = f64x2.add(s1, f64x2.mul(p, p));
    t1 = f64x2.add(t1, f64x2.mul(q, q));
    top = f64x2.pmax(top, f64x2.abs(e));
  }
  let squared = fold(e0, e1), dot = fold(d0, d1), aa = fold(s0, s1), bb = fold(t0, t1);
  let largest = max(f64x2.extract_lane(top, 0), f64x2.extract_lane(top, 1));
  for (; n > 0; n--, a += 4, b += 4) {
    const p = <f64>load<f32>(a), q = <f64>load<f32>(b);
    const e = p - q;
    squared += e * e;
    dot += p * q;
    aa += p * p;
    bb += q * q;
    largest = abs(e) > largest ? abs(e) : largest;
  }
  accumulate(out, squared);
  accumulate(out + stride, dot);
  accumulate(out + 2 * stride, aa);
  accumulate(out + 3 * stride, bb);
  if (largest > load<f64>(out + 4 * stride)) store<f64>(out + 4 * stride, largest);
}

export function errorF32(
  a: usize, b: usize, out: usize, count: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 3; g <= groups; g++, p += 8) {
      for (let left = g == groups ? last : inner; left > 0; ) {
        const n = min(left, CHUNK);
        chunk(a, b, out + p, count << 3, n);
        a += n << 2, b += n << 2, left -= n;
      }
    }
  }
}

/** The first, third and last of the sums alone, over one run: `out` holds three. Half the arithmetic. */
export function lossF32(a: usize, b: usize, out: usize, n: usize): void {
  for (; n > 0; ) {
    const length = min(n, CHUNK);
    lossOfChunk(a, b, out, length);
    a += length << 2;
    b += length << 2;
    n -= length;
  }
}

function lossOfChunk(a: usize, b: usize, out: usize, n: usize): void {
  const zero = f64x2.splat(0);
  let e0 = zero, e1 = zero, s0 = zero, s1 = zero, top0 = zero, top1 = zero;
  for (; n >= 4; n -= 4, a += 16, b += 16) {
    const x = v128.load(a), y = v128.load(b);
    const p0 = f64x2.promote_low_f32x4(x), p1 = upper(x);
    const d0 = f64x2.sub(p0, f64x2.promote_low_f32x4(y)), d1 = f64x2.sub(p1, upper(y));
    e0 = f64x2.add(e0, f64x2.mul(d0, d0));
    e1 = f64x2.add(e1, f64x2.mul(d1, d1));
    s0 = f64x2.add(s0, f64x2.mul(p0, p0));
    s1 = f64x2.add(s1, f64x2.mul(p1, p1));
    top0 = f64x2.pmax(top0, f64x2.abs(d0));
    top1 = f64x2.pmax(top1, f64x2.abs(d1));
  }
  let squared = fold(e0, e1), aa = fold(s0, s1);
  top0 = f64x2.pmax(top0, top1);
  let largest = max(f64x2.extract_lane(top0, 0), f64x2.extract_lane(top0, 1));
  for (; n > 0; n--, a += 4, b += 4) {
    const p = <f64>load<f32>(a);
    const e = p - <f64>load<f32>(b);
    squared += e * e;
    aa += p * p;
    largest = abs(e) > largest ? abs(e) : largest;
  }
  accumulate(out, squared);
  accumulate(out + 8, aa);
  if (largest > load<f64>(out, 16)) store<f64>(out, largest, 16);
}

// @ts-ignore: decorator
@inline
function add2(out: usize, value: v128): void {
  v128.store(out, f64x2.add(v128.load(out), value));
}

/** Two columns of a row. */
// @ts-ignore: decorator
@inline
function two(p: v128, q: v128, out: usize, stride: usize): void {
  const e = f64x2.sub(p, q);
  add2(out, f64x2.mul(e, e));
  add2(out + stride, f64x2.mul(p, q));
  add2(out + 2 * stride, f64x2.mul(p, p));
  add2(out + 3 * stride, f64x2.mul(q, q));
  v128.store(out + 4 * stride, f64x2.pmax(v128.load(out + 4 * stride), f64x2.abs(e)));
}

/** One column of a row. */
// @ts-ignore: decorator
@inline
function one(p: f64, q: f64, out: usize, stride: usize): void {
  const e = p - q;
  accumulate(out, e * e);
  accumulate(out + stride, p * q);
  accumulate(out + 2 * stride, p * p);
  accumulate(out + 3 * stride, q * q);
  if (abs(e) > load<f64>(out + 4 * stride)) store<f64>(out + 4 * stride, abs(e));
}

export function errorF32Columns(
  a: usize, b: usize, out: usize, count: usize,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const stride = count << 3;
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 3; g <= groups; g++, p += columns << 3) {
      for (let r = g == groups ? last : inner; r > 0; r--) {
        let to = out + p;
        let n = columns;
        for (; n >= 4; n -= 4, a += 16, b += 16, to += 32) {
          const x = v128.load(a), y = v128.load(b);
          two(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(y), to, stride);
          two(upper(x), upper(y), to + 16, stride);
        }
        for (; n > 0; n--, a += 4, b += 4, to += 8) one(<f64>load<f32>(a), <f64>load<f32>(b), to, stride);
      }
    }
  }
}
