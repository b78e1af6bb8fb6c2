import { TILE } from "../kernels/memory.ts";
import { accumulatorsOf, foldCopies } from "./accumulate.ts";
import { elementsAt, type Layout, spreadOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import type { Source } from "./operands.ts";
import { type Piece, piecesOf, shapeOf } from "./pieces.ts";
import { type Cut, layoutIn, type Window, windowsOf } from "./windows.ts";

/** What a tensor lost. */
export interface QuantizationError {
  /** Mean squared error. */
  readonly mse: number;
  /** Signal-to-quantization-noise ratio in dB: 10 log10(sum x^2 / sum (x - y)^2); Infinity where nothing was lost. */
  readonly sqnr: number;
  /** Largest absolute error. */
  readonly maxAbs: number;
  /** Cosine similarity, 1 where nothing was lost. */
  readonly cosine: number;
}

/** The same without what asks for more sums. */
export type Loss = Omit<QuantizationError, "cosine">;

/** Five float64 sums for each group: squared error, dot product, squares of a, squares of b; and the largest error. */
type Sums = readonly ArrayLike<number>[];

/**
 * Sums are taken in an order that shape and granularity alone tell, so that arrays, files and any number of threads agree
 * to the bit: a tensor as a whole falls into windows (windows.ts), these into pieces of at most 65,536 elements (pieces.ts),
 * whose sums (assembly/error-sums.ts) are added in order, window by window. Group by group: along a run chunks of 65,536, along
 * a column element by element.
 */

/** Compares two tensors of the same shape, as pieces of them are asked for, group by group of `layout`. */
export function measure(machine: Machine, a: Source, b: Source, layout: Layout): QuantizationError[] {
  const sums = sumsOf(machine, a, b, layout);
  return Array.from({ length: layout.parameters }, (_, p) => reportOf(sums, p, elementsAt(layout, p)));
}

/** Float64 sums over a tensor: squared error, squares before; and the largest error. */
export interface LossSums {
  readonly squared: number;
  readonly aa: number;
  readonly maxAbs: number;
}

/** Those of a tensor from those of its windows, in order. */
export function addSums(windows: Iterable<LossSums>): LossSums {
  let [squared, aa, maxAbs] = [0, 0, 0];
  for (const sums of windows) {
    squared += sums.squared;
    aa += sums.aa;
    maxAbs = Math.max(maxAbs, sums.maxAbs);
  }
  return { squared, aa, maxAbs };
}

/** Sums up what one window lost, piece by piece: `add` takes the addresses of values and of what they became. */
export function lossSummer({ kernels, memory }: Machine) {
  const tile = memory.tiles.sums;
  memory.view(Float64Array, tile, 3).fill(0);
  return {
    add: (a: number, b: number, length: number): void => kernels.lossF32(a, b, tile, length),
    get sums(): LossSums {
      const [squared = 0, aa = 0, maxAbs = 0] = memory.view(Float64Array, tile, 3);
      return { squared, aa, maxAbs };
    },
  };
}

/** Compares two tensors as a whole, `a` and what `b` gives for the pieces of `cut`: the five sums. */
export function sumsOfWhole(
  machine: Machine,
  a: Source,
  b: (window: Window, layout: Layout) => (piece: Piece) => number,
  cut: Cut,
): readonly number[] {
  const { kernels, memory } = machine;
  const tile = memory.tiles.sums;
  const totals = [0, 0, 0, 0, 0];
  for (const window of windowsOf(cut)) {
    memory.view(Float64Array, tile, 5).fill(0);
    const layout = layoutIn(cut, window);
    const other = b(window, layout);
    for (const piece of piecesOf(layout, TILE, TILE)) {
      const { length } = piece;
      const others = other(piece);
      kernels.errorF32(a.address(window.start + piece.start, length), others, tile, 1, 1, 1, length, length, 0);
    }
    memory.view(Float64Array, tile, 5).forEach((sum, k) => {
      totals[k] = k === 4 ? Math.max(totals[k]!, sum) : totals[k]! + sum;
    });
  }
  return totals;
}

function sumsOf(machine: Machine, a: Source, b: Source, layout: Layout): Sums {
  const { kernels, memory } = machine;
  const totals = Array.from({ length: 5 }, () => new Float64Array(spreadOf(layout)));
  const kernel = kernels[layout.columns ? "errorF32Columns" : "errorF32"] as (...args: number[]) => void;
  const tile = memory.tiles.sums;
  const accumulators = accumulatorsOf(memory, totals, (k, count) => tile + 8 * k * count);
  for (const piece of piecesOf(layout, Math.min(a.limit, b.limit), TILE / 8)) {
    const { start, length } = piece;
    const count = accumulators.hold(piece);
    kernel(a.address(start, length), b.address(start, length), tile, count, ...shapeOf(piece));
  }
  accumulators.release();
  return totals.map((total, k) => foldCopies(total, layout, 0, k === 4 ? Math.max : (x, y) => x + y));
}

/** The figures of group `p` of so many elements. */
export function reportOf(sums: Sums, p: number, elements: number): QuantizationError {
  const [squared, dot, aa, bb, maxAbs] = [sums[0]![p]!, sums[1]![p]!, sums[2]![p]!, sums[3]![p]!, sums[4]![p]!];
  return { ...lossOf({ squared, aa, maxAbs }, elements), cosine: squared === 0 ? 1 : dot / Math.sqrt(aa * bb) || 0 };
}

/** What so many elements lost. */
export function lossOf({ squared, aa, maxAbs }: LossSums, elements: number): Loss {
  return {
    mse: elements === 0 ? 0 : squared / elements,
    sqnr: squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared),
    maxAbs,
  };
}
