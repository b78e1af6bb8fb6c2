import type { LinearMemory } from "../../kernels/memory.ts";
import { type QuantizationError, reportOf } from "../measure/quantization-error.ts";

/** What kernels over blocks sum up (assembly/block-error.ts): squared errors, squares before and after; the largest. */
export interface Sums {
  squared: number;
  aa: number;
  bb: number;
  largest: number;
  /** The squared error that scales by the extremes of blocks would have had, where others were chosen. */
  extremesError?: number;
}

export function noSums(): Sums {
  return { squared: 0, aa: 0, bb: 0, largest: 0 };
}

/** Rows that are summed up together: parts of a matrix that begin at their multiples agree with the whole to the bit. */
export const SUMMED_ROWS = 64;

/** Adds the 64 bytes of each of `n` rows from row `first` on, in order, to the sums of their group of rows. */
export function takeSums(memory: LinearMemory, address: number, first: number, n: number, into: Sums[]): void {
  const sums = memory.view(Float64Array, address, 8 * n);
  const largest = memory.view(Float32Array, address, 16 * n);
  for (let row = 0; row < n; row++) {
    const group = Math.floor((first + row) / SUMMED_ROWS);
    into[group] ??= noSums();
    takeRow(into[group], sums, largest, row);
  }
}

/** The 64 bytes at `address` as sums. */
export function sumsAt(memory: LinearMemory, address: number): Sums {
  const sums = noSums();
  takeRow(sums, memory.view(Float64Array, address, 8), memory.view(Float32Array, address, 16), 0);
  return sums;
}

function takeRow(into: Sums, sums: Float64Array, largest: Float32Array, row: number): void {
  const at = 8 * row;
  into.squared += sums[at]! + sums[at + 1]!;
  into.aa += sums[at + 2]! + sums[at + 3]!;
  into.bb += sums[at + 4]! + sums[at + 5]!;
  for (let lane = 12; lane < 16; lane++) into.largest = Math.max(into.largest, largest[2 * at + lane]!);
}

/** Whether all values of `n` rows were finite: NaN and infinities show in the squares of x, which nothing finite overflows. */
export function finiteSums(memory: LinearMemory, address: number, n: number): boolean {
  const view = memory.view(Float64Array, address, 8 * n);
  for (let at = 0; at < view.length; at += 8) if (!Number.isFinite(view[at + 2]! + view[at + 3]!)) return false;
  return true;
}

/** What so many elements lost, from the sums of groups of them, in order. */
export function errorOf(groups: readonly Sums[], elements: number): QuantizationError {
  const { squared, aa, bb, largest } = groups.reduce((sum, group) => {
    sum.squared += group.squared;
    sum.aa += group.aa;
    sum.bb += group.bb;
    sum.largest = Math.max(sum.largest, group.largest);
    return sum;
  }, noSums());
  // (a - b)^2 = a^2 - 2ab + b^2; rounding must not make it more than parallel.
  const dot = Math.min((aa + bb - squared) / 2, Math.sqrt(aa * bb));
  return reportOf([[squared], [dot], [aa], [bb], [largest]], 0, elements);
}
