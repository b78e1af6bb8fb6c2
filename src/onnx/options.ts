import { type Algorithm, algorithms, type BitWidth, bitWidths, blockSizes } from "../core/blocks.ts";
import { checkBoolean, codeNames, oneOf, refuseGiven } from "../core/options.ts";
import type { SchemeName } from "../core/schemes.ts";
import { type CodeDType, codeTypes, type HalfDType } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";
import { type AccuracyLevel, accuracyLevels } from "./nbits/wishes.ts";
import type { PlanOptions } from "./plan.ts";
import { formsOn, type TargetForms } from "./targets/forms.ts";
import { type Target, targetNames } from "./targets/target.ts";

export { type AccuracyLevel, type Algorithm, accuracyLevels, algorithms, type BitWidth, bitWidths };

/** What runs on integers: nothing, as weights are restored first, or layers whose inputs are quantized as they come. */
export const modes = ["weight-only", "dynamic"] as const;
export type Mode = (typeof modes)[number];

/** How quantized weights are kept: `cast` and `qdq` restore them in the graph, `nbits` are matrices that MatMulNBits takes. */
export const formats = ["cast", "qdq", "nbits"] as const;
export type Format = (typeof formats)[number];

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

/** Of ONNX models alone, but for `clamp`. */
export interface OnnxOptions {
  /**
   * `weight-only` (the default): weights are stored in few bits and the arithmetic stays as it was. `dynamic`: MatMul,
   * Gemm, Conv, LSTM and Attention work on 8-bit integers, their inputs quantized as they come.
   */
  readonly mode?: Mode | undefined;
  /**
   * How weights are kept in the mode `weight-only`: `cast` (Cast, Sub, Mul: every opset from 7 on has them and runtimes
   * fold them when they load a model; the default of 8 and 16 bits), `qdq` (DequantizeLinear) or `nbits` (MatMulNBits,
   * GatherBlockQuantized: the default of 4 bits).
   */
  readonly format?: Format | undefined;
  /** Of `nbits`: bits of a code, 4 if not said. */
  readonly bits?: BitWidth | undefined;
  /** Of `nbits`: what the product is computed in; 1 float32, 2 float16, 3 bfloat16, 4 int8; 0, the runtime decides. */
  readonly accuracyLevel?: AccuracyLevel | undefined;
  /** Of `nbits`: how the scale of a block is found: as it lies (rtn), by least squares (mse), by half-quadratic splitting (hqq). */
  readonly algorithm?: Algorithm | undefined;
  /** Of float16 and bfloat16: the type of the model's inputs and outputs, `float32` if not said, or that of the weights. */
  readonly io?: "float32" | HalfDType | undefined;
  /** Of float16 and bfloat16: whether values that are too large become the largest there is; they are an error if not. */
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
  readonly include: readonly string[] | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly opTypes: readonly string[] | undefined;
  readonly opset: number | undefined;
}

type All = CommonOptions & Omit<OnnxOptions, "opTypes" | "opset">;

/** @throws ArgumentError for options that are not known, or have no place beside the others */
export function planOptionsOf(options: All): PlanOptions {
  const { include, exclude, opTypes, opset, dtype } = options;
  const target = options.target && oneOf("target", options.target, targetNames);
  const shared = { include, exclude, opTypes, opset, target };
  const mode = oneOf("mode", options.mode ?? "weight-only", modes);
  if (mode === "dynamic") return { kind: "dynamic", ...shared, ...dynamicOptions(options) };
  if (isHalf(dtype)) return { kind: "half", ...shared, ...halfOptions(options, dtype) };
  refuseGiven(options, ["io", "clamp"], FOR_HALVES);
  if (isMixed(options)) return mixedPlan(options, dtype ?? "int8", shared);
  const format = oneOf("format", options.format ?? usualFormat(dtype, options), formats);
  if (format === "nbits") return { kind: "nbits", ...shared, ...nbitsOptions(options) };
  refuseGiven(options, ["bits", "accuracyLevel", "algorithm"], 'is for the format "nbits"');
  return { kind: "restored", ...shared, ...restoredOptions(options, dtype ?? "int8", format) };
}

