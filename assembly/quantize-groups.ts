import { store1, store16, store4 } from "./code-storage";
import { ROWS, STREAMS_FROM } from "./groups";
import { loadLanes } from "./lanes";
import { biasOf, codesHalfToEven, floorOf } from "./rounding";

// float32 to codes of type `C`, with parameters given, over groups (assembly/groups.ts). `Z` is the type of the offsets, which
// tells the scheme: assembly/rounding.ts has both formulas. `lowest` and `highest` are the code type's bounds.

// @ts-ignore: decorator
@inline
function sixteen<C, Z>(
  src: usize, dst: usize, divisor: v128, offset: v128, levels: v128, base: v128, floor: v128, bias: v128, high: v128,
): void {
  store16<C>(
    dst,
    codesHalfToEven<Z>(v128.load(src), divisor, offset, levels, base, floor, bias),
    codesHalfToEven<Z>(v128.load(src, 16), divisor, offset, levels, base, floor, bias),
    codesHalfToEven<Z>(v128.load(src, 32), divisor, offset, levels, base, floor, bias),
    codesHalfToEven<Z>(v128.load(src, 48), divisor, offset, levels, base, floor, bias),
    high,
  );
}

// @ts-ignore: decorator
@inline
function run<C, Z>(
  src: usize, dst: usize, n: usize,
  divisor: v128, offset: v128, levels: v128, base: v128, floor: v128, bias: v128, high: v128,
): void {
  if (n >= STREAMS_FROM) {
    const quarter = (n >> 2) & ~15;
    const from = quarter << 2;
    const to = quarter * sizeof<C>();
    const end = src + from;
    while (src < end) {
      sixteen<C, Z>(src, dst, divisor, offset, levels, base, floor, bias, high);
      sixteen<C, Z>(src + from, dst + to, divisor, offset, levels, base, floor, bias, high);
      sixteen<C, Z>(src + 2 * from, dst + 2 * to, divisor, offset, levels, base, floor, bias, high);
      sixteen<C, Z>(src + 3 * from, dst + 3 * to, divisor, offset, levels, base, floor, bias, high);
      src += 64;
      dst += 16 * sizeof<C>();
    }
    src += 3 * from;
    dst += 3 * to;
    n -= quarter << 2;
  }
  for (; n >= 16; n -= 16, src += 64, dst += 16 * sizeof<C>()) {
    sixteen<C, Z>(src, dst, divisor, offset, levels, base, floor, bias, high);
  }
  for (; n >= 4; n -= 4, src += 16, dst += 4 * sizeof<C>()) {
    store4<C>(dst, codesHalfToEven<Z>(v128.load(src), divisor, offset, levels, base, floor, bias), high);
  }
  for (; n > 0; n--, src += 4, dst += sizeof<C>()) {
    store1<C>(dst, codesHalfToEven<Z>(v128.load32_zero(src), divisor, offset, levels, base, floor, bias), high);
  }
}

/** Parameters per run. */
// @ts-ignore: decorator
@inline
export function rows<C, Z>(
  src: usize, dst: usize, divisors: usize, offsets: usize, lowest: i32, highest: i32, levels: f32, base: f32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  const high = i8x16.splat(<i8>highest);
  const levels4 = f32x4.splat(levels);
  const base4 = f32x4.splat(base);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += 4) {
      const n = g == groups ? last : inner;
      const offset = v128.load32_splat(offsets + p);
      run<C, Z>(
        src, dst, n, v128.load32_splat(divisors + p), offset, levels4, base4,
        floorOf<Z>(lowest, offset), biasOf<Z>(offset), high,
      );
      src += n << 2;
      dst += n * sizeof<C>();
    }
  }
}

