import { TILE } from "../kernels/memory.ts";
import { accumulatorsOf, foldCopies } from "./accumulate.ts";
import { elementsAt, type Layout, spreadOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import type { Source } from "./operands.ts";
import { piecesOf, shapeOf } from "./pieces.ts";

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

/** Compares two tensors of the same shape, as pieces of them are asked for, group by group of `layout`. */
export function measure(machine: Machine, a: Source, b: Source, layout: Layout): QuantizationError[] {
  const sums = sumsOf(machine, a, b, layout);
  return Array.from({ length: layout.parameters }, (_, p) => reportOf(sums, p, elementsAt(layout, p)));
}

/** Compares two tensors of so many elements as a whole: the figures of `measure`, but one, for half the arithmetic. */
export function measureLoss({ kernels, memory }: Machine, a: Source, b: Source, elements: number): Loss {
  const tile = memory.tiles.sums;
  const sums = () => memory.view(Float64Array, tile, 3);
  sums().fill(0);
  const limit = Math.min(a.limit, b.limit);
  for (let start = 0; start < elements; start += limit) {
    const length = Math.min(limit, elements - start);
    kernels.lossF32(a.address(start, length), b.address(start, length), tile, length);
  }
  const [squared = 0, aa = 0, maxAbs = 0] = sums();
  return lossOf(squared, aa, maxAbs, elements);
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
  return { ...lossOf(squared, aa, maxAbs, elements), cosine: squared === 0 ? 1 : dot / Math.sqrt(aa * bb) || 0 };
}

function lossOf(squared: number, aa: number, maxAbs: number, elements: number): Loss {
  return {
    mse: elements === 0 ? 0 : squared / elements,
    sqnr: squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared),
    maxAbs,
  };
}
