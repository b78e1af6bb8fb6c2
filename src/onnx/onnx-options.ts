import { type CodeDType, codeTypes, type HalfDType } from "../dtypes.ts";
import {
  algorithms,
  type BitWidth,
  type BlockAlgorithm,
  bitWidths,
  blockSizes,
} from "../engine/blockwise/quantize-matrix.ts";
import { FEW } from "../engine/range-search/find-best-range.ts";
import { checkBoolean, codeNames, oneOf, refuseGiven } from "../engine/tensors/quantize-options.ts";
import { type RangeMethod, rangeRuleOf } from "../engine/tensors/range-method.ts";
import type { SchemeName } from "../engine/tensors/schemes.ts";
import { ArgumentError } from "../errors.ts";
import { formatWord, option, words } from "../messages.ts";
import { type AccuracyLevel, accuracyLevels } from "./passes/nbits/nbits-options.ts";
import type { PlanOptions } from "./plan-model.ts";
import { type Target, targetNames } from "./targets/target.ts";
import { formsOn, type TargetForms } from "./targets/target-forms.ts";

export { type AccuracyLevel, accuracyLevels, algorithms, type BitWidth, type BlockAlgorithm, bitWidths };

/** What runs on integers: nothing, as weights are restored first, or layers whose inputs are quantized as they come. */
export const modes = ["weight-only", "dynamic"] as const;
export type QuantizationMode = (typeof modes)[number];

/** How quantized weights are kept: `cast` and `qdq` restore them in the graph, `nbits` are matrices that MatMulNBits takes. */
export const formats = ["cast", "qdq", "nbits"] as const;
export type WeightFormat = (typeof formats)[number];

export const halfTypes: readonly HalfDType[] = ["float16", "bfloat16"];

export function isHalf(dtype: string | undefined): dtype is HalfDType {
  return halfTypes.some((half) => half === dtype);
}

/** Why an option is refused where numbers become integers. */
export const FOR_HALVES = "is for float16 and bfloat16";

/** Why an option is refused where numbers become halves. */
export function forIntegers(dtype: HalfDType): string {
  return `is for integers; ${dtype} has no scales`;
}

/** Tools whose choices and bytes can be had in place of what is right for the result. */
export const tools = ["onnxruntime"] as const;
export type Tool = (typeof tools)[number];

/** Of ONNX models alone, but for `clamp`. */
export interface OnnxOptions {
  /**
   * `weight-only` (the default): weights are stored in few bits and the arithmetic stays as it was. `dynamic`: MatMul,
   * Gemm, Gather, LSTM and Attention work on 8-bit integers, their inputs quantized as they come, and all other weights are
   * stored as in `weight-only`. Conv is among the others, since ConvInteger is slower than Conv on CPUs; naming it in
   * `opTypes` makes it ConvInteger, with uint8 weights unless `dtype` is int8.
   */
  readonly mode?: QuantizationMode | undefined;
  /**
   * `onnxruntime`: the choices and the bytes of ONNX Runtime's Python tool: of quantize_dynamic in the mode `dynamic`, of
   * MatMulNBitsQuantizer in the format `nbits`. Default: what is right for the result (docs/onnx.md lists the differences).
   */
  readonly like?: Tool | undefined;
  /** Quantizes the float weights of a model that has quantized ones already. Default: false, such a model is refused. */
  readonly again?: boolean | undefined;
  /**
   * How weights are kept in the mode `weight-only`: `cast` (Cast, Sub, Mul: every opset from 7 on has them and runtimes
   * fold them when they load a model; the default of 8 and 16 bits), `qdq` (DequantizeLinear) or `nbits` (MatMulNBits,
   * GatherBlockQuantized: the default of 4 bits).
   */
  readonly format?: WeightFormat | undefined;
  /** Of `nbits`: bits of a code. Default: 4. */
  readonly bits?: BitWidth | undefined;
  /** Of `nbits`: what the product is computed in; 1 float32, 2 float16, 3 bfloat16, 4 int8; 0, the runtime decides. */
  readonly accuracyLevel?: AccuracyLevel | undefined;
  /** Of `nbits`: how the scale of a block is found: as it lies (rtn), by least squares (mse), by half-quadratic splitting (hqq). */
  readonly algorithm?: BlockAlgorithm | undefined;
  /** Of float16 and bfloat16: the type of the model's inputs and outputs, `float32` (default) or that of the weights. */
  readonly io?: "float32" | HalfDType | undefined;
  /**
   * Of float16 and bfloat16: whether values that are too large become the largest there is; they are an error if not. In
   * models that goes for weights too large to be looked at: nodes of others stay float32.
   */
  readonly clamp?: boolean | undefined;
  /** Where the model is to run: picks forms that run there, and refuses those that do not. */
  readonly target?: Target | undefined;
  /** Raises the model to this opset of ONNX first. */
  readonly opset?: number | undefined;
  /** Only weights of nodes of these types. It is an error when the model has none of them, or one is not known. */
  readonly opTypes?: readonly string[] | undefined;
}

