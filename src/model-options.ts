/** Options of `quantizeModel` and `quantizeForTransformersJs`, held against the type of the file and each other. */
import { checkCompressed } from "./checkpoint/compressed-tensors/quantize-compressed.ts";
import { type Layout, layouts } from "./checkpoint/quantize-checkpoint.ts";
import { type CodeDType, codeTypes, type HalfDType } from "./dtypes.ts";
import { FEW } from "./engine/range-search/find-best-range.ts";
import {
  checkBoolean,
  checkKeys,
  checkWhole,
  codeNames,
  type NonFinite,
  oneOf,
  refuseGiven,
} from "./engine/tensors/quantize-options.ts";
import { type RangeMethod, rangeRuleOf } from "./engine/tensors/range-method.ts";
import { type SchemeName, schemeNames } from "./engine/tensors/schemes.ts";
import { ArgumentError, isWasmQuantError } from "./errors.ts";
import type { FileType } from "./formats/detect-file-type.ts";
import {
  FOR_HALVES,
  forIntegers,
  halfTypes,
  isHalf,
  type OnnxOptions,
  planOptionsOf,
  usualFormat,
} from "./onnx/onnx-options.ts";
import { type TransformersJsVariant, transformersJsVariants } from "./onnx/transformers-js.ts";
import type { Alternative } from "./onnx/unchanged.ts";
import type { NameGlobs } from "./pipeline/name-globs.ts";
import { type TaskOptions, taskOptions } from "./pipeline/progress.ts";

/** Globs match names of tensors, and in models of nodes as well. */
export interface QuantizeModelOptions extends TaskOptions, OnnxOptions, NameGlobs {
  /** Default: int8. float16 and bfloat16 are for files of tensors, and for models as a whole: weights and arithmetic. */
  readonly dtype?: CodeDType | HalfDType | undefined;
  /** Default: `symmetric` for signed types, `asymmetric` for unsigned ones. */
  readonly scheme?: Exclude<SchemeName, "dynamic"> | undefined;
  /** A scale for each slice along `axis` (the default), or one for each tensor. */
  readonly perChannel?: boolean | undefined;
  /** Of tensors: the channel axis (default: 0); with `blockSize` that of the blocks (default: 1). Nodes have their own. */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
  /**
   * Of tensors: `plain` (default), which `dequantizeModel` reads; `compressed-tensors` is what vLLM and transformers load:
   * linear weights as int8 or int4, and config.json beside them.
   */
  readonly layout?: Layout | undefined;
  readonly reduceRange?: boolean | undefined;
  /** How the range of each tensor, channel or block is chosen. Default: `minmax`. The report tells what it gained in dB. */
  readonly weightRange?: RangeMethod | undefined;
  readonly nonFinite?: NonFinite | undefined;
  /** Writes a file in which nothing can be quantized as it is. Default: false, that is an error. */
  readonly allowUnchanged?: boolean | undefined;
}

const onnxOptions = [
  ...["mode", "like", "format", "bits", "accuracyLevel", "algorithm", "io", "target", "opset", "opTypes", "again"],
] as readonly (keyof OnnxOptions)[];

/**
 * What `quantizeModel` does with a file of that type, whatever is in it.
 *
 * @throws ArgumentError for options that no such file goes with, FormatError for a type that does not go with them
 */
export function checkQuantize(file: string, fileType: FileType, options: QuantizeModelOptions) {
  const checked = checkQuantizeOptions(options);
  if (fileType === "onnx") {
    refuseGiven(options, ["axis"], "is for files of tensors; in a model each node has its own");
    refuseGiven(options, ["layout"], "is for files of tensors; this is an ONNX model");
    const alternatives = () => alternativesTo(options);
    return { kind: "model", plan: planOptionsOf(checked), alternatives, options: checked } as const;
  }
  refuseGiven(options, onnxOptions, "is for ONNX models; this is a file of tensors");
  const { dtype = "int8" } = checked;
  if (isHalf(dtype)) return { kind: "halves", options: { ...checked, ...halfOptionsOf(checked, dtype) } } as const;
  refuseGiven(options, ["clamp"], FOR_HALVES);
  const own = { ...checked, ...checkpointOptionsOf(checked, dtype) };
  if (own.layout === "compressed-tensors") checkCompressed(file, fileType, own);
  return { kind: "codes", options: own } as const;
}

