import { attributeOf, type Node } from "../ir/graph.ts";
import type { Use } from "./find-weights.ts";

/** Whether a node takes rows of a table as it lies. */
export function isLookup({ node, direct, input }: Pick<Use, "node" | "direct" | "input">): boolean {
  return node.opType === "Gather" && node.domain === "" && direct && input === 0 && Boolean(node.outputs[0]);
}

export function gatherAxisOf(node: Node, rank: number): number {
  const axis = attributeOf(node, "axis", "int") ?? 0;
  return axis < 0 ? axis + rank : axis;
}