/** Options that have been looked at already: those that files of tensors share. */
export interface CommonOptions {
  readonly dtype: CodeDType | HalfDType | undefined;
  readonly scheme: SchemeName | undefined;
  readonly perChannel: boolean | undefined;
  readonly blockSize: number | undefined;
  readonly reduceRange: boolean | undefined;
  readonly weightRange: RangeMethod | undefined;
  readonly include: readonly string[] | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly opTypes: readonly string[] | undefined;
  readonly opset: number | undefined;
  readonly again: boolean;
}

type All = CommonOptions & Omit<OnnxOptions, "opTypes" | "opset" | "again">;

/** @throws ArgumentError for options that are not known, or have no place beside the others */
export function planOptionsOf(options: All): PlanOptions {
  const { include, exclude, opTypes, opset, again, dtype } = options;
  const target = options.target && oneOf("target", options.target, targetNames);
  const like = options.like && oneOf("like", options.like, tools);
  const shared = { include, exclude, opTypes, opset, again, like, target };
  if (like) refuseGiven(options, ["weightRange"], "like takes the tool's own ranges; leave one out");
  if (like) refuseGiven(options, ["target"], "like makes the choices of the tool, whatever the target; leave one out");
  const mode = oneOf("mode", options.mode ?? "weight-only", modes);
  if (mode === "dynamic") return dynamicPlan(options, shared);
  if (isHalf(dtype)) {
    refuseGiven(options, ["like"], "is for integers; the tool's conversion to float16 is another one");
    return { kind: "half", ...shared, ...halfOptions(options, dtype) };
  }
  refuseGiven(options, ["io", "clamp"], FOR_HALVES);
  if (isMixed(options)) return mixedPlan(options, dtype ?? "int8", shared);
  const format = oneOf("format", options.format ?? usualFormat(dtype, options), formats);
  if (format === "nbits") return { kind: "nbits", ...shared, ...nbitsOptions(options, like) };
  refuseGiven(
    options,
    ["like"],
    words`is for the mode dynamic and for nbits; the tool has no weights in ${formatWord(format)}`,
  );
  refuseGiven(options, ["bits", "accuracyLevel", "algorithm"], words`is for ${formatWord("nbits")}`);
  return { kind: "restored", ...shared, ...restoredOptions(options, dtype ?? "int8", format) };
}

/** Four bits are for MatMulNBits. */
export function usualFormat(dtype: CodeDType | undefined, { bits }: Pick<OnnxOptions, "bits">): WeightFormat {
  const isNarrow = dtype !== undefined && codeTypes[dtype].bits === 4;
  return isNarrow || bits !== undefined ? "nbits" : "cast";
}

/** WebGPU has a kernel for MatMulNBits, and restores what else there is when it loads a model. */
function isMixed({ target, format, bits, dtype, perChannel, reduceRange }: All): boolean {
  const isEight = dtype === undefined || dtype === "int8" || dtype === "uint8";
  return target === "webgpu" && isEight && !format && !bits && perChannel !== false && !reduceRange;
}

