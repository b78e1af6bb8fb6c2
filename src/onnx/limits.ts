import { attributeOf, type Model, type Node } from "./graph.ts";
import { type Definition, Scope } from "./scopes.ts";
import { isViewOp } from "./views.ts";

/** For each input that indexes a table, how many rows the table has: the smallest where there are several. */
export function indexLimits(model: Model, file: string): ReadonlyMap<string, number> {
  const limits = new Map<string, number>();
  const root = new Scope(file, model.graph);
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      if (node.opType !== "Gather" && node.opType !== "GatherBlockQuantized") continue;
      const [table = "", indices = ""] = node.inputs;
      const shape = restoredShape(table, scope);
      const axis = attributeOf(node, "axis", "int") ?? attributeOf(node, "gather_axis", "int") ?? 0;
      const rows = shape?.at(axis);
      const input = inputBehind(indices, scope);
      if (rows !== undefined && input !== undefined) limits.set(input, Math.min(limits.get(input) ?? rows, rows));
    }
  }
  return limits;
}

/** More steps than a model takes; a circle has no end. */
const MOST_STEPS = 64;

/** The first definition behind a name, along the first inputs of nodes of some types, that is none of those. */
function behind(name: string, scope: Scope, passes: (node: Node) => boolean): [string, Definition | undefined] {
  let [at, definition] = [name, scope.find(name)];
  for (let i = 0; definition?.kind === "node" && passes(definition.node) && i < MOST_STEPS; i++) {
    const { node, scope: home } = definition;
    at = node.inputs[0] ?? "";
    definition = home.find(at);
  }
  return [at, definition];
}

const restoring = new Set(["DequantizeLinear", "Mul", "Sub", "Cast"]);

/** The shape of a table that DequantizeLinear or Mul restores from constants. */
function restoredShape(name: string, scope: Scope): readonly number[] | undefined {
  const [, definition] = behind(name, scope, ({ opType }) => restoring.has(opType));
  return definition?.kind === "constant" ? definition.constant.tensor.shape : undefined;
}

/** The graph's input that a name shows, through Cast, Reshape and their like. */
function inputBehind(name: string, scope: Scope): string | undefined {
  const [input, definition] = behind(name, scope, isViewOp);
  return definition?.kind === "input" ? input : undefined;
}
