import { levelsOf } from "../../core/schemes.ts";
import type { CodeDType } from "../../dtypes.ts";
import { roundHalfToEven } from "../../kernels/rounding.ts";
import type { Edits } from "../edits.ts";
import { intAttribute, makeNode, type Node } from "../graph.ts";
import type { Names } from "../names.ts";
import { codeOf, type ElementType } from "../proto.ts";
import { isNarrow, type Recipe } from "../recipe.ts";
import type { Claim, Claims } from "../rewrite/claims.ts";
import type { Scope } from "../scopes.ts";
import type { FloatConstant } from "../weights.ts";
import type { Activations } from "./activations.ts";
import type { Storage, StoredWeights } from "./stored.ts";

export interface DynamicWishes {
  readonly dtype: CodeDType;
  readonly scheme: "symmetric" | "affine";
  readonly perChannel: boolean;
  readonly reduceRange: boolean;
  /** How Conv becomes ConvInteger; undefined where Conv stays in floating point, as ConvInteger is slower on CPUs. */
  readonly conv?: { readonly dtype: "int8" | "uint8"; readonly scheme: "symmetric" | "affine" } | undefined;
  /** Whether it is one of a set, of which the type is not chosen. */
  readonly isVariant?: boolean | undefined;
  /** The tool whose choices and bytes are wanted, where it is another one. */
  readonly like?: "onnxruntime" | undefined;
}

/** A node of a graph. */
export interface Site {
  readonly node: Node;
  readonly scope: Scope;
}

/** What rewriting one node needs of its surroundings. */
export interface Pass {
  readonly names: Names;
  readonly edits: Edits;
  readonly claims: Claims;
  readonly activations: Activations;
  readonly weights: StoredWeights;
  readonly wishes: DynamicWishes;
}

/** Rewrites a node, or gives the reason why not. */
export type Rewrite = (site: Site, pass: Pass) => string | undefined;

/** Weights in one type and rounding; `axis` where each channel has a scale of its own. */
export function recipeOf(wishes: DynamicWishes, axis?: Recipe["granularity"]["axis"]) {
  const { dtype, scheme, reduceRange } = wishes;
  const granularity = axis === undefined ? {} : { axis };
  return { dtype, scheme, reduceRange, granularity, narrowRange: isNarrow(wishes) };
}

/** A scale for each place along an axis, or one; and one zero point for all, in the middle, as the weights are symmetric. */
export function centred(wishes: DynamicWishes, axis?: number): Pick<Storage, "recipe" | "form"> {
  const recipe = recipeOf({ ...wishes, scheme: "symmetric" }, axis);
  const { qmin, qmax } = levelsOf(recipe);
  return { recipe, form: { zeroPoint: roundHalfToEven((qmin + qmax) / 2) } };
}

export function isFloat32({ constant }: Claim): boolean {
  return constant.dtype === "float32";
}

/** The way back from float32 to a narrower type. */
export function narrowed(wide: string, name: string, type: ElementType, { names }: Pick<Pass, "names">): Node {
  const attributes = [intAttribute("to", codeOf(type))];
  return makeNode("Cast", [wide], [name], { name: names.fresh(`${name}_narrow`), attributes });
}

/** What a node that knows float32 alone takes and gives in place of values of a weight's type. */
export function asFloat32({ node, scope }: Site, claim: Claim, { activations, names }: Pass) {
  const isWide = isFloat32(claim);
  const outputs = node.outputs.map((name) => (name === "" || isWide ? name : names.fresh(`${name}_float32`)));
  return {
    take: (name: string) => (name === "" || isWide ? name : activations.float32(scope, name)),
    outputs,
    /** Give the node's own outputs. */
    casts: node.outputs.flatMap((name, i) =>
      outputs[i] === name ? [] : [narrowed(outputs[i]!, name, claim.constant.dtype, { names })],
    ),
  };
}

/**
 * What stands behind an integer product: its scale, and in half precision the way back.
 *
 *   product -> Cast -> Mul <- Mul <- scale of the activation, scale of the weight
 *                       +-> [Cast ->] output
 */
export function restoreProduct(
  { name, output, product, scales, type }: Product,
  { names }: Pick<Pass, "names">,
): Node[] {
  const quant = name === "" ? "" : `${name}_quant`;
  const pair = name === "" ? `${scales.join("_")}_mul` : `${quant}_scales_mul`;
  const scale = names.fresh(`${pair}:0`);
  const cast = names.fresh(`${product}_cast_output`);
  const isNarrow = type !== "float32";
  const wide = isNarrow ? names.fresh(`${output}_float32`) : output;
  const label = (base: string) => (name === "" ? "" : names.fresh(base));
  const attributes = [intAttribute("to", codeOf("float32"))];
  return [
    makeNode("Mul", scales, [scale], { name: names.fresh(pair) }),
    makeNode("Cast", [product], [cast], { name: names.fresh(`${product}_cast`), attributes }),
    makeNode("Mul", [cast, scale], [wide], { name: label(`${quant}_output_scale_mul`) }),
    ...(isNarrow ? [narrowed(wide, output, type, { names })] : []),
  ];
}

interface Product {
  /** The node's. */
  readonly name: string;
  /** What the node gave. */
  readonly output: string;
  /** The int32 product. */
  readonly product: string;
  readonly scales: readonly [activation: string, weight: string];
  /** The type of the weight, and so of the output. */
  readonly type: FloatConstant["dtype"];
}
