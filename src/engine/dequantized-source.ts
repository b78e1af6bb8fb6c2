import { TILE } from "../kernels/memory.ts";
import { dequantizerOf } from "./dequantize-tensor.ts";
import type { KernelContext } from "./tensors/context.ts";
import type { Layout } from "./tensors/granularity.ts";
import type { QuantizedTensor } from "./tensors/tensor.ts";
import { slicesOf } from "./tiling/kernel-slices.ts";
import { type TileSource, tileSourceOf } from "./tiling/tile-io.ts";

/**
 * The values a quantized tensor stands for, restored as they are asked for, in order: each request starts where the one
 * before ended. Requests and the tensor's own slices need not end together; what is over waits in the tile.
 */
export function dequantizedSource(context: KernelContext, q: QuantizedTensor, layout: Layout): TileSource {
  const { memory } = context;
  const codes = tileSourceOf(context, q, "codes");
  const restore = dequantizerOf(context, q, layout);
  const slices = slicesOf(layout, Math.min(codes.limit, TILE), TILE);
  const tile = memory.tiles.others;
  let [begin, end] = [0, 0]; // elements of the tile that wait

  return {
    limit: TILE,
    address(_, length) {
      if (end - begin < length) {
        memory.view(Float32Array, tile, end).copyWithin(0, begin, end);
        [begin, end] = [0, end - begin];
      }
      while (end < length) {
        const { value: slice } = slices.next();
        if (!slice) break;
        restore(slice, codes.address(slice.start, slice.length), tile + 4 * end);
        end += slice.length;
      }
      const at = tile + 4 * begin;
      begin += length;
      return at;
    },
  };
}