/** What is to be done, and the options for it. */
export type CheckedQuantization = ReturnType<typeof checkQuantize>;

/** What the name of an output tells of the form: `int8`, `nbits8`, `dynamic-uint8`, `float16`. */
export function formName(options: QuantizeModelOptions): string {
  const { mode = "weight-only", dtype, bits } = options;
  if (mode !== "weight-only") return `${mode}-${dtype ?? "int8"}`;
  const isMatrices = !isHalf(dtype) && (options.format ?? usualFormat(dtype, options)) === "nbits";
  if (!isMatrices) return dtype ?? "int8";
  const isEight = bits === 8 || dtype === "int8" || dtype === "uint8";
  return isEight || bits === 2 ? `nbits${bits ?? 8}` : (dtype ?? "int4");
}

/**
 * Options that may do something where these change nothing, in the order in which they are tried: first beside those that
 * are given, then in place of what does not go with them.
 */
function* alternativesTo(options: QuantizeModelOptions): Generator<Alternative> {
  const others = othersFor(options);
  for (const other of others) yield* alternative(options, other);
  const given = droppable.filter((name) => options[name] !== undefined);
  if (given.length === 0) return;
  for (const other of [{}, ...others]) {
    const dropped = given.filter((name) => !(name in other));
    yield* alternative(options, { ...other, ...Object.fromEntries(dropped.map((name) => [name, undefined])) });
  }
}

/** Options of one form, or that pick nodes, without which another may do. */
const droppable = ["like", "bits", "algorithm", "accuracyLevel", "opTypes"] as const;

function* alternative(options: QuantizeModelOptions, other: QuantizeModelOptions): Generator<Alternative> {
  const isGiven = ([name, value]: [string, unknown]) =>
    value !== undefined && options[name as keyof QuantizeModelOptions] === value;
  if (Object.entries(other).some(isGiven)) return;
  try {
    yield { options: { ...other }, plan: planOptionsOf(checkQuantizeOptions({ ...options, ...other })) };
  } catch (error) {
    if (!isWasmQuantError(error, "argument")) throw error; // does not go with the others
  }
}

function othersFor({ dtype, format, bits, opset }: QuantizeModelOptions): readonly QuantizeModelOptions[] {
  const matrices = { opTypes: ["MatMul", "Gemm", "Gather"] };
  if (isHalf(dtype)) {
    const others: QuantizeModelOptions[] = [{ opset: 13 }, { opset: 22 }, { dtype: "float16" }];
    return others.filter((other) => other.opset === undefined || opset === undefined || other.opset > opset);
  }
  const isNarrow = dtype !== undefined && codeTypes[dtype].bits === 4;
  if (isNarrow || format === "nbits" || bits !== undefined) {
    const restored: readonly QuantizeModelOptions[] = [{ format: "qdq" }, { format: "cast" }];
    const isFour = isNarrow || bits === 4 || (bits === undefined && dtype === undefined);
    const [first, second] = isFour ? restored : restored.toReversed();
    return [first!, matrices, second!, { dtype: "int8" }, { dtype: "int8", perChannel: false }];
  }
  return [{ perChannel: false }, { dtype: "int8" }, { dtype: "int8", perChannel: false }];
}

/**
 * `perChannel` and `reduceRange` are about the 8-bit variants, `nonFinite` about all but bnb4, which takes no weights with NaN
 * or infinities, `again` about all but fp16. Variants in which nothing can be quantized are left out unless
 * `allowUnchanged`. Globs match names of weights and of nodes.
 */
export interface TransformersJsOptions
  extends TaskOptions,
    NameGlobs,
    Pick<QuantizeModelOptions, "perChannel" | "reduceRange" | "nonFinite" | "again" | "allowUnchanged"> {
  /** Default: all of them. */
  readonly only?: readonly TransformersJsVariant[] | undefined;
}

