/**
 * Files in, files out: what the command and the page both call. Bytes come from a ByteSource and go to a ByteSink, so
 * that nothing here knows where they live.
 */
import { checkCompressed } from "./checkpoint/compressed-tensors/quantize.ts";
import { dequantizeCheckpoint } from "./checkpoint/dequantize.ts";
import { halveCheckpoint } from "./checkpoint/halves.ts";
import { type Inspection, inspectCheckpoint } from "./checkpoint/inspect.ts";
import { type Layout, layouts, quantizeCheckpoint } from "./checkpoint/quantize.ts";
import type { CompareModelsOptions, ModelComparison } from "./compare/models.ts";
import type { Engine } from "./core/engine.ts";
import { checkBoolean, checkKeys, codeNames, type NonFinite, oneOf, refuseGiven } from "./core/options.ts";
import { type SchemeName, schemeNames } from "./core/schemes.ts";
import { type CodeDType, codeTypes, type HalfDType } from "./dtypes.ts";
import { ArgumentError, FormatError } from "./errors.ts";
import { detectFormat, type FileFormat, type FormatName } from "./formats/detect.ts";
import type { ByteSink, ByteSource } from "./formats/source.ts";
import type { Model } from "./onnx/graph.ts";
import { type InspectOptions, inspectOnnx, type ModelInspection } from "./onnx/inspect.ts";
import { FOR_HALVES, forIntegers, halfTypes, isHalf, type OnnxOptions, planOptionsOf } from "./onnx/options.ts";
import { quantizeOnnx } from "./onnx/quantize.ts";
import { targetNames } from "./onnx/targets/target.ts";
import { DATA_SUFFIX, planOf, suffixes, type Variant, variants } from "./onnx/transformers.ts";
import type { TaskOptions } from "./task/progress.ts";
import type { ModelReport } from "./task/report.ts";
import { wholeOrNothing } from "./task/whole.ts";