/** Four columns of a strip where W is v128, one where it is f32; rows are `from` and `to` bytes apart. */
// @ts-ignore: decorator
@inline
function column<C, Z, W>(
  src: usize, dst: usize, divisors: usize, offsets: usize, lowest: i32, high: v128, levels: v128, base: v128,
  rows: usize, from: usize, to: usize,
): void {
  const divisor = loadLanes<W>(divisors), offset = loadLanes<W>(offsets);
  const floor = floorOf<Z>(lowest, offset), bias = biasOf<Z>(offset);
  for (; rows > 0; rows--, src += from, dst += to) {
    const codes = codesHalfToEven<Z>(loadLanes<W>(src), divisor, offset, levels, base, floor, bias);
    if (isVector<W>()) store4<C>(dst, codes, high);
    else store1<C>(dst, codes, high);
  }
}

// @ts-ignore: decorator
@inline
function strip<C, Z>(
  src: usize, dst: usize, divisors: usize, offsets: usize, lowest: i32, high: v128, levels: v128, base: v128,
  rows: usize, columns: usize,
): void {
  const from = columns << 2;
  const to = columns * sizeof<C>();
  let c: usize = 0;
  for (; c + 16 <= columns; c += 16) {
    const p = c << 2;
    const da = v128.load(divisors + p), db = v128.load(divisors + p, 16);
    const dc = v128.load(divisors + p, 32), dd = v128.load(divisors + p, 48);
    const oa = v128.load(offsets + p), ob = v128.load(offsets + p, 16);
    const oc = v128.load(offsets + p, 32), od = v128.load(offsets + p, 48);
    const fa = floorOf<Z>(lowest, oa), fb = floorOf<Z>(lowest, ob), fc = floorOf<Z>(lowest, oc), fd = floorOf<Z>(lowest, od);
    const ba = biasOf<Z>(oa), bb = biasOf<Z>(ob), bc = biasOf<Z>(oc), bd = biasOf<Z>(od);
    let s = src + p;
    let d = dst + c * sizeof<C>();
    for (let r = rows; r > 0; r--, s += from, d += to) {
      store16<C>(
        d,
        codesHalfToEven<Z>(v128.load(s), da, oa, levels, base, fa, ba),
        codesHalfToEven<Z>(v128.load(s, 16), db, ob, levels, base, fb, bb),
        codesHalfToEven<Z>(v128.load(s, 32), dc, oc, levels, base, fc, bc),
        codesHalfToEven<Z>(v128.load(s, 48), dd, od, levels, base, fd, bd),
        high,
      );
    }
  }
  for (; c + 4 <= columns; c += 4) {
    const p = c << 2;
    column<C, Z, v128>(
      src + p, dst + c * sizeof<C>(), divisors + p, offsets + p, lowest, high, levels, base, rows, from, to,
    );
  }
  for (; c < columns; c++) {
    const p = c << 2;
    column<C, Z, f32>(
      src + p, dst + c * sizeof<C>(), divisors + p, offsets + p, lowest, high, levels, base, rows, from, to,
    );
  }
}

/** Parameters per column: [outer][groups][inner][columns], parameter o * step + g * columns + c. */
// @ts-ignore: decorator
@inline
export function columns<C, Z>(
  src: usize, dst: usize, divisors: usize, offsets: usize, lowest: i32, highest: i32, levels: f32, base: f32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize, columns: usize,
): void {
  const high = i8x16.splat(<i8>highest);
  const levels4 = f32x4.splat(levels);
  const base4 = f32x4.splat(base);
  for (let o: usize = 0; o < outer; o++) {
    for (let g: usize = 1, p = (o * step) << 2; g <= groups; g++, p += columns << 2) {
      for (let left = g == groups ? last : inner; left > 0; left -= min(left, ROWS)) {
        strip<C, Z>(src, dst, divisors + p, offsets + p, lowest, high, levels4, base4, min(left, ROWS), columns);
        src += (min(left, ROWS) * columns) << 2;
        dst += min(left, ROWS) * columns * sizeof<C>();
      }
    }
  }
}
