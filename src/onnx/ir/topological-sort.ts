import { FormatError } from "../../errors.ts";
import { type Graph, graphsOf, type Model, type Node } from "./graph.ts";

/** Puts the nodes of all graphs in an order in which each stands behind those it takes from; as they were, if they do. */
export function sortNodes(file: string, model: Model): void {
  for (const graph of graphsOf(model.graph)) {
    const sorted = inOrder(file, graph);
    if (sorted) graph.nodes = sorted;
  }
}

/** @throws FormatError naming a node that needs what is made of its own output */
export function checkCircles(file: string, model: Model): void {
  for (const graph of graphsOf(model.graph)) inOrder(file, graph);
}

/** The nodes in order; undefined where they are. */
function inOrder(file: string, graph: Graph): Node[] | undefined {
  const makers = new Map<string, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) if (output !== "") makers.set(output, node);
  const done = new Set<Node>();
  const needs = (node: Node) => [...usedBy(node)].flatMap((input) => makers.get(input) ?? []);
  if (graph.nodes.every((node) => needs(node).every((maker) => done.has(maker)) && done.add(node))) return undefined;

  done.clear();
  const order: Node[] = [];
  for (const first of graph.nodes) {
    if (done.has(first)) continue;
    // Depth first with a stack of its own: chains of nodes are longer than calls may be nested.
    const path = [{ node: first, rest: needs(first) }];
    const open = new Set([first]);
    while (path.length > 0) {
      const { node, rest } = path.at(-1)!;
      const next = rest.pop();
      if (next === undefined) {
        path.pop();
        open.delete(node);
        done.add(node);
        order.push(node);
      } else if (open.has(next)) {
        const who = `${next.opType} node ${JSON.stringify(next.name || (next.outputs[0] ?? ""))}`;
        throw new FormatError(file, `${who} needs what is made of its own output`);
      } else if (!done.has(next)) {
        open.add(next);
        path.push({ node: next, rest: needs(next) });
      }
    }
  }
  return order;
}

/** What a node takes, and what the graphs within it take from outside. */
export function* usedBy({ inputs, attributes }: Node): Generator<string> {
  yield* inputs;
  for (const { graphs } of attributes) for (const graph of graphs) yield* takenFromOutside(graph);
}

function* takenFromOutside(graph: Graph): Generator<string> {
  const own = new Set([...graph.initializers, ...graph.inputs].map(({ name }) => name));
  for (const { outputs } of graph.nodes) for (const output of outputs) own.add(output);
  for (const node of graph.nodes) for (const name of usedBy(node)) if (!own.has(name)) yield name;
  for (const { name } of graph.outputs) if (!own.has(name)) yield name;
}
