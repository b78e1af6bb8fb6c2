import { TILE } from "../kernels/memory.ts";
import { type Layout, parameterAt, spreadOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { type Operand, type Source, sourceOf } from "./operands.ts";
import { type Piece, piecesOf } from "./pieces.ts";
import { shapeOf } from "./range.ts";
import { restoredSource } from "./restored.ts";
import { elementsOf } from "./shape.ts";
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
  shape: readonly number[],
  layout: Layout,
): QuantizationError[] {
  const left = sourceOf(machine, a, "values");
  const right = "scale" in b ? restoredSource(machine, b) : sourceOf(machine, b, "others");
  const sums = sumsOf(machine, left, right, layout);
  const elements = layout.parameters === 0 ? 0 : elementsOf(shape) / layout.parameters;
  return Array.from({ length: layout.parameters }, (_, p) =>
    reportOf(
      sums.map((sum) => sum[p]!),
      elements,
    ),
  );
}

function sumsOf(machine: Machine, a: Source, b: Source, layout: Layout): Sums {
  const { kernels, memory } = machine;
  const totals = Array.from({ length: 5 }, () => new Float64Array(spreadOf(layout)));
  const kernel = kernels[layout.columns ? "errorF32Columns" : "errorF32"] as (...args: number[]) => void;
  const tile = memory.tiles.sums;
  const pass = ({ first, count }: Piece, inward: boolean) => {
    totals.forEach((total, k) => {
      const view = memory.view(Float64Array, tile + 8 * k * count, count);
      if (inward) view.set(total.subarray(first, first + count));
      else total.set(view, first);
    });
  };
  for (const piece of piecesOf(layout, Math.min(a.limit, b.limit), TILE / 8)) {
    const { start, length, count } = piece;
    pass(piece, true);
    kernel(a.address(start, length), b.address(start, length), tile, count, ...shapeOf(piece));
    pass(piece, false);
  }
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

function reportOf(sums: number[], elements: number): QuantizationError {
  const [squared, dot, aa, bb, maxAbs] = sums as [number, number, number, number, number];
  return {
    mse: elements === 0 ? 0 : squared / elements,
    sqnr: squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared),
    maxAbs,
    cosine: squared === 0 ? 1 : dot / Math.sqrt(aa * bb) || 0,
  };
}
