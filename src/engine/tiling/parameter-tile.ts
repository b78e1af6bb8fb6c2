import type { KernelContext } from "../tensors/context.ts";
import { type Layout, parameterAt } from "../tensors/granularity.ts";
import type { KernelSlice } from "./kernel-slices.ts";

/** Puts the parameters a slice needs into a tile, and leaves them there while the next slices need the same. */
export function parameterTileOf(
  { memory }: KernelContext,
  tile: number,
  values: Float32Array | Int32Array,
  layout: Layout,
): (slice: KernelSlice) => number {
  const Type = values instanceof Float32Array ? Float32Array : Int32Array;
  let [first, count] = [-1, -1];
  return (slice) => {
    if (slice.first === first && slice.count <= count) return tile;
    ({ first, count } = slice);
    const view = memory.view<Float32Array | Int32Array>(Type, tile, count);
    if (layout.each === 1 && layout.times === 1) view.set(values.subarray(first, first + count));
    else for (let i = 0; i < count; i++) view[i] = values[parameterAt(layout, first + i)]!;
    return tile;
  };
}