/** @throws ArgumentError */
export function checkTransformersOptions(options: TransformersJsOptions) {
  checkKeys(options, [
    "only",
    "perChannel",
    "reduceRange",
    "nonFinite",
    "include",
    "exclude",
    "again",
    "allowUnchanged",
    ...taskOptions,
  ]);
  const nonFinite = oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]);
  const how = {
    perChannel: checkBoolean("perChannel", options.perChannel, true),
    reduceRange: checkBoolean("reduceRange", options.reduceRange, false),
    include: checkNames("include", options.include),
    exclude: checkNames("exclude", options.exclude),
    again: checkBoolean("again", options.again, false),
  };
  const allowUnchanged = checkBoolean("allowUnchanged", options.allowUnchanged, false);
  const only = checkNames("only", options.only)?.map((name) => oneOf("only", name, transformersJsVariants));
  const chosen = transformersJsVariants.filter((variant) => only?.includes(variant) ?? true);
  return { chosen, how, nonFinite, allowUnchanged };
}

function checkQuantizeOptions(options: QuantizeModelOptions) {
  checkKeys(options, [
    ...[
      "dtype",
      "scheme",
      "perChannel",
      "axis",
      "blockSize",
      "layout",
      "reduceRange",
      "weightRange",
      "nonFinite",
      "include",
      "exclude",
    ],
    ...onnxOptions,
    ...["clamp", "allowUnchanged"],
    ...taskOptions,
  ]);
  const allowed = schemeNames.filter((name) => name !== "dynamic");
  return {
    ...options,
    dtype: options.dtype && oneOf("dtype", options.dtype, [...codeNames, ...halfTypes]),
    scheme: options.scheme && oneOf("scheme", options.scheme, allowed),
    axis: checkWhole("axis", options.axis),
    blockSize: checkWhole("blockSize", options.blockSize, 1),
    layout: options.layout && oneOf("layout", options.layout, layouts),
    perChannel: options.perChannel,
    reduceRange: options.reduceRange,
    weightRange: checkRange(options),
    nonFinite: oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]),
    include: checkNames("include", options.include),
    exclude: checkNames("exclude", options.exclude),
    opset: checkWhole("opset", options.opset, 1),
    opTypes: checkNames("opTypes", options.opTypes),
    again: checkBoolean("again", options.again, false),
    allowUnchanged: checkBoolean("allowUnchanged", options.allowUnchanged, false),
  };
}

/** @throws ArgumentError for a method that is not known, or finds nothing in groups so small */
function checkRange({ weightRange, blockSize }: QuantizeModelOptions): RangeMethod | undefined {
  if (weightRange === undefined) return undefined;
  const { name } = rangeRuleOf("weightRange", weightRange);
  if (name === "entropy" && blockSize !== undefined && blockSize < FEW) {
    throw new ArgumentError("weightRange", `entropy needs ${FEW} values or more; blocks have ${blockSize}: take mse`);
  }
  return name === "minmax" ? undefined : weightRange;
}

type Checked = ReturnType<typeof checkQuantizeOptions>;

function checkpointOptionsOf(options: Checked, dtype: CodeDType) {
  const { scheme, perChannel, layout = "plain", reduceRange } = options;
  return {
    dtype,
    layout,
    scheme: scheme ?? (codeTypes[dtype].signed ? "symmetric" : "asymmetric"),
    perChannel: checkBoolean("perChannel", perChannel, true),
    reduceRange: checkBoolean("reduceRange", reduceRange, false),
  };
}

function halfOptionsOf(options: Checked, dtype: HalfDType) {
  refuseGiven(options, ["scheme", "perChannel", "axis", "blockSize", "reduceRange", "weightRange"], forIntegers(dtype));
  if (options.layout === "compressed-tensors") {
    throw new ArgumentError("layout", `${options.layout} ${forIntegers(dtype)}`);
  }
  return { dtype, clamp: checkBoolean("clamp", options.clamp, false) };
}

/** @throws ArgumentError */
export function checkNames(argument: string, names: readonly string[] | undefined): readonly string[] | undefined {
  if (names === undefined) return undefined;
  if (Array.isArray(names) && names.every((name) => typeof name === "string" && name !== "")) return names;
  throw new ArgumentError(argument, "an array of strings is wanted, none of them empty");
}
