import { measure, measureWhole, type QuantizationError } from "./error.ts";
import { type Granularity, type Layout, layoutOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { windowRestorer } from "./measured.ts";
import { type Operand, sourceOf } from "./operands.ts";
import { restoredSource } from "./restored.ts";
import type { QuantizedTensor } from "./tensor.ts";
import { cutOf } from "./windows.ts";

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
  const a = sourceOf(machine, original, "values");
  if (granularity.axis !== undefined) {
    const b = "q" in other ? restoredSource(machine, other.q, other.layout) : sourceOf(machine, other.floats, "others");
    return measure(machine, a, b, layoutOf(shape, granularity));
  }
  if ("q" in other) {
    const codes = sourceOf(machine, other.q, "codes");
    const restore = windowRestorer(machine, other.q, codes.address);
    const { axis, blockSize } = other.q;
    return [measureWhole(machine, a, restore, cutOf(shape, { axis, blockSize }))];
  }
  const b = sourceOf(machine, other.floats, "others");
  const beside =
    ({ start }: { start: number }) =>
    (piece: { start: number; length: number }) =>
      b.address(start + piece.start, piece.length);
  return [measureWhole(machine, a, beside, cutOf(shape, {}))];
}
