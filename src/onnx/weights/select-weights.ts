import { matcherOf, type NameGlobs } from "../../pipeline/name-globs.ts";
import type { Model, Node, Tensor } from "../ir/graph.ts";
import { roleOf } from "../ir/input-roles.ts";
import { checkOpTypes, opNameOf, weightOps } from "../ir/operators.ts";
import type { Scope } from "../ir/scopes.ts";
import { findQuantized, type QuantizedConstant } from "./find-quantized.ts";
import type { FloatConstant } from "./find-weights.ts";

/** Which weights to quantize; globs match names of weights and of the nodes that use them. */
export interface WeightSelection extends NameGlobs {
  /** Only weights of nodes of these types: `Conv`, `com.microsoft.Attention`. */
  readonly opTypes?: readonly string[] | undefined;
  /** Whether another pass went before, which may have taken all that a glob or a type names. */
  readonly isSecond?: boolean | undefined;
  /** Constants that passes before have stored as codes; where nodes still use one, it stays beside its codes. */
  readonly done?: ReadonlySet<Tensor> | undefined;
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

/** Tells weights from other constants, and those that are wanted from those that are not. */
export class Selection {
  /** Found once: thousands of nodes may use one constant. */
  readonly #asIs = new Map<FloatConstant, Candidate>();
  readonly #shadowing: ReadonlySet<string>;
  readonly #parts: ReadonlySet<Tensor>;
  readonly #done: ReadonlySet<Tensor> | undefined;
  readonly #included: ((name: string) => boolean) | undefined;
  readonly #excluded: ((name: string) => boolean) | undefined;
  readonly #types: ReadonlySet<string> | undefined;

  /**
   * @param ops the types whose weights can be quantized
   * @throws ArgumentError for a glob or a type that matches nothing
   */
  constructor(
    model: Model,
    constants: readonly FloatConstant[],
    root: Scope,
    { include, exclude, opTypes, isSecond, done }: WeightSelection,
    ops: readonly string[] = weightOps,
  ) {
    this.#shadowing = new Set(root.shadowing());
    this.#done = done;
    this.#parts = partsOf(findQuantized(root));
    const weights = constants.filter((constant) => isWeight(constant) && !isPart(constant, this.#parts));
    const names = isSecond ? undefined : weights.flatMap(namesOf);
    this.#included = matcherOf("include", include, names, "weight or node");
    this.#excluded = matcherOf("exclude", exclude, names, "weight or node");
    this.#types = opTypes && new Set(opTypes);
    if (opTypes && !isSecond) checkOpTypes(model, opTypes, ops);
  }

  /** A constant as a whole: one name that is excluded is enough. */
  candidate(constant: FloatConstant): Candidate {
    const { reason, ...candidate } = this.asIs(constant);
    return { ...candidate, reason: reason ?? this.#unwanted(constant) };
  }

  /** A constant, whatever is wanted. */
  asIs(constant: FloatConstant): Candidate {
    const there = this.#asIs.get(constant);
    if (there) return there;
    const candidate = { constant, isWeight: isWeight(constant), isPart: isPart(constant, this.#parts) };
    const found = { ...candidate, reason: this.#obstacle(candidate) };
    this.#asIs.set(constant, found);
    return found;
  }

  /** Why a node is to leave a constant as it is that others may have otherwise. */
  reasonAt(node: Node, { name }: FloatConstant): string | undefined {
    const names = [name, node.name].filter((each) => each !== "");
    if (this.#included && !names.some(this.#included)) return "not included";
    if (this.#excluded && names.some(this.#excluded)) return "excluded";
    return this.#types && !this.#types.has(opNameOf(node)) ? "not of those op types" : undefined;
  }

  #obstacle({ constant, isWeight, isPart }: Candidate): string | undefined {
    if (isPart) return "belongs to a weight that is quantized already";
    if (!isWeight) return whyNoWeight(constant);
    const { name, uses, tensor, dtype } = constant;
    if (this.#done?.has(tensor)) return "stored as codes already";
    if ([name, ...uses.flatMap(({ node }) => node.outputs)].some((each) => this.#shadowing.has(each))) {
      return "a name of its own or of its users stands for two things";
    }
    if (dtype === "float64") return dtype;
    return tensor.shape.includes(0) ? "empty" : undefined;
  }

  #unwanted(constant: FloatConstant): string | undefined {
    if (this.#included && !namesOf(constant).some(this.#included)) return "not included";
    if (this.#excluded && namesOf(constant).some(this.#excluded)) return "excluded";
    const types = this.#types;
    if (types && !constant.uses.some(({ node, axes }) => axes && types.has(opNameOf(node))))
      return "not of those op types";
    return undefined;
  }
}

/** Ops that take codes, and floats that say what they stand for. */
const takesCodes =
  /^(com\.microsoft\.)?(Quantize|Dequantize|DynamicQuantize|QLinear|Q[A-Z]|MatMulNBits|MatMulBnb4|MatMulInteger|GatherBlockQuantized)/;

/** Whether some constant is a float weight, beside the scales and offsets of those that are codes. */
export function hasFloatWeights(constants: readonly FloatConstant[], restored: readonly QuantizedConstant[]): boolean {
  const parts = partsOf(restored);
  return constants.some((constant) => isWeight(constant) && !isPart(constant, parts));
}

function partsOf(restored: readonly QuantizedConstant[]): ReadonlySet<Tensor> {
  return new Set(restored.flatMap(({ scale, zeroPoint }) => [scale, ...(zeroPoint ? [zeroPoint] : [])]));
}

function isPart({ tensor, uses }: FloatConstant, parts: ReadonlySet<Tensor>): boolean {
  return parts.has(tensor) || (uses.length > 0 && uses.every(({ node }) => takesCodes.test(opNameOf(node))));
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
  const { uses, viewers, isShown } = constant;
  if (uses.length === 0 && viewers.length > 0) {
    return `used behind ${[...new Set(viewers.map(opNameOf))].join(", ")}, which cannot be followed`;
  }
  if (uses.length === 0) return isShown ? "an output" : "used by no node";
  return `used by ${usesNamed(constant).join(", ")}, not as a weight`;
}

/** Types of nodes and what a constant is to them, each once: "LayerNormalization as its scale". */
function usesNamed({ uses, tensor: { shape } }: FloatConstant): string[] {
  const named = uses.map(({ node, input }) => {
    const role = roleOf(node, input, shape);
    return role === undefined ? opNameOf(node) : `${opNameOf(node)} as its ${role}`;
  });
  return [...new Set(named)];
}