function mixedPlan(
  options: All,
  dtype: CodeDType,
  shared: Pick<All, "include" | "exclude" | "opTypes" | "opset" | "again">,
): PlanOptions {
  refuseGiven(options, ["like"], "is for the mode dynamic and for nbits; the tool makes nothing for webgpu");
  const rest = { kind: "restored", ...shared, ...restoredOptions(options, dtype, "cast") } as const;
  const matrices = options.opTypes?.filter((type) => type === "MatMul" || type === "Gemm" || type === "Gather");
  if (matrices?.length === 0) return rest;
  const all = { ...options, perChannel: undefined, dtype: undefined, bits: 8 } as const;
  const nbits = { ...nbitsOptions(all, undefined), usual: ["MatMul"] };
  return { kind: "nbits", ...shared, opTypes: matrices, ...nbits, next: { ...rest, isSecond: true } };
}

function restoredOptions(options: All, dtype: CodeDType, form: "cast" | "qdq") {
  if (codeTypes[dtype].bits === 4 && form === "cast") {
    throw new ArgumentError(
      "dtype",
      words`${dtype} needs ${formatWord("nbits")} or "qdq": what "cast" uses has no 4-bit types`,
    );
  }
  const { perChannel, blockSize } = options;
  if (perChannel === false && blockSize !== undefined) {
    throw new ArgumentError("blockSize", "given with perChannel: false; blocks have a scale each");
  }
  const forms = formsFor(options);
  const runs = forms?.[form === "cast" ? "cast" : "dequantize"] ?? codeNames;
  if (!runs.includes(dtype)) {
    throw new ArgumentError(
      "target",
      words`${options.target} does not run ${dtype} in ${formatWord(form)}; ${runs.join(", ")} it does`,
    );
  }
  const range = options.weightRange;
  return {
    dtype,
    form,
    scheme: schemeOf(options, dtype),
    blockSize,
    tableDtype: forms?.table,
    range,
    ...switches(options),
  };
}

function formsFor({ target }: All): TargetForms | undefined {
  return target && formsOn(target);
}

type Shared = Pick<All, "include" | "exclude" | "opTypes" | "opset" | "again" | "like" | "target">;

/** Integer layers; then, of what has no integer form or none that is faster, the weights alone. */
function dynamicPlan(options: All, shared: Shared): PlanOptions {
  const { like } = shared;
  const wanted = dynamicOptions(options, like);
  const dynamic = { kind: "dynamic", ...shared, ...wanted } as const;
  if (like) return dynamic;
  const { dtype, perChannel, range } = wanted;
  // Zero points of weights that are folded when the model is loaded gain nothing, unless they are asked for; nor does a
  // reduced range, as no integer sum can saturate.
  const scheme = options.scheme === undefined ? "symmetric" : schemeOf(options, dtype);
  const next = {
    kind: "restored",
    ...shared,
    form: "cast",
    dtype,
    scheme,
    perChannel,
    range,
    reduceRange: false,
  } as const;
  return { ...dynamic, next: { ...next, isSecond: true } };
}

/** How Conv becomes ConvInteger, if it does: in uint8, which every version of ONNX Runtime runs, unless int8 is asked for. */
function convOptions({ dtype, scheme, opTypes }: All, like: Tool | undefined, only: "int8" | "uint8" | undefined) {
  if (like) {
    const own = oneOf("dtype", dtype ?? "int8", ["int8", "uint8"]);
    return { dtype: own, scheme: schemeOf({ scheme }, own) };
  }
  if (!opTypes?.includes("Conv")) return undefined;
  const own = only ?? oneOf("dtype", dtype ?? "uint8", ["int8", "uint8"]);
  return { dtype: own, scheme: schemeOf({ scheme: scheme ?? "symmetric" }, own) };
}

