// What only the benchmark calls, over the memory the kernels work on: the yardstick, and alternatives to a kernel in the form
// that the kernel has. No part of the published module. Figures are times over that of memory.copy of the same 128 MiB of
// float32, resident, on a shared two-core AMD EPYC (Zen 4), Node 20.20 and 24.21.

import { blocks } from "../../assembly/quantize-fused";
import { STREAMS_FROM } from "../../assembly/groups";
import * as quantize from "../../assembly/quantize-groups";
import { rangeF32 } from "../../assembly/range";
import { ABOVE, EXPONENT, LEAST, MAGNITUDE, MOST, narrow } from "../../assembly/half-conversion";

/** The yardstick: what moving the same bytes costs. */
export function copy(dst: usize, src: usize, bytes: usize): void {
  memory.copy(dst, src, bytes);
}

/** Too little for the kernels to read it as four streams. */
const SHORT: usize = STREAMS_FROM - 64;

/** rangeF32 that reads one stream, piece after piece. */
export function rangeF32OneStream(
  src: usize, mins: usize, maxs: usize, outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): i32 {
  let bad = 0;
  for (let n = inner; n > 0; ) {
    const taken = min(n, SHORT);
    bad |= rangeF32(src, mins, maxs, 1, 1, taken, taken, 0);
    src += taken << 2;
    n -= taken;
  }
  return bad;
}

/** quantizeF32I8 that reads one stream, piece after piece. */
export function quantizeF32I8OneStream(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, lowest: i32, highest: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): void {
  for (let n = inner; n > 0; ) {
    const taken = min(n, SHORT);
    quantize.rows<i8, i32>(src, dst, scales, zeroPoints, lowest, highest, 0, 0, 1, 1, taken, taken, 0);
    src += taken << 2;
    dst += taken;
    n -= taken;
  }
}

/**
 * blocksF32I4 that takes the next four blocks, not four that are far apart. Blocks of 32: 1.05 and 1.08, the kernel 1.12 and
 * 1.11: within what other work on the host does. An Ice Lake Xeon reads four streams 1.4 times as fast, so the kernel has them.
 */
export function blocksF32I4Near(
  src: usize, dst: usize, scales: usize, zeroPoints: usize, rule: i32, qmin: i32, qmax: i32,
  outer: usize, groups: usize, inner: usize, last: usize, step: usize,
): i32 {
  return blocks<i8, bool, bool>(src, dst, scales, zeroPoints, rule, qmin, qmax, outer, groups, inner, last, step);
}

/**
 * convertF32F16 with its constants where they are used, which V8 builds anew in every turn of the loop: 1.53 and 2.68, the
 * kernel 0.90 and 0.90. In packF32N of 4 bits the same cost 0.07 and 0.59: assembly/lanes.ts `kept`.
 */
export function convertF32F16Folded(src: usize, dst: usize, n: usize): void {
  for (; n >= 8; n -= 8, src += 32, dst += 16) {
    const x = v128.load(src), y = v128.load(src, 16);
    const halves = i16x8.narrow_i32x4_s(folded(x), folded(y));
    const upper = i16x8.narrow_i32x4_s(i32x4.shr_s(x, 16), i32x4.shr_s(y, 16));
    v128.store(dst, v128.or(halves, v128.and(upper, i16x8.splat(<i16>0x8000))));
  }
}

// @ts-ignore: decorator
@inline
function folded(x: v128): v128 {
  return narrow(
    x, i32x4.splat(MAGNITUDE), i32x4.splat(EXPONENT), i32x4.splat(LEAST), i32x4.splat(MOST), i32x4.splat(ABOVE),
    i32x4.splat(LEAST >> 13), i32x4.splat(0x7c00), i32x4.splat(0x0200),
  );
}
