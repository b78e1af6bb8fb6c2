import type { FunctionBody } from "../../io/decode-functions.ts";
import type { Graph, Node } from "../../ir/graph.ts";

/** Why a body's names do not add up: what is copied as it lies need not be valid, what is put into a graph must be. */
export function whyInvalid({ inputs, outputs, nodes }: FunctionBody): string | undefined {
  const known = new Set(inputs.filter((name) => name !== ""));
  if (known.size < inputs.length) return "has two inputs of one name";
  const fault = whyNodesInvalid(nodes, known, []);
  if (fault !== undefined) return fault;
  const unmade = outputs.find((name) => !known.has(name));
  return unmade === undefined ? undefined : `gives ${JSON.stringify(unmade)}, which nothing makes`;
}

/** @param own what the nodes make, to be forgotten behind their graph */
function whyNodesInvalid(nodes: readonly Node[], known: Set<string>, own: string[]): string | undefined {
  for (const { inputs, outputs, attributes } of nodes) {
    const unmade = inputs.find((name) => name !== "" && !known.has(name));
    if (unmade !== undefined) return `takes ${JSON.stringify(unmade)}, which nothing before it makes`;
    for (const { graphs } of attributes) {
      for (const graph of graphs) {
        const fault = whyGraphInvalid(graph, known);
        if (fault !== undefined) return fault;
      }
    }
    for (const output of outputs) {
      if (output === "") continue;
      if (known.has(output)) return `has two values of the name ${JSON.stringify(output)}`;
      known.add(output);
      own.push(output);
    }
  }
  return undefined;
}

function whyGraphInvalid(graph: Graph, known: Set<string>): string | undefined {
  if (graph.sparse.length > 0) return "has sparse tensors in a graph of a node";
  const own = [...new Set([...graph.initializers, ...graph.inputs].map(({ name }) => name))];
  const hidden = own.find((name) => known.has(name));
  if (hidden !== undefined) return `has two values of the name ${JSON.stringify(hidden)}`;
  for (const name of own) known.add(name);
  const fault = whyNodesInvalid(graph.nodes, known, own);
  if (fault !== undefined) return fault;
  const unmade = graph.outputs.find(({ name }) => !known.has(name));
  for (const name of own) known.delete(name);
  return unmade && `has a graph that gives ${JSON.stringify(unmade.name)}, which nothing makes`;
}

/** Names that graphs within nodes give without making them: a function's inputs, as it may be. */
export function namesShown(nodes: readonly Node[]): ReadonlySet<string> {
  const shown = new Set<string>();
  const visit = (list: readonly Node[]) => {
    for (const { attributes } of list) {
      for (const { graphs } of attributes) {
        for (const graph of graphs) {
          for (const { name } of graph.outputs) shown.add(name);
          visit(graph.nodes);
        }
      }
    }
  };
  visit(nodes);
  return shown;
}
