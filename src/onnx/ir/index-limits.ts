import { attributeOf, type Model } from "./graph.ts";
import { Scope } from "./scopes.ts";
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

const restoring = new Set(["DequantizeLinear", "Mul", "Sub", "Cast"]);

/** The shape of a table that DequantizeLinear or Mul restores from constants. */
function restoredShape(name: string, scope: Scope): readonly number[] | undefined {
  return scope.constantBehind(name, ({ opType }) => restoring.has(opType))?.shape;
}

/** The graph's input that a name shows, through Cast, Reshape and their like. */
function inputBehind(name: string, scope: Scope): string | undefined {
  const [input, definition] = scope.behind(name, isViewOp);
  return definition?.kind === "input" ? input : undefined;
}
