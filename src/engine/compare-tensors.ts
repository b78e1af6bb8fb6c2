import { restoredSource } from "./dequantized-source.ts";
import { measure, type QuantizationError, reportOf, sumsOfWhole } from "./measure/quantization-error.ts";
import { windowRestorer } from "./quantize-with-error.ts";
import type { Machine } from "./tensors/context.ts";
import { type Granularity, type Layout, layoutOf } from "./tensors/granularity.ts";
import { elementsOf } from "./tensors/shape.ts";
import type { Operand, QuantizedTensor } from "./tensors/tensor.ts";
import { cutOf, type Window } from "./tiling/chunks.ts";
import type { Piece } from "./tiling/kernel-slices.ts";
import { sourceOf } from "./tiling/tile-io.ts";

/** The other side of a comparison: floats, or a quantized tensor with its layout. */
export type Other = { readonly floats: Operand } | { readonly q: QuantizedTensor; readonly layout: Layout };

/** What one tensor of `shape` lost against another: as a whole, or group by group. */
export function compare(
  machine: Machine,
  shape: readonly number[],
  original: Operand,
  other: Other,
  granularity: Granularity,
): QuantizationError[] {
  if (granularity.axis === undefined) {
    const sums = compareWhole(machine, shape, original, other);
    return [
      reportOf(
        sums.map((sum) => [sum]),
        0,
        elementsOf(shape),
      ),
    ];
  }
  const a = sourceOf(machine, original, "values");
  const b = "q" in other ? restoredSource(machine, other.q, other.layout) : sourceOf(machine, other.floats, "others");
  return measure(machine, a, b, layoutOf(shape, granularity));
}

/** Squared error, dot product, squares of both and the largest error, over all elements. */
export function compareWhole(
  machine: Machine,
  shape: readonly number[],
  original: Operand,
  other: Other,
): readonly number[] {
  const a = sourceOf(machine, original, "values");
  if ("q" in other) {
    const codes = sourceOf(machine, other.q, "codes");
    const { axis, blockSize } = other.q;
    return sumsOfWhole(machine, a, windowRestorer(machine, other.q, codes.address), cutOf(shape, { axis, blockSize }));
  }
  const b = sourceOf(machine, other.floats, "others");
  const beside =
    ({ start }: Window) =>
    (piece: Piece) =>
      b.address(start + piece.start, piece.length);
  return sumsOfWhole(machine, a, beside, cutOf(shape, {}));
}
