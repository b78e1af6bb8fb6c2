import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { IntegerJob } from "../../codecs/integer-codec.ts";
import { encodeNode, encodeTensor } from "../../io/encode.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Graph, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import type { ElementType } from "../../proto/schema.ts";
import { lengthOf, type Pending } from "../../proto/wire-format.ts";
import type { FloatConstant, Use } from "../../weights/find-weights.ts";
import { Chain } from "../chain.ts";
import type { GraphEdits } from "../graph-edits.ts";
import type { Requirement } from "./opset-requirement.ts";

/** What takes the place of a constant: tensors and nodes of its graph, and nodes that replace those that used it. */
export class WeightDraft {
  readonly tensors: Tensor[] = [];
  /** Restore the constant under its own name; they stand before all others. */
  readonly nodes: Node[] = [];
  readonly replaced = new Map<Node, readonly Node[]>();
  /** Tensors it shares with others: the block of each place along an axis. */
  readonly indices: Tensor[] = [];

  constructor(
    readonly job: IntegerJob,
    readonly requirement: Requirement,
    private readonly names: FreshNames,
  ) {}

  get constant(): FloatConstant {
    return this.job.constant;
  }

  tensor(suffix: string, type: ElementType, shape: readonly number[], data: Uint8Array | Pending): string {
    const name = this.names.fresh(`${this.constant.name}_${suffix}`);
    this.tensors.push(makeTensor(name, type, shape, data));
    return name;
  }

  /** A chain of nodes that ends in `output`. */
  chain(output: string): Chain {
    return new Chain(this.names, output);
  }

  /** Puts nodes in the place of lookups that take rows first; restores the constant as a whole for all other uses. */
  replaceUses(
    lookups: readonly Use[],
    gatherFirst: (node: Node) => readonly Node[],
    restore: (chain: Chain) => void,
  ): void {
    const { uses, isShown, name } = this.constant;
    for (const { node } of lookups) this.replaced.set(node, gatherFirst(node));
    if (lookups.length === uses.length && !isShown) return;
    const chain = this.chain(name);
    restore(chain);
    this.nodes.push(...chain.nodes);
  }

  putInto(edits: GraphEdits): void {
    edits.jobs.push(this.job);
    edits.substitute(this.constant, this.tensors);
    edits.addTensors(this.constant.graph, this.indices);
    edits.prepend(this.constant.graph, this.nodes);
    for (const [node, nodes] of this.replaced) edits.replace(node, nodes);
    edits.need({ ir: this.requirement.ir });
  }

  /** Bytes that the model grows by, that of the constant itself not counted. */
  get byteLength(): number {
    const tensors = this.tensors.reduce((sum, tensor) => sum + FIELD + lengthOf(encodeTensor(tensor)), 0);
    const sizeOf = (nodes: Iterable<Node>) =>
      Array.from(nodes).reduce((sum, node) => sum + FIELD + lengthOf(encodeNode(node)), 0);
    const grown = Array.from(this.replaced, ([node, nodes]) => sizeOf(nodes) - sizeOf([node]));
    return grown.reduce((sum, bytes) => sum + bytes, tensors + sizeOf(this.nodes));
  }
}

/** A tag and a length of up to 2 MB. */
const FIELD = 4;

/** What a form needs of its surroundings. */
export interface DraftContext {
  readonly names: FreshNames;
  /** An integer tensor for that graph that tells, for each of `length` places, the block it is in. */
  blockIndex(graph: Graph, length: number, blockSize: number): Tensor;
}

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
