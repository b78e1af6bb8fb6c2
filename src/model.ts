/**
 * Files in, files out: what the command and the page both call. Bytes come from a ByteSource and go to a ByteSink, so
 * that nothing here knows where they live.
 */
import { dequantizeCheckpoint } from "./checkpoint/dequantize.ts";
import { type Inspection, inspectCheckpoint } from "./checkpoint/inspect.ts";
import { quantizeCheckpoint } from "./checkpoint/quantize.ts";
import type { CompareModelsOptions, ModelComparison } from "./compare/models.ts";
import type { Engine } from "./core/engine.ts";
import { checkBoolean, checkKeys, codeNames, type NonFinite, oneOf } from "./core/options.ts";
import { type SchemeName, schemeNames } from "./core/schemes.ts";
import { type CodeDType, codeTypes } from "./dtypes.ts";
import { ArgumentError } from "./errors.ts";
import { detectFormat, type FormatName } from "./formats/detect.ts";
import type { ByteSink, ByteSource } from "./formats/source.ts";
import { inspectOnnx, type ModelInspection } from "./onnx/inspect.ts";
import { quantizeOnnx } from "./onnx/quantize.ts";
import { type WeightForm, weightForms } from "./onnx/recipe.ts";
import type { TaskOptions } from "./task/progress.ts";
import type { ModelReport } from "./task/report.ts";

export interface QuantizeModelOptions extends TaskOptions, OnnxOptions {
  /** int8 if not said. */
  readonly dtype?: CodeDType | undefined;
  /** `symmetric` for signed types, `affine` for unsigned ones if not said. */
  readonly scheme?: Exclude<SchemeName, "dynamic"> | undefined;
  /** A scale for each slice along `axis` (the default), or one for each tensor. */
  readonly perChannel?: boolean | undefined;
  /** Of tensors: the channel axis, 0 if not said; with `blockSize` that of the blocks, 1 if not said. Nodes have their own. */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
  readonly reduceRange?: boolean | undefined;
  readonly nonFinite?: NonFinite | undefined;
  /** Globs over names of tensors, and of nodes; `*` matches across dots and slashes. One that matches nothing is an error. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/** Of ONNX models alone. */
export interface OnnxOptions {
  /**
   * How weights are restored in the graph: `cast` (Cast, Sub, Mul: every opset from 7 on has them and runtimes fold them
   * when they load a model; the default) or `qdq` (DequantizeLinear).
   */
  readonly format?: WeightForm | undefined;
  /** Raises the model to this opset of ONNX first. */
  readonly opset?: number | undefined;
  /** Only weights of nodes of these types. One that matches nothing is an error. */
  readonly opTypes?: readonly string[] | undefined;
}

/**
 * Quantizes a model or a file of tensors.
 *
 * An ONNX model becomes an ONNX model with the weights of its layers as codes, restored in the graph, and its arithmetic
 * in floating point as before. A safetensors or .npy file becomes a safetensors file: float tensors of two or more
 * dimensions become codes with scales and zero points beside them. The rest is copied. Closes the sink; aborts it when
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
  return wholeOrNothing(sink, async () => {
    checkKeys(options, [
      ...["dtype", "scheme", "perChannel", "axis", "blockSize", "reduceRange", "nonFinite"],
      ...["include", "exclude", "opTypes", "format", "opset", "onProgress", "signal"],
    ]);
    const dtype = oneOf("dtype", options.dtype ?? "int8", codeNames);
    const allowed = schemeNames.filter((name) => name !== "dynamic");
    const checked = {
      ...options,
      dtype,
      scheme: oneOf("scheme", options.scheme ?? (codeTypes[dtype].signed ? "symmetric" : "affine"), allowed),
      axis: checkWhole("axis", options.axis),
      blockSize: checkWhole("blockSize", options.blockSize, 1),
      perChannel: checkBoolean("perChannel", options.perChannel, true),
      reduceRange: checkBoolean("reduceRange", options.reduceRange, false),
      nonFinite: oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]),
      include: checkNames("include", options.include),
      exclude: checkNames("exclude", options.exclude),
    };
    if ((await detectFormat(source)) !== "onnx") {
      refuse(options, ["format", "opset", "opTypes"], "is for ONNX models; this is a file of tensors");
      return quantizeCheckpoint(engine, source, sink, checked);
    }
    return quantizeOnnx(engine, source, sink, { ...checked, ...checkOnnxOptions(options, checked) });
  });
}

/** @throws ArgumentError for what has no place in an ONNX model */
function checkOnnxOptions(options: QuantizeModelOptions, { dtype, scheme }: { dtype: CodeDType; scheme: SchemeName }) {
  refuse(options, ["axis"], "is for files of tensors; in a model each node has its own");
  const form = oneOf("format", options.format ?? "cast", weightForms);
  if (scheme !== "symmetric" && scheme !== "affine") {
    throw new ArgumentError("scheme", `${scheme} given; an ONNX model takes symmetric or affine`);
  }
  if (codeTypes[dtype].bits === 4 && form === "cast") {
    throw new ArgumentError(
      "dtype",
      `${dtype} needs the format "qdq" and opset 21: what "cast" uses has no 4-bit types`,
    );
  }
  if (options.perChannel === false && options.blockSize !== undefined) {
    throw new ArgumentError("blockSize", "given with perChannel: false; blocks have a scale each");
  }
  const opset = checkWhole("opset", options.opset, 1);
  return { form, scheme, opset, opTypes: checkNames("opTypes", options.opTypes) };
}

/** @throws ArgumentError for an option that is given where it means nothing */
function refuse(options: QuantizeModelOptions, names: readonly (keyof QuantizeModelOptions)[], why: string): void {
  for (const name of names) if (options[name] !== undefined) throw new ArgumentError(name, why);
}

export interface DequantizeModelOptions extends TaskOptions {
  /** `safetensors` if not said; `npy` where there is one tensor. */
  readonly format?: FormatName | undefined;
}

/**
 * Restores a float file from what `quantizeModel` wrote: tensors in the type and shape they had. Closes the sink; aborts
 * it when something goes wrong.
 *
 * @throws FormatError, the signal's reason, what source and sink throw
 */
export async function dequantizeModel(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: DequantizeModelOptions = {},
): Promise<ModelReport> {
  return wholeOrNothing(sink, async () => {
    checkKeys(options, ["format", "onProgress", "signal"]);
    const format = oneOf("format", options.format ?? "safetensors", ["safetensors", "npy"]);
    return dequantizeCheckpoint(engine, source, sink, { ...options, format });
  });
}

/**
 * What is in a model or a file of tensors, and what each weight would lose; the result's `format` tells which it was.
 *
 * @throws FormatError, the signal's reason, what the source throws
 */
export async function inspectModel(
  engine: Engine,
  source: ByteSource,
  options: TaskOptions = {},
): Promise<Inspection | ModelInspection> {
  checkKeys(options, ["onProgress", "signal"]);
  const format = await detectFormat(source);
  return format === "onnx" ? inspectOnnx(engine, source, options) : inspectCheckpoint(engine, source, options);
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
  checkKeys(options, ["runtime", "inputs", "seed", "sets", "onProgress", "signal"]);
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

async function wholeOrNothing<T>(sink: ByteSink, write: () => Promise<T>): Promise<T> {
  try {
    const result = await write();
    await sink.close();
    return result;
  } catch (error) {
    await sink.abort().catch(() => {}); // what went wrong first is what matters
    throw error;
  }
}