export interface QuantizeModelOptions extends TaskOptions, OnnxOptions {
  /** int8 if not said. float16 and bfloat16 are for files of tensors, and for models as a whole: weights and arithmetic. */
  readonly dtype?: CodeDType | HalfDType | undefined;
  /** `symmetric` for signed types, `affine` for unsigned ones if not said. */
  readonly scheme?: Exclude<SchemeName, "dynamic"> | undefined;
  /** A scale for each slice along `axis` (the default), or one for each tensor. */
  readonly perChannel?: boolean | undefined;
  /** Of tensors: the channel axis, 0 if not said; with `blockSize` that of the blocks, 1 if not said. Nodes have their own. */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
  /**
   * Of tensors: `plain` if not said, which `dequantizeModel` reads; `compressed-tensors` is what vLLM and transformers load:
   * linear weights as int8 or int4, and config.json beside them.
   */
  readonly layout?: Layout | undefined;
  readonly reduceRange?: boolean | undefined;
  readonly nonFinite?: NonFinite | undefined;
  /** Globs over names of tensors, and of nodes; `*` matches across dots and slashes. One that matches nothing is an error. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

const onnxOptions = [
  ...["mode", "format", "bits", "accuracyLevel", "algorithm", "io", "target", "opset", "opTypes"],
] as readonly (keyof OnnxOptions)[];

/**
 * Quantizes a model or a file of tensors.
 *
 * An ONNX model becomes an ONNX model with the weights of its layers as codes: restored in the graph (its arithmetic stays
 * as it was), as matrices of MatMulNBits, or multiplied as integers (`mode`). A safetensors, .npy or .npz file becomes a
 * safetensors file, and an index of shards (`model.safetensors.index.json`) one of as many shards, which are the sink's
 * siblings: float tensors of two or more dimensions become codes with scales and zero points beside them; all float
 * tensors become float16 or bfloat16, where that is the `dtype`. The rest is copied. Closes the sink; aborts it when
 * something goes wrong, so that nothing is written by halves.
 *
 * @throws FormatError, ArgumentError, the signal's reason, what source and sink throw
 */
export async function quantizeModel(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: QuantizeModelOptions = {},
): Promise<ModelReport> {
  return wholeOrNothing([sink], async () => {
    const wanted = checkQuantize(source.name, await detectFormat(source), options);
    if (wanted.kind === "halves") return halveCheckpoint(engine, source, sink, wanted.options);
    if (wanted.kind === "codes") return quantizeCheckpoint(engine, source, sink, wanted.options);
    const [report] = await quantizeOnnx(engine, source, [{ sink, plan: wanted.plan }], wanted.options);
    return report!;
  });
}

/**
 * What `quantizeModel` does with a file of that format, whatever is in it.
 *
 * @throws ArgumentError for options that no such file goes with, FormatError for a format that does not go with them
 */
export function checkQuantize(file: string, format: FileFormat, options: QuantizeModelOptions) {
  const checked = checkQuantizeOptions(options);
  if (format === "onnx") {
    refuseGiven(options, ["axis"], "is for files of tensors; in a model each node has its own");
    refuseGiven(options, ["layout"], "is for files of tensors; this is an ONNX model");
    return { kind: "model", plan: planOptionsOf(checked), options: checked } as const;
  }
  refuseGiven(options, onnxOptions, "is for ONNX models; this is a file of tensors");
  const { dtype = "int8" } = checked;
  if (isHalf(dtype)) return { kind: "halves", options: { ...checked, ...halfOptionsOf(checked, dtype) } } as const;
  refuseGiven(options, ["clamp"], FOR_HALVES);
  const own = { ...checked, ...checkpointOptionsOf(checked, dtype) };
  if (own.layout === "compressed-tensors") checkCompressed(file, format, own);
  return { kind: "codes", options: own } as const;
}

export interface TransformersOptions extends TaskOptions {
  /** All of them if not said. */
  readonly only?: readonly Variant[] | undefined;
  /** Of the 8-bit variants: a scale for each channel (the default), or one for each tensor. */
  readonly perChannel?: boolean | undefined;
  /** Of the 8-bit variants: leaves half of the codes unused, for runtimes whose 16-bit accumulators saturate. */
  readonly reduceRange?: boolean | undefined;
  /** Not of bnb4, which takes no weights with NaN or infinities. */
  readonly nonFinite?: NonFinite | undefined;
  /** Globs over names of weights and nodes: which are made smaller, which stay as they are. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/** One file of a set. */
export interface VariantReport extends ModelReport {
  readonly variant: Variant;
}

/**
 * Makes the files that transformers.js looks for beside an ONNX model, in one pass over its weights: `fp16`, `q8`, `int8`,
 * `uint8`, `q4`, `q4f16`, `bnb4`. Closes the sinks; aborts all of them when something goes wrong.
 *
 * @param sinkFor gives the sink for the file whose name is the model's with that suffix: `_fp16`, `_quantized`, `_q4`
 * @throws FormatError, ArgumentError, the signal's reason, what source and sinks throw
 */
export async function quantizeForTransformers(
  engine: Engine,
  source: ByteSource,
  sinkFor: (suffix: string) => Promise<ByteSink>,
  options: TransformersOptions = {},
): Promise<VariantReport[]> {
  checkKeys(options, [
    "only",
    "perChannel",
    "reduceRange",
    "nonFinite",
    "include",
    "exclude",
    "onProgress",
    "signal",
    "workers",
    "memory",
  ]);
  const nonFinite = oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]);
  const how = {
    perChannel: checkBoolean("perChannel", options.perChannel, true),
    reduceRange: checkBoolean("reduceRange", options.reduceRange, false),
    include: checkNames("include", options.include),
    exclude: checkNames("exclude", options.exclude),
  };
  const only = checkNames("only", options.only)?.map((name) => oneOf("only", name, variants));
  const chosen = variants.filter((variant) => only?.includes(variant) ?? true);
  if ((await detectFormat(source)) !== "onnx") throw new FormatError(source.name, "is no ONNX model");
  const sinks: ByteSink[] = [];
  return wholeOrNothing(sinks, async () => {
    for (const variant of chosen) sinks.push(await sinkFor(suffixes[variant]));
    const wanted = chosen.map((variant, i) => ({
      sink: sinks[i]!,
      plan: (model: Model) => planOf(variant, model, how),
      dataSuffix: DATA_SUFFIX,
    }));
    const reports = await quantizeOnnx(engine, source, wanted, { ...options, nonFinite });
    return reports.map((report, i) => ({ variant: chosen[i]!, ...report }));
  });
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
      "nonFinite",
      "include",
      "exclude",
    ],
    ...onnxOptions,
    ...["clamp", "onProgress", "signal", "workers", "memory"],
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
    nonFinite: oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]),
    include: checkNames("include", options.include),
    exclude: checkNames("exclude", options.exclude),
    opset: checkWhole("opset", options.opset, 1),
    opTypes: checkNames("opTypes", options.opTypes),
  };
}

