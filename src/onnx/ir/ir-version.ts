import { type Graph, graphsOf, type Model } from "./graph.ts";

/** Up to IR 3 initializers had to be inputs; from 4 on that means that callers may set them. */
const FREE_INITIALIZERS = 4;

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
