import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { makeNode, makeTensor, type Node } from "../../ir/graph.ts";
import { Chain } from "../chain.ts";
import type { GraphEdits } from "../graph-edits.ts";
import { gatherFirst } from "../restore-by-mul.ts";
import type { WeightUsage } from "../weight-usage.ts";
import type { Quantized } from "./quantized-activations.ts";
import type { Storage, Stored, StoredWeights } from "./quantized-weights.ts";

interface TiedContext {
  readonly names: FreshNames;
  readonly edits: GraphEdits;
  readonly weights: StoredWeights;
}

/**
 * Tables [N, K] that Gather takes rows of and products multiply with as [K, N]: token embeddings and the layer that gives
 * logits, of most language models. One set of codes serves both, with a scale for each row where layers have one per channel:
 *
 *   codes -> Gather -> Cast -> [Sub <- Gather <- zero point] -> Mul <- Gather <- scale
 *   codes -> Transpose -> MatMulInteger
 *
 * Runtimes compute that Transpose when they load the model.
 */
export class TiedTables {
  readonly #turned = new Map<WeightUsage, Quantized>();
  readonly #rows = new Map<string, string>();

  constructor(
    private readonly tables: ReadonlySet<WeightUsage>,
    private readonly storage: Storage,
    private readonly context: TiedContext,
  ) {}

  has(usage: WeightUsage): boolean {
    return this.tables.has(usage);
  }

  /** What MatMulInteger takes of a table. */
  asMatrix(usage: WeightUsage): Quantized {
    const there = this.#turned.get(usage);
    if (there) return there;
    const { names, edits } = this.context;
    const { codes, scale, zeroPoint } = this.#stored(usage);
    const turned = names.fresh(`${codes}_transposed`);
    edits.prepend(usage.constant.graph, [makeNode("Transpose", [codes], [turned])]);
    const made = { codes: turned, scale, zeroPoint };
    this.#turned.set(usage, made);
    return made;
  }

  /** A Gather of a table's rows, and what restores them. */
  gather(node: Node, usage: WeightUsage): Node[] {
    const { job, codes, scale, zeroPoint } = this.#stored(usage);
    const { granularity, dtype, scheme } = job.quantization;
    const isPerRow = granularity.axis !== undefined;
    const parameter = (name: string) => (isPerRow ? this.#besideRows(usage, name) : name);
    // Codes of that kind have zero points of 0.
    const isCentred = scheme === "symmetric" && dtype === "int8";
    const parts = {
      codes,
      scale: parameter(scale),
      zeroPoint: isCentred ? undefined : parameter(zeroPoint),
      isOneZeroPoint: false,
    };
    return gatherFirst(node, usage.constant, granularity, parts, new Chain(this.context.names, node.outputs[0] ?? ""));
  }

  #stored(usage: WeightUsage): Stored {
    return this.context.weights.store(usage, this.storage);
  }

  /** A parameter [N] as [N, 1]. */
  #besideRows({ constant: { graph }, tensors }: WeightUsage, name: string): string {
    const there = this.#rows.get(name);
    if (there !== undefined) return there;
    const { names, edits } = this.context;
    const rows = names.fresh(`${name}_of_rows`);
    const shape = names.fresh(`${rows}_shape`);
    tensors.push(makeTensor(shape, "int64", [2], bytesOf(BigInt64Array.of(-1n, 1n))));
    edits.prepend(graph, [makeNode("Reshape", [name, shape], [rows])]);
    this.#rows.set(name, rows);
    return rows;
  }
}
