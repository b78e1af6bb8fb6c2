import { ArgumentError } from "../errors.ts";
import { matcherOf } from "../task/globs.ts";
import type { Model } from "./graph.ts";
import { graphsOf } from "./graph.ts";
import { opNameOf, weightOps } from "./ops.ts";
import { findRestored } from "./restored.ts";
import type { Scope } from "./scopes.ts";
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
  /** Whether it belongs to a weight that is quantized already: scales, offsets. */
  readonly isPart: boolean;
}

/**
 * Tells weights from other constants, and those that are wanted from those that are not.
 *
 * @throws ArgumentError for a glob or a type that matches nothing
 */
export function selectWeights(
  model: Model,
  constants: readonly FloatConstant[],
  root: Scope,
  selection: WeightSelection,
): Candidate[] {
  const shadowing = new Set(root.shadowing());
  const isAmbiguous = ({ name, uses }: FloatConstant) =>
    [name, ...uses.flatMap(({ node }) => node.outputs)].some((each) => shadowing.has(each));
  const parts = new Set(findRestored(root).flatMap(({ scale, zeroPoint }) => [scale, zeroPoint]));
  const isPart = ({ tensor, uses }: FloatConstant) =>
    parts.has(tensor) || (uses.length > 0 && uses.every(({ node }) => takesCodes.test(opNameOf(node))));
  const names = constants.filter((constant) => isWeight(constant) && !isPart(constant)).flatMap(namesOf);
  const included = matcherOf("include", selection.include, names, "weight or node");
  const excluded = matcherOf("exclude", selection.exclude, names, "weight or node");
  const types = selection.opTypes && new Set(selection.opTypes);
  if (types) checkTypes(model, types);
  return constants.map((constant): Candidate => {
    const candidate = { constant, isWeight: isWeight(constant), isPart: isPart(constant) };
    if (candidate.isPart) return { ...candidate, reason: "belongs to a weight that is quantized already" };
    if (!candidate.isWeight) return { ...candidate, reason: whyNoWeight(constant) };
    if (isAmbiguous(constant))
      return { ...candidate, reason: "a name of its own or of its users stands for two things" };
    if (constant.tensor.type === "float64") return { ...candidate, reason: "float64" };
    if (constant.tensor.shape.includes(0)) return { ...candidate, reason: "empty" };
    if (included && !namesOf(constant).some(included)) return { ...candidate, reason: "not included" };
    if (excluded && namesOf(constant).some(excluded)) return { ...candidate, reason: "excluded" };
    if (types && !constant.uses.some(({ node, axes }) => axes && types.has(opNameOf(node)))) {
      return { ...candidate, reason: "not of those op types" };
    }
    return candidate;
  });
}

/** Ops that take codes, and floats that say what they stand for. */
const takesCodes =
  /^(com\.microsoft\.)?(Quantize|Dequantize|DynamicQuantize|QLinear|Q[A-Z]|MatMulNBits|MatMulBnb4|MatMulInteger|GatherBlockQuantized)/;

function isWeight({ uses }: FloatConstant): boolean {
  return uses.some(({ axes }) => axes !== undefined);
}

/** A weight goes by its own name and by those of the nodes it is a weight to. */
function namesOf({ name, uses }: FloatConstant): string[] {
  const nodes = uses.filter(({ axes }) => axes !== undefined).map(({ node }) => node.name);
  return [name, ...new Set(nodes.filter((node) => node !== ""))];
}

function whyNoWeight(constant: FloatConstant): string {
  const { uses, viewers, isShown } = constant;
  if (uses.length === 0 && viewers.length > 0) {
    return `used behind ${[...new Set(viewers.map(opNameOf))].join(", ")}, which cannot be followed`;
  }
  if (uses.length === 0) return isShown ? "an output" : "used by no node";
  return `used by ${usersOf(constant).join(", ")}, not as a weight`;
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