function dynamicOptions(options: All, like: Tool | undefined) {
  refuseGiven(options, ["format", "bits", "accuracyLevel", "algorithm", "io", "clamp"], "is for the mode weight-only");
  refuseGiven(options, ["blockSize"], "integer products have a scale per tensor or per channel, none for blocks");
  const dtype = oneOf("dtype", options.dtype ?? "int8", ["int8", "uint8"]);
  const forms = formsFor(options);
  if (forms?.instead !== undefined) {
    throw new ArgumentError("target", `${options.target} has no kernels for integer layers; ${forms.instead}`);
  }
  const conv = convOptions(options, like, forms?.convDtype);
  const range = options.weightRange;
  return { dtype, conv, scheme: schemeOf(options, dtype), range, ...switches(options, like === undefined) };
}

function nbitsOptions(options: All, like: Tool | undefined) {
  refuseGiven(
    options,
    ["perChannel", "reduceRange"],
    "matrices of MatMulNBits have a scale for each block, and use all codes",
  );
  const { dtype } = options;
  const bits = oneOf("bits", options.bits ?? (dtype ? codeTypes[dtype as CodeDType].bits : 4), bitWidths);
  const own = dtype === undefined ? bits : codeTypes[dtype as CodeDType].bits;
  if (own !== bits) throw new ArgumentError("dtype", `${dtype} given with ${bits} bits; leave one of them out`);
  const forms = formsFor(options);
  if (forms && !forms.nbits.bits.includes(bits)) {
    throw new ArgumentError(
      "target",
      `${options.target} does not run ${bits} bits; ${forms.nbits.bits.join(", ")} it does`,
    );
  }
  // int4 and uint4 mean the same here, so the type says nothing about zero points.
  const scheme = options.scheme ?? (like ? "asymmetric" : "symmetric");
  return {
    bits,
    usual: like ? ["MatMul"] : ["MatMul", "Gemm"],
    blockSize: oneOf("blockSize", options.blockSize ?? (like ? 128 : 32), blockSizes),
    scheme: schemeOf({ ...options, scheme }, "int4"),
    accuracyLevel: oneOf("accuracyLevel", options.accuracyLevel ?? forms?.nbits.accuracyLevel ?? 0, accuracyLevels),
    ...searchOf(options),
    gatherBits: forms?.nbits.gatherBits,
  };
}

/** How the scales of blocks are found: least squares are an algorithm of their own, percentiles clip before rounding. */
function searchOf({ algorithm, weightRange, blockSize = 32 }: All) {
  if (weightRange === undefined) return { algorithm: oneOf("algorithm", algorithm ?? "rtn", algorithms) };
  if (algorithm !== undefined)
    throw new ArgumentError("algorithm", words`${option("weightRange")} chooses the scales; leave one out`);
  const { name, percentile } = rangeRuleOf("weightRange", weightRange);
  if (name === "mse") return { algorithm: "mse" } as const;
  if (name === "percentile") return { algorithm: "rtn", percentile } as const;
  throw new ArgumentError("weightRange", `entropy needs ${FEW} values or more; blocks have ${blockSize}: take mse`);
}

function halfOptions(options: All, dtype: HalfDType) {
  refuseGiven(options, ["format", "bits", "accuracyLevel", "algorithm"], "is for integers");
  refuseGiven(options, ["scheme", "perChannel", "blockSize", "reduceRange", "weightRange"], forIntegers(dtype));
  return {
    dtype,
    io: oneOf("io", options.io ?? "float32", ["float32", dtype]),
    clamp: checkBoolean("clamp", options.clamp, false),
  };
}

function switches({ perChannel, reduceRange }: All, isPerChannel = true) {
  return {
    perChannel: checkBoolean("perChannel", perChannel, isPerChannel),
    reduceRange: checkBoolean("reduceRange", reduceRange, false),
  };
}

function schemeOf({ scheme }: Pick<All, "scheme">, dtype: CodeDType): "symmetric" | "asymmetric" {
  const wanted = scheme ?? (codeTypes[dtype].signed ? "symmetric" : "asymmetric");
  if (wanted === "symmetric" || wanted === "asymmetric") return wanted;
  throw new ArgumentError("scheme", `${wanted} given; an ONNX model takes symmetric or asymmetric`);
}
