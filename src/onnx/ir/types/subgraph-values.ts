import { attributeOf, type Graph, type Node } from "../graph.ts";

/** Names of values that are of one type, being one value outside a node's graph and within it. */
export interface Crossing {
  readonly outside: readonly string[];
  readonly inside: readonly string[];
}

/** What passes into a graph of If, Loop or Scan, and out of it. */
export function crossings(node: Node, inner: Graph): Crossing[] {
  if (node.domain !== "") return [];
  const pair = (outside: (string | undefined)[], inside: (string | undefined)[]) => ({
    outside: outside.filter((name) => name !== undefined),
    inside: inside.filter((name) => name !== undefined),
  });
  const { inputs, outputs } = node;
  const [given, made] = [inner.inputs.map(({ name }) => name), inner.outputs.map(({ name }) => name)];
  if (node.opType === "If") return made.map((name, i) => pair([outputs[i]], [name]));
  if (node.opType === "Loop") {
    const carried = given.slice(2).map((name, i) => pair([inputs[i + 2], outputs[i]], [name, made[i + 1]]));
    const scanned = made.slice(given.length - 1).map((name, i) => pair([outputs[given.length - 2 + i]], [name]));
    return [...carried, ...scanned];
  }
  if (node.opType !== "Scan") return [];
  // Before opset 9 the lengths of sequences came first.
  const first = inputs.length - given.length;
  const states = given.length - (attributeOf(node, "num_scan_inputs", "int") ?? given.length);
  return [
    ...given.map((name, i) => pair([inputs[first + i], ...(i < states ? [outputs[i]] : [])], [name])),
    ...made.map((name, i) => pair([outputs[i]], [name])),
  ];
}