/** Four bits are for MatMulNBits. */
function usualFormat(dtype: CodeDType | undefined, { bits }: All): Format {
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
  shared: Pick<All, "include" | "exclude" | "opTypes" | "opset">,
): PlanOptions {
  const rest = { kind: "restored", ...shared, ...restoredOptions(options, dtype, "cast") } as const;
  const matrices = options.opTypes?.filter((type) => type === "MatMul" || type === "Gemm" || type === "Gather");
  if (matrices?.length === 0) return rest;
  const wishes = nbitsOptions({ ...options, perChannel: undefined, dtype: undefined, bits: 8 });
  return { kind: "nbits", ...shared, opTypes: matrices, ...wishes, next: { ...rest, isSecond: true } };
}

function restoredOptions(options: All, dtype: CodeDType, form: "cast" | "qdq") {
  if (codeTypes[dtype].bits === 4 && form === "cast") {
    throw new ArgumentError(
      "dtype",
      `${dtype} needs the format "nbits", or "qdq" and opset 21: what "cast" uses has no 4-bit types`,
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
      `${options.target} does not run ${dtype} in the format "${form}"; ${runs.join(", ")} it does`,
    );
  }
  return { dtype, form, scheme: schemeOf(options, dtype), blockSize, tableDtype: forms?.table, ...switches(options) };
}

function formsFor({ target }: All): TargetForms | undefined {
  return target && formsOn(target);
}

function dynamicOptions(options: All) {
  refuseGiven(options, ["format", "bits", "accuracyLevel", "algorithm", "io", "clamp"], "is for the mode weight-only");
  refuseGiven(options, ["blockSize"], "integer products have a scale per tensor or per channel, none for blocks");
  const dtype = oneOf("dtype", options.dtype ?? "int8", ["int8", "uint8"]);
  const forms = formsFor(options);
  if (forms?.instead !== undefined) {
    throw new ArgumentError("target", `${options.target} has no kernels for integer layers; ${forms.instead}`);
  }
  return { dtype, convDtype: forms?.convDtype, scheme: schemeOf(options, dtype), ...switches(options) };
}

function nbitsOptions(options: All) {
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
  const scheme = options.scheme ?? "symmetric";
  return {
    bits,
    blockSize: oneOf("blockSize", options.blockSize ?? 32, blockSizes),
    scheme: schemeOf({ ...options, scheme }, "int4"),
    accuracyLevel: oneOf("accuracyLevel", options.accuracyLevel ?? forms?.nbits.accuracyLevel ?? 0, accuracyLevels),
    algorithm: oneOf("algorithm", options.algorithm ?? "rtn", algorithms),
    gatherBits: forms?.nbits.gatherBits,
  };
}

function halfOptions(options: All, dtype: HalfDType) {
  refuseGiven(options, ["format", "bits", "accuracyLevel", "algorithm"], "is for integers");
  refuseGiven(options, ["scheme", "perChannel", "blockSize", "reduceRange"], forIntegers(dtype));
  return {
    dtype,
    io: oneOf("io", options.io ?? "float32", ["float32", dtype]),
    clamp: checkBoolean("clamp", options.clamp, false),
  };
}

function switches({ perChannel, reduceRange }: All) {
  return {
    perChannel: checkBoolean("perChannel", perChannel, true),
    reduceRange: checkBoolean("reduceRange", reduceRange, false),
  };
}

function schemeOf({ scheme }: Pick<All, "scheme">, dtype: CodeDType): "symmetric" | "affine" {
  const wanted = scheme ?? (codeTypes[dtype].signed ? "symmetric" : "affine");
  if (wanted === "symmetric" || wanted === "affine") return wanted;
  throw new ArgumentError("scheme", `${wanted} given; an ONNX model takes symmetric or affine`);
}
