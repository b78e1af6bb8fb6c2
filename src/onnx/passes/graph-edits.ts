import type { Job } from "../codecs/codec.ts";
import { type Graph, graphsOf, type Model, type Node, type Tensor } from "../ir/graph.ts";
import type { Constant } from "../ir/scopes.ts";
import { sortNodes } from "../ir/topological-sort.ts";

/** What a pass wants done to a model, gathered first and done at once: nothing that it looks at changes under its hands. */
export class GraphEdits {
  readonly jobs: Job[] = [];
  readonly #instead = new Map<Tensor, readonly Tensor[]>();
  readonly #goneNodes = new Set<Node>();
  readonly #goneNames = new Map<Graph, Set<string>>();
  readonly #tensors = new Map<Graph, Tensor[]>();
  readonly #front = new Map<Graph, Node[]>();
  readonly #replaced = new Map<Node, readonly Node[]>();
  readonly #behind = new Map<Node, Node[]>();
  readonly #domains = new Map<string, number>();
  #ir = 0;

  /** Puts tensors in a constant's place. */
  substitute({ graph, tensor, node, name }: Constant, tensors: readonly Tensor[]): void {
    if (node) {
      this.#goneNodes.add(node);
      this.addTensors(graph, tensors);
    } else {
      this.#instead.set(tensor, tensors);
    }
    const names = this.#goneNames.get(graph);
    if (names) names.add(name);
    else this.#goneNames.set(graph, new Set([name]));
  }

  addTensors(graph: Graph, tensors: readonly Tensor[]): void {
    append(this.#tensors, graph, tensors);
  }

  /** Puts nodes before all others of a graph. */
  prepend(graph: Graph, nodes: readonly Node[]): void {
    append(this.#front, graph, nodes);
  }

  /** Puts nodes in another's place. */
  replace(node: Node, nodes: readonly Node[]): void {
    this.#replaced.set(node, nodes);
  }

  /** Puts nodes behind another, or what stands in its place. */
  follow(node: Node, nodes: readonly Node[]): void {
    append(this.#behind, node, nodes);
  }

  /** What the nodes need: a domain's opset, if the model imports none, and an IR version. */
  need({ domain, opset, ir }: { domain?: string; opset?: number; ir?: number }): void {
    if (domain !== undefined && opset !== undefined) this.#domains.set(domain, opset);
    if (ir !== undefined) this.#ir = Math.max(this.#ir, ir);
  }

  get isEmpty(): boolean {
    const { size } = this.#instead;
    return this.jobs.length === 0 && size === 0 && this.#replaced.size === 0 && this.#tensors.size === 0;
  }

  /** Whether other nodes take a node's place. */
  isReplaced(node: Node): boolean {
    return this.#replaced.has(node);
  }

  /** All nodes that are put in. */
  *nodes(): Generator<Node> {
    for (const lists of [this.#front, this.#replaced, this.#behind]) for (const nodes of lists.values()) yield* nodes;
  }

  /** @throws FormatError when nodes cannot be put in order */
  apply(file: string, model: Model): void {
    if (this.isEmpty) return;
    for (const [domain, opset] of this.#domains) if (!model.opsets.has(domain)) model.opsets.set(domain, opset);
    for (const graph of graphsOf(model.graph)) {
      this.#changeTensors(graph);
      this.#changeNodes(graph);
    }
    raiseIr(model, this.#ir);
    sortNodes(file, model);
  }

  #changeTensors(graph: Graph): void {
    const added = this.#tensors.get(graph) ?? [];
    if (added.length > 0 || graph.initializers.some((tensor) => this.#instead.has(tensor))) {
      graph.initializers = [
        ...graph.initializers.flatMap((tensor) => this.#instead.get(tensor) ?? [tensor]),
        ...new Set(added),
      ];
    }
    const gone = this.#goneNames.get(graph);
    if (gone) dropInputs(graph, gone);
  }

  #changeNodes(graph: Graph): void {
    const front = this.#front.get(graph) ?? [];
    const isTouched = (node: Node) => this.#goneNodes.has(node) || this.#replaced.has(node) || this.#behind.has(node);
    if (front.length === 0 && !graph.nodes.some(isTouched)) return;
    graph.nodes = [
      ...front,
      ...graph.nodes.flatMap((node) => [
        ...(this.#goneNodes.has(node) ? [] : (this.#replaced.get(node) ?? [node])),
        ...(this.#behind.get(node) ?? []),
      ]),
    ];
  }
}

function append<K, V>(lists: Map<K, V[]>, key: K, values: readonly V[]): void {
  const list = lists.get(key);
  if (list) list.push(...values);
  else lists.set(key, [...values]);
}

/** Up to IR 3 initializers had to be inputs; from 4 on that means that callers may set them. */
export const FREE_INITIALIZERS = 4;
/**
 * Raises a model's IR version, if it is below `least`. Initializers that old models had to list among their inputs leave
 * them: what may be set is no constant to a runtime, and is not fused with what uses it.
 */
export function raiseIr(model: Model, least: number): void {
  if (model.irVersion >= least) return;
  if (model.irVersion < FREE_INITIALIZERS && least >= FREE_INITIALIZERS) {
    for (const graph of graphsOf(model.graph)) {
      dropInputs(graph, new Set([...graph.initializers, ...graph.sparse].map(({ name }) => name)));
    }
  }
  model.irVersion = least;
}

/** Takes names from a graph's inputs. */
export function dropInputs(graph: Graph, names: ReadonlySet<string>): void {
  if (!graph.inputs.some(({ name }) => names.has(name))) return;
  graph.inputs = graph.inputs.filter(({ name }) => !names.has(name));
}
