import type { CodeDType } from "../../../dtypes.ts";
import type { RangeMethod } from "../../../engine/tensors/range-method.ts";
import { levelsOf } from "../../../engine/tensors/schemes.ts";
import { roundHalfToEven } from "../../../kernels/rounding.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { intAttribute, makeNode, type Node } from "../../ir/graph.ts";
import type { NodeSite } from "../../ir/scopes.ts";
import { codeOf, type ElementType } from "../../proto/schema.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import { isNarrow, type WeightQuantization } from "../../weights/weight-granularity.ts";
import type { GraphEdits } from "../graph-edits.ts";
import type { WeightUsage, WeightUsages } from "../weight-usage.ts";
import type { Activations } from "./quantized-activations.ts";
import type { Storage, StoredWeights } from "./quantized-weights.ts";
import type { TiedTables } from "./tied-tables.ts";

export interface DynamicOptions {
  readonly dtype: CodeDType;
  readonly scheme: "symmetric" | "asymmetric";
  readonly perChannel: boolean;
  readonly reduceRange: boolean;
  /** How ranges of weights are chosen. Default: `minmax`. */
  readonly range?: RangeMethod | undefined;
  /** How Conv becomes ConvInteger; undefined where Conv stays in floating point, as ConvInteger is slower on CPUs. */
  readonly conv?: { readonly dtype: "int8" | "uint8"; readonly scheme: "symmetric" | "asymmetric" } | undefined;
  /** Whether it is one of a set, of which the type is not chosen. */
  readonly isVariant?: boolean | undefined;
  /** The tool whose choices and bytes are wanted, where it is another one. */
  readonly like?: "onnxruntime" | undefined;
}

/** What rewriting one node needs of its surroundings. */
export interface RewriteContext {
  readonly names: FreshNames;
  readonly edits: GraphEdits;
  readonly usages: WeightUsages;
  readonly activations: Activations;
  readonly weights: StoredWeights;
  readonly tied: TiedTables;
  readonly options: DynamicOptions;
}

/** Rewrites a node, or gives the reason why not. */
export type Rewrite = (site: NodeSite, pass: RewriteContext) => string | undefined;

/** Weights in one type and rounding; `axis` where each channel has a scale of its own. */
export function quantizationOf(options: DynamicOptions, axis?: WeightQuantization["granularity"]["axis"]) {
  const { dtype, scheme, reduceRange, range } = options;
  const granularity = axis === undefined ? {} : { axis };
  return { dtype, scheme, reduceRange, granularity, narrowRange: isNarrow(options), range };
}

/** A scale for each place along an axis, or one; and one zero point for all, in the middle, as the weights are symmetric. */
export function centred(options: DynamicOptions, axis?: number): Pick<Storage, "quantization" | "form"> {
  const quantization = quantizationOf({ ...options, scheme: "symmetric" }, axis);
  const { qmin, qmax } = levelsOf(quantization);
  return { quantization, form: { zeroPoint: roundHalfToEven((qmin + qmax) / 2) } };
}

export function isFloat32({ constant }: WeightUsage): boolean {
  return constant.dtype === "float32";
}

/** The way back from float32 to a narrower type. */
export function narrowed(
  wide: string,
  name: string,
  type: ElementType,
  { names }: Pick<RewriteContext, "names">,
): Node {
  const attributes = [intAttribute("to", codeOf(type))];
  return makeNode("Cast", [wide], [name], { name: names.fresh(`${name}_narrow`), attributes });
}

/** What a node that knows float32 alone takes and gives in place of values of a weight's type. */
export function asFloat32({ node, scope }: NodeSite, usage: WeightUsage, { activations, names }: RewriteContext) {
  const isWide = isFloat32(usage);
  const outputs = node.outputs.map((name) => (name === "" || isWide ? name : names.fresh(`${name}_float32`)));
  return {
    take: (name: string) => (name === "" || isWide ? name : activations.float32(scope, name)),
    outputs,
    /** Give the node's own outputs. */
    casts: node.outputs.flatMap((name, i) =>
      outputs[i] === name ? [] : [narrowed(outputs[i]!, name, usage.constant.dtype, { names })],
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
  { names }: Pick<RewriteContext, "names">,
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
