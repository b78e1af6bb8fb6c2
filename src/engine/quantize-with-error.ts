import type { CodeDType } from "../dtypes.ts";
import { TILE } from "../kernels/memory.ts";
import { chooseWriter } from "./codes/choose-writer.ts";
import { type Dequantizable, dequantizerOf } from "./dequantize-tensor.ts";
import { addSums, type LossSums, lossSummer } from "./measure/quantization-error.ts";
import type { KernelContext } from "./tensors/context.ts";
import type { Layout } from "./tensors/granularity.ts";
import type { QuantizePlan } from "./tensors/quantize-options.ts";
import type { Parameters } from "./tensors/schemes.ts";
import type { NamedOperand, Operand } from "./tensors/tensor.ts";
import { type Chunk, type Chunking, chunksOf, layoutIn } from "./tiling/chunks.ts";
import { type KernelSlice, slicesOf } from "./tiling/kernel-slices.ts";

/** The parameters of a chunk among those of its tensor, in the same memory. */
export function parametersOfChunk(
  { scale, zeroPoint, min, span }: Omit<Dequantizable, "dtype"> & Pick<Parameters, "span">,
  { first, count }: Chunk,
): Parameters {
  const end = first + count;
  const found = { scale: scale.subarray(first, end), zeroPoint: zeroPoint.subarray(first, end) };
  return min ? { ...found, min: min.subarray(first, end), ...(span && { span: span.subarray(first, end) }) } : found;
}

/**
 * Writes codes and sums up what they lost, chunk by chunk, each slice of a chunk while a cache has it.
 *
 * @param inTurn whether parameters are found on the way, and not yet known
 */
export function writeCodesWithError(
  context: KernelContext,
  tensor: NamedOperand,
  codes: Operand & { readonly dtype: CodeDType },
  plan: QuantizePlan<CodeDType>,
  chunking: Chunking,
  parameters: Parameters,
  inTurn: boolean,
): LossSums {
  const others = context.memory.tiles.others;
  const sums: LossSums[] = [];
  for (const chunk of chunksOf(chunking)) {
    const layout = layoutIn(chunking, chunk);
    const own = parametersOfChunk(parameters, chunk);
    const how = { inTurn, base: chunk.start, readsBack: true };
    const { write } = chooseWriter(context, tensor, codes, plan, layout, own, how);
    const restore = dequantizerOf(context, { dtype: codes.dtype, ...own }, layout);
    const loss = lossSummer(context);
    for (const slice of slicesOf(layout, TILE, TILE)) {
      const written = write(slice);
      restore(slice, written.codes, others);
      loss.add(written.values, others, slice.length);
    }
    sums.push(loss.sums);
  }
  return addSums(sums);
}

/** Restores the slices of a quantized tensor's chunks: `codes` tells where those of a stretch can be read. */
export function chunkDequantizer(
  context: KernelContext,
  q: Dequantizable,
  codes: (start: number, length: number) => number,
): (chunk: Chunk, layout: Layout) => (slice: KernelSlice) => number {
  const { others } = context.memory.tiles;
  return (chunk, layout) => {
    const restore = dequantizerOf(context, { dtype: q.dtype, ...parametersOfChunk(q, chunk) }, layout);
    return (slice) => {
      restore(slice, codes(chunk.start + slice.start, slice.length), others);
      return others;
    };
  };
}
