import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import { elementsAt, type Layout, spreadOf } from "../tensors/granularity.ts";
import { accumulatorsOf, foldCopies } from "../tiling/accumulators.ts";
import { type Chunk, type Chunking, chunksOf, layoutIn } from "../tiling/chunks.ts";
import { type KernelSlice, kernelArguments, slicesOf } from "../tiling/kernel-slices.ts";
import type { TileSource } from "../tiling/tile-io.ts";

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
export interface Loss extends Omit<QuantizationError, "cosine"> {
  /** dB that the ranges chosen gained over the extremes; undefined where those are the ranges. */
  readonly rangeGain?: number | undefined;
}

/** Five float64 sums for each group: squared error, dot product, squares of a, squares of b; and the largest error. */
type Sums = readonly ArrayLike<number>[];

/**
 * Sums are taken in an order that shape and granularity alone tell, so that arrays, files and any number of threads agree
 * to the bit: a tensor as a whole falls into chunks (chunks.ts), these into slices of at most 65,536 elements (kernel-slices.ts),
 * whose sums (assembly/error-sums.ts) are added in order, chunk by chunk. Group by group: along a run chunks of 65,536, along
 * a column element by element.
 */

/** Compares two tensors of the same shape, as slices of them are asked for, group by group of `layout`. */
export function measure(context: KernelContext, a: TileSource, b: TileSource, layout: Layout): QuantizationError[] {
  const sums = sumsOf(context, a, b, layout);
  return Array.from({ length: layout.parameters }, (_, p) => reportOf(sums, p, elementsAt(layout, p)));
}

/** Float64 sums over a tensor: squared error, squares before; and the largest error. */
export interface LossSums {
  readonly squared: number;
  readonly aa: number;
  readonly maxAbs: number;
  /** The squared error that ranges as found by the extremes would have had, where others were chosen. */
  readonly extremesError?: number | undefined;
}

/** Those of a tensor from those of its chunks, in order. */
export function addSums(chunks: Iterable<LossSums>): LossSums {
  let [squared, aa, maxAbs] = [0, 0, 0];
  let extremesError: number | undefined;
  for (const sums of chunks) {
    if (sums.extremesError !== undefined) extremesError = (extremesError ?? 0) + sums.extremesError;
    squared += sums.squared;
    aa += sums.aa;
    maxAbs = Math.max(maxAbs, sums.maxAbs);
  }
  return extremesError === undefined ? { squared, aa, maxAbs } : { squared, aa, maxAbs, extremesError };
}

/** Sums up what one chunk lost, slice by slice: `add` takes the addresses of values and of what they became. */
export function lossSummer({ kernels, memory }: KernelContext) {
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

/** Compares two tensors as a whole, `a` and what `b` gives for the slices of `cut`: the five sums. */
export function sumsOfWhole(
  context: KernelContext,
  a: TileSource,
  b: (chunk: Chunk, layout: Layout) => (slice: KernelSlice) => number,
  chunking: Chunking,
): readonly number[] {
  const { kernels, memory } = context;
  const tile = memory.tiles.sums;
  const totals = [0, 0, 0, 0, 0];
  for (const chunk of chunksOf(chunking)) {
    memory.view(Float64Array, tile, 5).fill(0);
    const layout = layoutIn(chunking, chunk);
    const other = b(chunk, layout);
    for (const slice of slicesOf(layout, TILE, TILE)) {
      const { length } = slice;
      const others = other(slice);
      kernels.errorF32(a.address(chunk.start + slice.start, length), others, tile, 1, 1, 1, length, length, 0);
    }
    memory.view(Float64Array, tile, 5).forEach((sum, k) => {
      totals[k] = k === 4 ? Math.max(totals[k]!, sum) : totals[k]! + sum;
    });
  }
  return totals;
}

function sumsOf(context: KernelContext, a: TileSource, b: TileSource, layout: Layout): Sums {
  const { kernels, memory } = context;
  const totals = Array.from({ length: 5 }, () => new Float64Array(spreadOf(layout)));
  const kernel = kernels[layout.columns ? "errorF32Columns" : "errorF32"] as (...args: number[]) => void;
  const tile = memory.tiles.sums;
  const accumulators = accumulatorsOf(memory, totals, (k, count) => tile + 8 * k * count);
  for (const slice of slicesOf(layout, Math.min(a.limit, b.limit), TILE / 8)) {
    const { start, length } = slice;
    const count = accumulators.hold(slice);
    kernel(a.address(start, length), b.address(start, length), tile, count, ...kernelArguments(slice));
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
export function lossOf({ squared, aa, maxAbs, extremesError }: LossSums, elements: number): Loss {
  const loss = {
    mse: elements === 0 ? 0 : squared / elements,
    sqnr: squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared),
    maxAbs,
  };
  if (extremesError === undefined) return loss;
  return { ...loss, rangeGain: gainOf(squared, extremesError) };
}

/** dB by which a squared error is smaller than another. */
export function gainOf(squared: number, before: number): number {
  // That under extremes is computed by reciprocals: what differs by so little is the same.
  return Math.abs(squared - before) <= 1e-3 * before ? 0 : 10 * Math.log10(before / squared);
}
