import type { IntegerDType } from "../dtypes.ts";
import type { Kernels } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import { codeNameOf } from "./codes/code-writer.ts";
import type { KernelContext } from "./tensors/context.ts";
import type { Layout } from "./tensors/granularity.ts";
import type { Operand, QuantizedTensor } from "./tensors/tensor.ts";
import { type KernelSlice, kernelArguments, slicesOf } from "./tiling/kernel-slices.ts";
import { parameterTileOf, tileDestinationOf, tileSourceOf } from "./tiling/tile-io.ts";

/** What codes stand for: all of a quantized tensor but its codes. */
export type Dequantizable = Pick<QuantizedTensor, "dtype" | "scale" | "zeroPoint" | "min">;

/** Restores one slice: reads its codes from `src`, writes float32 to `dst`. */
export type Dequantize = (slice: KernelSlice, src: number, dst: number) => void;

export function dequantizerOf(context: KernelContext, q: Dequantizable, layout: Layout): Dequantize {
  const { kernels, memory } = context;
  const scale = parameterTileOf(context, memory.tiles.third, q.scale, layout);
  const second = parameterTileOf(context, memory.tiles.fourth, q.min ?? q.zeroPoint, layout);
  const base = q.min ? [q.zeroPoint[0] ?? 0] : [];
  const name = `${q.min ? "floatOffset" : "dequantize"}${nameOf(q.dtype)}F32${layout.columns ? "Columns" : ""}`;
  const kernel = kernels[name as keyof Kernels] as (...args: number[]) => void;
  return (slice, src, dst) => kernel(src, dst, scale(slice), second(slice), ...base, ...kernelArguments(slice));
}

function nameOf(dtype: IntegerDType): string {
  return dtype === "int32" ? "I32" : codeNameOf(dtype);
}

/** Writes the values that the codes of `q` stand for into `values`. */
export function writeValues(context: KernelContext, q: QuantizedTensor, values: Operand, layout: Layout): void {
  const source = tileSourceOf(context, q, "codes");
  const destination = tileDestinationOf(context, values, "others");
  const restore = dequantizerOf(context, q, layout);
  for (const slice of slicesOf(layout, Math.min(source.limit, destination.limit), TILE)) {
    const { start, length } = slice;
    restore(slice, source.address(start, length), destination.address(start, length));
    destination.commit(start, length);
  }
}
