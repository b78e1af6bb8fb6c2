/**
 * The set of files that transformers.js looks for beside a model: which there are, what they are called and how they are
 * made. Names: `src/utils/dtypes.js` of transformers.js 4.2; forms: its `scripts/quantize.py`, as last seen before version
 * 4 removed it.
 */
import { readFunctionBody } from "./io/decode-functions.ts";
import type { Model, Node } from "./ir/graph.ts";
import type { PlanOptions } from "./plan-model.ts";
import type { WeightSelection } from "./weights/select-weights.ts";

export const transformersJsVariants = ["fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"] as const;
export type TransformersJsVariant = (typeof transformersJsVariants)[number];

/** What stands behind a model's name. */
export const suffixes: Readonly<Record<TransformersJsVariant, string>> = {
  fp16: "_fp16",
  q8: "_quantized",
  int8: "_int8",
  uint8: "_uint8",
  q4: "_q4",
  q4f16: "_q4f16",
  bnb4: "_bnb4",
};

/** What stands behind the name of a model's file in that of its data. */
export const DATA_SUFFIX = "_data";

/** How transformers.js calls files of these types that it does not make from float models any more. */
const otherSuffixes = ["_q2", "_q2f16", "_q1", "_q1f16"];

/** Whether a name is that of a variant, and of no model to make variants of. */
export function isVariant(stem: string): boolean {
  return [...Object.values(suffixes), ...otherSuffixes].some((suffix) => stem.endsWith(suffix));
}

export interface VariantOptions extends Pick<WeightSelection, "include" | "exclude"> {
  readonly again: boolean;
  readonly perChannel: boolean;
  readonly reduceRange: boolean;
}

/** Ops that keep `q8` from signed weights: there are runtimes that have no kernels for them. */
const unsigned = new Set(["Conv", "GroupQueryAttention", "MultiHeadAttention"]);

/** How a variant of a model is made. */
export function planOf(variant: TransformersJsVariant, model: Model, options: VariantOptions): PlanOptions {
  const { include, exclude, again } = options;
  return { ...formOf(variant, model, options), include, exclude, again };
}

function formOf(
  variant: TransformersJsVariant,
  model: Model,
  { perChannel, reduceRange }: VariantOptions,
): PlanOptions {
  const dynamic = (dtype: "int8" | "uint8"): PlanOptions => {
    const scheme = dtype === "int8" ? "symmetric" : "asymmetric";
    // Whatever the others are: ONNX Runtime before 1.24 does not run ConvInteger with int8.
    const conv = { dtype: "uint8", scheme: "symmetric" } as const;
    return { kind: "dynamic", dtype, scheme, conv, perChannel, reduceRange, isVariant: true };
  };
  // What is too large in a weight that is not looked at becomes the largest there is: the file is made, and says so.
  const half = { dtype: "float16", io: "float32", clamp: true } as const;
  const nbits = {
    kind: "nbits",
    usual: ["MatMul"],
    bits: 4,
    blockSize: 32,
    scheme: "symmetric",
    algorithm: "rtn",
    accuracyLevel: 0,
  } as const;
  switch (variant) {
    case "fp16":
      return { kind: "half", ...half };
    case "q8":
      return dynamic(has(model, unsigned) ? "uint8" : "int8");
    case "int8":
    case "uint8":
      return dynamic(variant);
    case "q4":
      return nbits;
    case "q4f16":
      return { ...nbits, scaleDtype: "float16", next: { kind: "half", ...half } };
    case "bnb4":
      return { kind: "bnb4", usual: ["MatMul"], blockSize: 64, quantType: "nf4" };
  }
}

/** In its graphs, or in functions, which may be inlined. */
function has(model: Model, ops: ReadonlySet<string>): boolean {
  const isIn = ({ nodes }: { readonly nodes: readonly Node[] }): boolean =>
    nodes.some(
      ({ opType, attributes }) =>
        ops.has(opType) || attributes.some(({ graphs }) => graphs.some((graph) => isIn(graph))),
    );
  return isIn(model.graph) || model.functions.some((each) => isIn(readFunctionBody(each)));
}
