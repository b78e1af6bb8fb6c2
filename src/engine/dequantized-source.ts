import { TILE } from "../kernels/memory.ts";
import { restorerOf } from "./dequantize-tensor.ts";
import type { Machine } from "./tensors/context.ts";
import type { Layout } from "./tensors/granularity.ts";
import type { QuantizedTensor } from "./tensors/tensor.ts";
import { piecesOf } from "./tiling/kernel-slices.ts";
import { type Source, sourceOf } from "./tiling/tile-io.ts";

/**
 * The values a quantized tensor stands for, restored as they are asked for, in order: each request starts where the one
 * before ended. Requests and the tensor's own pieces need not end together; what is over waits in the tile.
 */
export function restoredSource(machine: Machine, q: QuantizedTensor, layout: Layout): Source {
  const { memory } = machine;
  const codes = sourceOf(machine, q, "codes");
  const restore = restorerOf(machine, q, layout);
  const pieces = piecesOf(layout, Math.min(codes.limit, TILE), TILE);
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
        const { value: piece } = pieces.next();
        if (!piece) break;
        restore(piece, codes.address(piece.start, piece.length), tile + 4 * end);
        end += piece.length;
      }
      const at = tile + 4 * begin;
      begin += length;
      return at;
    },
  };
}
