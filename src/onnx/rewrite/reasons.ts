import type { Node } from "../graph.ts";
import { opNameOf } from "../ops.ts";
import type { Scope } from "../scopes.ts";
import type { FloatConstant } from "../weights.ts";

/** Ops that show a constant otherwise than it is stored, if all nodes that use it take it from them. */
export function viewersOf({ uses, viewers }: FloatConstant): string | undefined {
  const isBehind = uses.length > 0 && uses.every(({ direct }) => !direct);
  return isBehind ? [...new Set(viewers.map(opNameOf))].join(", ") : undefined;
}

/** A line on products of two values that only a run tells, if there are any: nothing of them is a weight. */
export function withoutWeights(root: Scope, constants: readonly FloatConstant[]): string[] {
  const users = new Set(constants.flatMap(({ uses }) => uses.map(({ node }) => node)));
  const nodes: Node[] = [];
  for (const { graph } of root.all()) {
    nodes.push(...graph.nodes.filter((node) => opNameOf(node) === "MatMul" && !users.has(node)));
  }
  if (nodes.length === 0) return [];
  const names = nodes.slice(0, 3).map(({ name, outputs: [output = ""] }) => name || output);
  const many = nodes.length === 1 ? "1 MatMul has" : `${nodes.length} MatMul have`;
  return [`${many} no constant to multiply with, so no weight: ${names.join(", ")}${nodes.length > 3 ? ", ..." : ""}`];
}
