import { bytesOf } from "../core/tensor.ts";
import type { Draft } from "./forms/draft.ts";
import { type Graph, graphsOf, type Model, makeTensor, type Node, type Tensor } from "./graph.ts";
import { dropInputs, raiseIr } from "./ir.ts";
import type { Names } from "./names.ts";
import { requirementOf } from "./requirements.ts";

/** Puts drafts in place of their constants. */
export function applyDrafts(model: Model, drafts: readonly Draft[]): void {
  if (drafts.length === 0) return;
  const replaced = new Map<Node, readonly Node[]>(drafts.flatMap((draft) => [...draft.replaced]));
  const byGraph = new Map<Graph, Draft[]>();
  for (const draft of drafts) {
    const { graph } = draft.constant;
    byGraph.set(graph, byGraph.get(graph) ?? []);
    byGraph.get(graph)!.push(draft);
  }
  for (const graph of graphsOf(model.graph)) {
    const own = byGraph.get(graph) ?? [];
    const added = own.flatMap(({ nodes }) => nodes);
    changeConstants(graph, own);
    if (added.length > 0 || graph.nodes.some((node) => replaced.has(node))) {
      graph.nodes = [...added, ...graph.nodes.flatMap((node) => replaced.get(node) ?? [node])];
    }
  }
  raiseIr(
    model,
    drafts.reduce((most, { job }) => Math.max(most, requirementOf(job.form, job.recipe).ir), 0),
  );
}

function changeConstants(graph: Graph, drafts: readonly Draft[]): void {
  if (drafts.length === 0) return;
  const byTensor = new Map(drafts.map((draft) => [draft.constant.tensor, draft]));
  const nodes = new Set(drafts.map(({ constant }) => constant.node));
  const fromNodes = drafts.filter(({ constant }) => constant.node).flatMap(({ tensors }) => tensors);
  graph.initializers = [
    ...graph.initializers.flatMap((tensor) => byTensor.get(tensor)?.tensors ?? [tensor]),
    ...fromNodes,
    ...new Set(drafts.flatMap(({ indices }) => indices)),
  ];
  if (fromNodes.length > 0) graph.nodes = graph.nodes.filter((node) => !nodes.has(node));
  dropInputs(graph, new Set(drafts.map(({ constant }) => constant.name)));
}

/** Tensors that tell the block of each place along an axis; weights of one graph that are cut alike share one. */
export class BlockIndices {
  readonly #tensors = new Map<Graph, Map<string, Tensor>>();

  constructor(private readonly names: Names) {}

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
