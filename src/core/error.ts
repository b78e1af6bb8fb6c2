import { TILE } from "../kernels/memory.ts";
import { elementsAt, type Layout, parameterAt, spreadOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { type Operand, type Source, sourceOf } from "./operands.ts";
import { piecesOf, shapeOf } from "./pieces.ts";
import { restoredSource } from "./restored.ts";
import type { QuantizedTensor } from "./tensor.ts";

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

/** Five float64 sums for each group: squared error, dot product, squares of a, squares of b; and the largest error. */
type Sums = readonly Float64Array[];

/**
 * Compares two tensors of the same shape group by group. `b` may be quantized: each piece is restored on its way.
 */
export function measure(
  machine: Machine,
  a: Operand,
  b: Operand | QuantizedTensor,
  layout: Layout,
): QuantizationError[] {
  const left = sourceOf(machine, a, "values");
  const right = "scale" in b ? restoredSource(machine, b) : sourceOf(machine, b, "others");
  const sums = sumsOf(machine, left, right, layout);
  return Array.from({ length: layout.parameters }, (_, p) => reportOf(sums, p, elementsAt(layout, p)));
}

function sumsOf(machine: Machine, a: Source, b: Source, layout: Layout): Sums {
  const { kernels, memory } = machine;
  const totals = Array.from({ length: 5 }, () => new Float64Array(spreadOf(layout)));
  const kernel = kernels[layout.columns ? "errorF32Columns" : "errorF32"] as (...args: number[]) => void;
  const tile = memory.tiles.sums;
  let held = { first: 0, count: 0 };
  const tileOf = (k: number) => memory.view(Float64Array, tile + 8 * k * held.count, held.count);
  const bringBack = () => totals.forEach((total, k) => void total.set(tileOf(k), held.first));

  for (const piece of piecesOf(layout, Math.min(a.limit, b.limit), TILE / 8)) {
    const { start, length } = piece;
    // As in a scan, sums stay in the tile for as long as the same groups come round.
    if (piece.first !== held.first || piece.count > held.count) {
      bringBack();
      held = piece;
      totals.forEach((total, k) => void tileOf(k).set(total.subarray(held.first, held.first + held.count)));
    }
    kernel(a.address(start, length), b.address(start, length), tile, held.count, ...shapeOf(piece));
  }
  bringBack();
  return fold(totals, layout);
}

/** Adds up the copies of each parameter, in order. */
function fold(totals: Sums, layout: Layout): Sums {
  if (layout.each === 1 && layout.times === 1) return totals;
  return totals.map((total, k) => {
    const folded = new Float64Array(layout.parameters);
    total.forEach((value, i) => {
      const p = parameterAt(layout, i);
      folded[p] = k === 4 ? Math.max(folded[p]!, value) : folded[p]! + value;
    });
    return folded;
  });
}

function reportOf(sums: Sums, p: number, elements: number): QuantizationError {
  const [squared, dot, aa, bb, maxAbs] = [sums[0]![p]!, sums[1]![p]!, sums[2]![p]!, sums[3]![p]!, sums[4]![p]!];
  return {
    mse: elements === 0 ? 0 : squared / elements,
    sqnr: squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared),
    maxAbs,
    cosine: squared === 0 ? 1 : dot / Math.sqrt(aa * bb) || 0,
  };
}
