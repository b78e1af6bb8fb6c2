import type { CodeDType } from "../dtypes.ts";
import { TILE } from "../kernels/memory.ts";
import { writerFor } from "./codes/choose-writer.ts";
import { type Restorable, restorerOf } from "./dequantize-tensor.ts";
import { addSums, type LossSums, lossSummer } from "./measure/quantization-error.ts";
import type { Machine } from "./tensors/context.ts";
import type { Layout } from "./tensors/granularity.ts";
import type { QuantizePlan } from "./tensors/quantize-options.ts";
import type { Parameters } from "./tensors/schemes.ts";
import type { NamedOperand, Operand } from "./tensors/tensor.ts";
import { type Cut, layoutIn, type Window, windowsOf } from "./tiling/chunks.ts";
import { type Piece, piecesOf } from "./tiling/kernel-slices.ts";

/** The parameters of a window among those of its tensor, in the same memory. */
export function parametersOfWindow(
  { scale, zeroPoint, min, span }: Omit<Restorable, "dtype"> & Pick<Parameters, "span">,
  { first, count }: Window,
): Parameters {
  const end = first + count;
  const found = { scale: scale.subarray(first, end), zeroPoint: zeroPoint.subarray(first, end) };
  return min ? { ...found, min: min.subarray(first, end), ...(span && { span: span.subarray(first, end) }) } : found;
}

/**
 * Writes codes and sums up what they lost, window by window, each piece of a window while a cache has it.
 *
 * @param inTurn whether parameters are found on the way, and not yet known
 */
export function writeMeasured(
  machine: Machine,
  tensor: NamedOperand,
  codes: Operand & { readonly dtype: CodeDType },
  plan: QuantizePlan<CodeDType>,
  cut: Cut,
  parameters: Parameters,
  inTurn: boolean,
): LossSums {
  const others = machine.memory.tiles.others;
  const sums: LossSums[] = [];
  for (const window of windowsOf(cut)) {
    const layout = layoutIn(cut, window);
    const own = parametersOfWindow(parameters, window);
    const how = { inTurn, base: window.start, readsBack: true };
    const { write } = writerFor(machine, tensor, codes, plan, layout, own, how);
    const restore = restorerOf(machine, { dtype: codes.dtype, ...own }, layout);
    const loss = lossSummer(machine);
    for (const piece of piecesOf(layout, TILE, TILE)) {
      const written = write(piece);
      restore(piece, written.codes, others);
      loss.add(written.values, others, piece.length);
    }
    sums.push(loss.sums);
  }
  return addSums(sums);
}

/** Restores the pieces of a quantized tensor's windows: `codes` tells where those of a stretch can be read. */
export function windowRestorer(
  machine: Machine,
  q: Restorable,
  codes: (start: number, length: number) => number,
): (window: Window, layout: Layout) => (piece: Piece) => number {
  const { others } = machine.memory.tiles;
  return (window, layout) => {
    const restore = restorerOf(machine, { dtype: q.dtype, ...parametersOfWindow(q, window) }, layout);
    return (piece) => {
      restore(piece, codes(window.start + piece.start, piece.length), others);
      return others;
    };
  };
}
