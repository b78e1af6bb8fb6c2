import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Graph, makeTensor, type Tensor } from "../../ir/graph.ts";

/** Tensors that tell the block of each place along an axis; weights of one graph that are cut alike share one. */
export class BlockIndices {
  readonly #tensors = new Map<Graph, Map<string, Tensor>>();

  constructor(private readonly names: FreshNames) {}

  for(graph: Graph, length: number, blockSize: number): Tensor {
    const own = this.#tensors.get(graph) ?? new Map<string, Tensor>();
    this.#tensors.set(graph, own);
    const key = `${length}:${blockSize}`;
    const there = own.get(key);
    if (there) return there;
    const blocks = Int32Array.from({ length }, (_, i) => Math.floor(i / blockSize));
    const name = this.names.fresh(`block_of_${blockSize}_in_${length}`);
    const tensor = makeTensor(name, "int32", [length], bytesOf(blocks));
    own.set(key, tensor);
    return tensor;
  }
}
