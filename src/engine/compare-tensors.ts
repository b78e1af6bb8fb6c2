import { dequantizedSource } from "./dequantized-source.ts";
import { measure, type QuantizationError, reportOf, sumsOfWhole } from "./measure/quantization-error.ts";
import { chunkDequantizer } from "./quantize-with-error.ts";
import type { KernelContext } from "./tensors/context.ts";
import { type Granularity, type Layout, layoutOf } from "./tensors/granularity.ts";
import { elementsOf } from "./tensors/shape.ts";
import type { Operand, QuantizedTensor } from "./tensors/tensor.ts";
import { type Chunk, chunkingOf } from "./tiling/chunks.ts";
import type { KernelSlice } from "./tiling/kernel-slices.ts";
import { tileSourceOf } from "./tiling/tile-io.ts";

/** The other side of a comparison: floats, or a quantized tensor with its layout. */
export type ComparedTensor = { readonly floats: Operand } | { readonly q: QuantizedTensor; readonly layout: Layout };

/** What one tensor of `shape` lost against another: as a whole, or group by group. */
export function compare(
  context: KernelContext,
  shape: readonly number[],
  original: Operand,
  other: ComparedTensor,
  granularity: Granularity,
): QuantizationError[] {
  if (granularity.axis === undefined) {
    const sums = compareWithoutGroups(context, shape, original, other);
    return [
      reportOf(
        sums.map((sum) => [sum]),
        0,
        elementsOf(shape),
      ),
    ];
  }
  const a = tileSourceOf(context, original, "values");
  const b =
    "q" in other ? dequantizedSource(context, other.q, other.layout) : tileSourceOf(context, other.floats, "others");
  return measure(context, a, b, layoutOf(shape, granularity));
}

/** Squared error, dot product, squares of both and the largest error, over all elements. */
export function compareWithoutGroups(
  context: KernelContext,
  shape: readonly number[],
  original: Operand,
  other: ComparedTensor,
): readonly number[] {
  const a = tileSourceOf(context, original, "values");
  if ("q" in other) {
    const codes = tileSourceOf(context, other.q, "codes");
    const { axis, blockSize } = other.q;
    return sumsOfWhole(
      context,
      a,
      chunkDequantizer(context, other.q, codes.address),
      chunkingOf(shape, { axis, blockSize }),
    );
  }
  const b = tileSourceOf(context, other.floats, "others");
  const beside =
    ({ start }: Chunk) =>
    (slice: KernelSlice) =>
      b.address(start + slice.start, slice.length);
  return sumsOfWhole(context, a, beside, chunkingOf(shape, {}));
}
