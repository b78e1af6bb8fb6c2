import type { IntegerDType } from "../dtypes.ts";
import type { Kernels } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import type { Layout } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { destinationOf, type Operand, sourceOf } from "./operands.ts";
import { type Piece, piecesOf, shapeOf } from "./pieces.ts";
import { codeNameOf } from "./quantize.ts";
import { stagerOf } from "./stage.ts";
import type { QuantizedTensor } from "./tensor.ts";

/** What codes stand for: all of a quantized tensor but its codes. */
export type Restorable = Pick<QuantizedTensor, "dtype" | "scale" | "zeroPoint" | "min">;

/** Restores one piece: reads its codes from `src`, writes float32 to `dst`. */
export type Restore = (piece: Piece, src: number, dst: number) => void;

export function restorerOf(machine: Machine, q: Restorable, layout: Layout): Restore {
  const { kernels, memory } = machine;
  const scale = stagerOf(machine, memory.tiles.third, q.scale, layout);
  const second = stagerOf(machine, memory.tiles.fourth, q.min ?? q.zeroPoint, layout);
  const base = q.min ? [q.zeroPoint[0] ?? 0] : [];
  const name = `${q.min ? "floatOffset" : "dequantize"}${nameOf(q.dtype)}F32${layout.columns ? "Columns" : ""}`;
  const kernel = kernels[name as keyof Kernels] as (...args: number[]) => void;
  return (piece, src, dst) => kernel(src, dst, scale(piece), second(piece), ...base, ...shapeOf(piece));
}

function nameOf(dtype: IntegerDType): string {
  return dtype === "int32" ? "I32" : codeNameOf(dtype);
}

/** Writes the values that the codes of `q` stand for into `values`. */
export function writeValues(machine: Machine, q: QuantizedTensor, values: Operand, layout: Layout): void {
  const source = sourceOf(machine, q, "codes");
  const destination = destinationOf(machine, values, "others");
  const restore = restorerOf(machine, q, layout);
  for (const piece of piecesOf(layout, Math.min(source.limit, destination.limit), TILE)) {
    const { start, length } = piece;
    restore(piece, source.address(start, length), destination.address(start, length));
    destination.commit(start, length);
  }
}
