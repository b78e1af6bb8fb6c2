import { matcherOf } from "../../../pipeline/name-globs.ts";
import { graphsOf, type Model, type Node } from "../../ir/graph.ts";
import { checkOpTypes, opNameOf } from "../../ir/operators.ts";
import type { Values } from "../../ir/types/type-inference.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";
import { isControl, isMover } from "./half-operators.ts";
import { isFloat } from "./node-order.ts";

/**
 * Why a node is to stay float32, by its own name, those of the constants it takes, and its type.
 *
 * @throws ArgumentError for a glob or a type that matches nothing
 */
export function unwanted(
  model: Model,
  values: Values,
  { include, exclude, opTypes }: WeightSelection,
): (node: Node) => string | undefined {
  if (!include && !exclude && !opTypes) return () => undefined;
  const names = new Map<Node, string[]>();
  const nodes = Array.from(graphsOf(model.graph)).flatMap((graph) => graph.nodes);
  for (const node of nodes) names.set(node, node.name === "" ? [] : [node.name]);
  for (const value of values.all) {
    if ((value.constant ?? value.fallback) && isFloat(value))
      for (const { node } of value.takers) names.get(node)?.push(value.name);
  }
  const all = [...names.values()].flat();
  const included = matcherOf("include", include, all, "weight or node");
  const excluded = matcherOf("exclude", exclude, all, "weight or node");
  const types = opTypes && new Set(opTypes);
  if (opTypes) checkOpTypes(model, opTypes);
  return (node) => {
    const own = names.get(node) ?? [];
    if (excluded && own.some(excluded)) return "excluded";
    // What reckons with no number goes with those beside it.
    if (isMover(node) || isControl(node)) return undefined;
    if (included && !own.some(included)) return "not included";
    return types && !types.has(opNameOf(node)) ? "not of those op types" : undefined;
  };
}
