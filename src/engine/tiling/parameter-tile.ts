import type { Machine } from "../tensors/context.ts";
import { type Layout, parameterAt } from "../tensors/granularity.ts";
import type { Piece } from "./kernel-slices.ts";

/** Puts the parameters a piece needs into a tile, and leaves them there while the next pieces need the same. */
export function stagerOf(
  { memory }: Machine,
  tile: number,
  values: Float32Array | Int32Array,
  layout: Layout,
): (piece: Piece) => number {
  const Type = values instanceof Float32Array ? Float32Array : Int32Array;
  let [first, count] = [-1, -1];
  return (piece) => {
    if (piece.first === first && piece.count <= count) return tile;
    ({ first, count } = piece);
    const view = memory.view<Float32Array | Int32Array>(Type, tile, count);
    if (layout.each === 1 && layout.times === 1) view.set(values.subarray(first, first + count));
    else for (let i = 0; i < count; i++) view[i] = values[parameterAt(layout, first + i)]!;
    return tile;
  };
}