type Checked = ReturnType<typeof checkQuantizeOptions>;

function checkpointOptionsOf({ scheme, perChannel, layout = "plain", reduceRange }: Checked, dtype: CodeDType) {
  return {
    dtype,
    layout,
    scheme: scheme ?? (codeTypes[dtype].signed ? "symmetric" : "affine"),
    perChannel: checkBoolean("perChannel", perChannel, true),
    reduceRange: checkBoolean("reduceRange", reduceRange, false),
  };
}

function halfOptionsOf(options: Checked, dtype: HalfDType) {
  refuseGiven(options, ["scheme", "perChannel", "axis", "blockSize", "reduceRange"], forIntegers(dtype));
  if (options.layout === "compressed-tensors") {
    throw new ArgumentError("layout", `${options.layout} ${forIntegers(dtype)}`);
  }
  return { dtype, clamp: checkBoolean("clamp", options.clamp, false) };
}

export interface DequantizeModelOptions extends TaskOptions {
  /** `safetensors` if not said; `npy` where there is one tensor. */
  readonly format?: Exclude<FormatName, "npz"> | undefined;
}

/**
 * Restores float files from what `quantizeModel` wrote in the plain layout: tensors in the type and shape they had. Closes
 * the sink; aborts it when something goes wrong.
 *
 * @throws FormatError, the signal's reason, what source and sink throw
 */
export async function dequantizeModel(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: DequantizeModelOptions = {},
): Promise<ModelReport> {
  return wholeOrNothing([sink], async () => {
    checkKeys(options, ["format", "onProgress", "signal", "workers", "memory"]);
    const format = oneOf("format", options.format ?? "safetensors", ["safetensors", "npy"]);
    return dequantizeCheckpoint(engine, source, sink, { ...options, format });
  });
}

/**
 * What is in a model or a file of tensors, and what each weight would lose; the result's `format` tells which it was. With
 * a `target` what is known of a model's nodes there, too.
 *
 * @throws FormatError, ArgumentError, the signal's reason, what the source throws
 */
export async function inspectModel(
  engine: Engine,
  source: ByteSource,
  options: InspectOptions = {},
): Promise<Inspection | ModelInspection> {
  checkKeys(options, ["target", "onProgress", "signal", "workers", "memory"]);
  const target = options.target === undefined ? undefined : oneOf("target", options.target, targetNames);
  const format = await detectFormat(source);
  if (format === "onnx") return inspectOnnx(engine, source, { ...options, target });
  if (target !== undefined) throw new ArgumentError("target", "is for ONNX models; this is a file of tensors");
  return inspectCheckpoint(engine, source, options);
}

/**
 * Compares two ONNX models that are meant to be the same, a float one and its quantized version: weights that go by the
 * same name side by side, and with a `runtime` (`wasm-quant/node` has one) what both give on the same inputs.
 *
 * @throws FormatError, ArgumentError, the signal's reason, what source and runtime throw
 */
export async function compareModels(
  engine: Engine,
  a: ByteSource,
  b: ByteSource,
  options: CompareModelsOptions = {},
): Promise<ModelComparison> {
  checkKeys(options, ["runtime", "inputs", "seed", "sets", "onProgress", "signal", "workers", "memory"]);
  checkWhole("seed", options.seed, 0);
  checkWhole("sets", options.sets, 1);
  // Loaded when it is wanted: what quantizes starts faster without.
  const { compareOnnx } = await import("./compare/models.ts");
  return compareOnnx(engine, a, b, options);
}

function checkWhole(argument: string, value: number | undefined, least = Number.MIN_SAFE_INTEGER): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  const allowed = least === 1 ? "whole numbers above 0" : least === 0 ? "whole numbers from 0 on" : "whole numbers";
  throw new ArgumentError(argument, `${String(value)} (${typeof value}) given; ${allowed} are allowed`);
}

function checkNames(argument: string, names: readonly string[] | undefined): readonly string[] | undefined {
  if (names === undefined) return undefined;
  if (Array.isArray(names) && names.every((name) => typeof name === "string" && name !== "")) return names;
  throw new ArgumentError(argument, "an array of strings is wanted, none of them empty");
}
