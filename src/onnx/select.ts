import { ArgumentError } from "../errors.ts";
import { matcherOf } from "../task/globs.ts";
import type { Model } from "./graph.ts";
import { graphsOf } from "./graph.ts";
import { opNameOf, weightOps } from "./ops.ts";
import { type FloatConstant, usersOf } from "./weights.ts";

/** Which weights to quantize. */
export interface WeightSelection {
  /** Globs over names of weights and of the nodes that use them. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
  /** Only weights of nodes of these types: `Conv`, `com.microsoft.Attention`. */
  readonly opTypes?: readonly string[] | undefined;
}

/** A constant that may be quantized, or the reason why not. */
export interface Candidate {
  readonly constant: FloatConstant;
  readonly reason?: string | undefined;
  /** Whether some node uses it as a weight. */
  readonly isWeight: boolean;
}

/**
 * Tells weights from other constants, and those that are wanted from those that are not.
 *
 * @throws ArgumentError for a glob or a type that matches nothing
 */
export function selectWeights(
  model: Model,
  constants: readonly FloatConstant[],
  selection: WeightSelection,
): Candidate[] {
  const names = constants.filter(isWeight).flatMap(namesOf);
  const included = matcherOf("include", selection.include, names, "weight or node");
  const excluded = matcherOf("exclude", selection.exclude, names, "weight or node");
  const types = selection.opTypes && new Set(selection.opTypes);
  if (types) checkTypes(model, types);
  return constants.map((constant): Candidate => {
    const candidate = { constant, isWeight: isWeight(constant) };
    if (!candidate.isWeight) return { ...candidate, reason: whyNoWeight(constant) };
    if (constant.tensor.type === "float64") return { ...candidate, reason: "float64" };
    if (constant.tensor.shape.includes(0)) return { ...candidate, reason: "empty" };
    if (included && !namesOf(constant).some(included)) return { ...candidate, reason: "not included" };
    if (excluded && namesOf(constant).some(excluded)) return { ...candidate, reason: "excluded" };
    if (types && !constant.uses.some(({ node, axes }) => axes && types.has(opNameOf(node)))) {
      return { ...candidate, reason: `used by ${usersOf(constant).join(", ")}` };
    }
    return candidate;
  });
}

function isWeight({ uses }: FloatConstant): boolean {
  return uses.some(({ axes }) => axes !== undefined);
}

/** A weight goes by its own name and by those of the nodes it is a weight to. */
function namesOf({ name, uses }: FloatConstant): string[] {
  const nodes = uses.filter(({ axes }) => axes !== undefined).map(({ node }) => node.name);
  return [name, ...new Set(nodes.filter((node) => node !== ""))];
}

function whyNoWeight(constant: FloatConstant): string {
  if (constant.uses.length === 0) return "used by no node";
  return `no weight: used by ${usersOf(constant).join(", ")}`;
}

function checkTypes(model: Model, types: ReadonlySet<string>): void {
  const there = new Set<string>();
  for (const { nodes } of graphsOf(model.graph)) for (const node of nodes) there.add(opNameOf(node));
  const known = weightOps.filter((type) => there.has(type)).join(", ") || "none";
  for (const type of types) {
    if (!there.has(type))
      throw new ArgumentError("opTypes", `the model has no ${type} node; of those with weights it has: ${known}`);
    if (!weightOps.includes(type))
      throw new ArgumentError("opTypes", `${type} has no weights that are known; here: ${known}`);
  }
}
