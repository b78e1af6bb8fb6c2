import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import { elementsAt, type Layout, parameterAt } from "../tensors/granularity.ts";
import type { Operand } from "../tensors/tensor.ts";
import type { Chunk } from "../tiling/chunks.ts";
import { slicesOf } from "../tiling/kernel-slices.ts";
import { tileSourceOf } from "../tiling/tile-io.ts";

/** The values of a chunk's groups as float32, each group's together, in order. */
export function groupValues(
  context: KernelContext,
  tensor: Operand,
  { start }: Pick<Chunk, "start">,
  layout: Layout,
): Float32Array[] {
  const groups = Array.from({ length: layout.parameters }, (_, p) => new Float32Array(elementsAt(layout, p)));
  const filled = new Uint32Array(layout.parameters);
  const put = (p: number, values: Float32Array) => {
    groups[p]!.set(values, filled[p]!);
    filled[p]! += values.length;
  };
  const source = tileSourceOf(context, tensor, "values");
  for (const slice of slicesOf(layout, Math.min(source.limit, TILE), TILE)) {
    const { outer, groups: many, inner, last, step, columns, first } = slice;
    const values = context.memory.view(Float32Array, source.address(start + slice.start, slice.length), slice.length);
    const width = columns || 1;
    let at = 0;
    for (let o = 0; o < outer; o++) {
      for (let g = 0; g < many; g++) {
        const rows = g === many - 1 ? last : inner;
        const p = first + o * step + g * width;
        if (columns === 0) {
          put(parameterAt(layout, p), values.subarray(at, at + rows));
          at += rows;
          continue;
        }
        for (let i = 0; i < rows * columns; i++, at++) {
          const own = parameterAt(layout, p + (i % columns));
          groups[own]![filled[own]!++] = values[at]!;
        }
      }
    }
  }
  return groups;
}
