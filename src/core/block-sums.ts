import type { LinearMemory } from "../kernels/memory.ts";
import { type QuantizationError, reportOf } from "./error.ts";

/** What kernels over blocks sum up (assembly/nbits.ts, bnb4.ts): squared errors, squares before and after; the largest. */
export interface Sums {
  squared: number;
  aa: number;
  bb: number;
  largest: number;
}

export function noSums(): Sums {
  return { squared: 0, aa: 0, bb: 0, largest: 0 };
}

/** Adds the 64 bytes of each of `n` rows, in order, so that no way to cut a tensor changes a sum. */
export function takeSums(memory: LinearMemory, address: number, n: number, into: Sums): void {
  const sums = memory.view(Float64Array, address, 8 * n);
  const largest = memory.view(Float32Array, address, 16 * n);
  for (let at = 0; at < sums.length; at += 8) {
    into.squared += sums[at]! + sums[at + 1]!;
    into.aa += sums[at + 2]! + sums[at + 3]!;
    into.bb += sums[at + 4]! + sums[at + 5]!;
    for (let lane = 12; lane < 16; lane++) into.largest = Math.max(into.largest, largest[2 * at + lane]!);
  }
}

/** Whether all values of `n` rows were finite: NaN and infinities show in the squares of x, which nothing finite overflows. */
export function finiteSums(memory: LinearMemory, address: number, n: number): boolean {
  const view = memory.view(Float64Array, address, 8 * n);
  for (let at = 0; at < view.length; at += 8) if (!Number.isFinite(view[at + 2]! + view[at + 3]!)) return false;
  return true;
}

export function errorOf({ squared, aa, bb, largest }: Sums, elements: number): QuantizationError {
  // (a - b)^2 = a^2 - 2ab + b^2; rounding must not make it more than parallel.
  const dot = Math.min((aa + bb - squared) / 2, Math.sqrt(aa * bb));
  return reportOf([[squared], [dot], [aa], [bb], [largest]], 0, elements);
}
