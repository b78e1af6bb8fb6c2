import { reciprocalOf } from "../block-parameters.ts";
import type { Block } from "./matrix-blocks.ts";

const { fround } = Math;

/** What sums over a block are counted in: assembly/block-error.ts. */
function unitOf(scale: number): number {
  const size = Math.abs(scale);
  if (size >= 2 ** -40 && size <= 2 ** 40) return 1;
  return reciprocalOf(scale) || (size === Number.POSITIVE_INFINITY ? 2 ** -100 : 2 ** 120);
}

/**
 * Adds a block's sums to the 64 bytes at `at`: assembly/quantize-nbits.ts has their order.
 *
 * @param restored what a value is restored to
 */
export function measureBlock(
  view: DataView,
  at: number,
  { length, x }: Pick<Block, "length" | "x">,
  scale: number,
  restored: (i: number) => number,
): void {
  const unit = unitOf(scale);
  const sums = [0, 1, 2].map(() => new Float32Array(4));
  for (let i = 0; i < length; i++) {
    const e = fround(x(i) - restored(i));
    [e, x(i), restored(i)].forEach((value, k) => {
      const inUnits = fround(value * unit);
      sums[k]![i % 4]! += fround(inUnits * inUnits);
    });
    const largest = at + 48 + 4 * (i % 4);
    if (Math.abs(e) > view.getFloat32(largest, true)) view.setFloat32(largest, Math.abs(e), true);
  }
  const back = 1 / (unit * unit);
  sums.forEach((lanes, k) => {
    for (const half of [0, 1]) {
      const to = at + 16 * k + 8 * half;
      view.setFloat64(to, view.getFloat64(to, true) + fround(lanes[half]! + lanes[half + 2]!) * back, true);
    }
  });
}
