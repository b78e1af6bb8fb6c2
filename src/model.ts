/**
 * Files in, files out: what the command and the page both call. Bytes come from a ByteSource and go to a ByteSink, so
 * that nothing here knows where they live.
 */

import { dequantizeCheckpoint } from "./checkpoint/dequantize-checkpoint.ts";
import { halveCheckpoint } from "./checkpoint/halve-checkpoint.ts";
import { type Inspection, inspectCheckpoint } from "./checkpoint/inspect-checkpoint.ts";
import { quantizeCheckpoint } from "./checkpoint/quantize-checkpoint.ts";
import type { CompareModelsOptions, ModelComparison } from "./compare/compare-models.ts";
import type { Engine } from "./engine/engine.ts";
import { checkKeys, checkWhole, oneOf } from "./engine/tensors/quantize-options.ts";
import { ArgumentError, FormatError } from "./errors.ts";
import type { ByteSink, ByteSource } from "./formats/byte-source.ts";
import { detectFileType, type TensorFileType } from "./formats/detect-file-type.ts";
import { textOf, type Words } from "./messages.ts";
import {
  type CheckedQuantization,
  checkNames,
  checkQuantize,
  checkTransformersOptions,
  type QuantizeModelOptions,
  type TransformersJsOptions,
} from "./model-options.ts";
import { type InspectOptions, inspectOnnx, type ModelInspection } from "./onnx/inspect-onnx.ts";
import type { Model } from "./onnx/ir/graph.ts";
import { quantizeOnnx } from "./onnx/quantize-onnx.ts";
import { targetNames } from "./onnx/targets/target.ts";
import { DATA_SUFFIX, planOf, suffixes, type TransformersJsVariant } from "./onnx/transformers-js.ts";
import { commitSinks } from "./pipeline/commit-sinks.ts";
import type { ModelReport } from "./pipeline/model-report.ts";
import { type TaskOptions, taskOptions } from "./pipeline/progress.ts";

export type { QuantizeModelOptions, TransformersJsOptions } from "./model-options.ts";

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
 * @throws UnchangedError where nothing can be quantized (unless `allowUnchanged`), FormatError, ArgumentError, the signal's
 * reason, what source and sink throw
 */
export async function quantizeModel(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: QuantizeModelOptions = {},
): Promise<ModelReport> {
  const quantize = async () => {
    const wanted = checkQuantize(source.name, await detectFileType(source), options);
    return quantizeInto(engine, source, sink, wanted, options);
  };
  return commitSinks([sink], quantize());
}

/** `quantizeModel` with options that have been checked already, for those who want to know what it makes beforehand. */
export async function quantizeChecked(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  wanted: CheckedQuantization,
  task: TaskOptions,
): Promise<ModelReport> {
  return commitSinks([sink], quantizeInto(engine, source, sink, wanted, task));
}

async function quantizeInto(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  wanted: CheckedQuantization,
  { onProgress, signal, workers, memory }: TaskOptions,
): Promise<ModelReport> {
  const task = { onProgress, signal, workers, memory };
  if (wanted.kind === "halves") return halveCheckpoint(engine, source, sink, { ...wanted.options, ...task });
  if (wanted.kind === "codes") return quantizeCheckpoint(engine, source, sink, { ...wanted.options, ...task });
  const { plan, alternatives, options } = wanted;
  const variants = [{ sink: () => sink, plan, alternatives }];
  const [made] = await quantizeOnnx(engine, source, variants, { ...options, ...task });
  return made as ModelReport; // with nothing made there would have been an error
}

/** One file of a set. */
export interface VariantReport extends ModelReport {
  readonly variant: TransformersJsVariant;
}

/** A variant that was left out of a set: no weight of the model can be stored so. */
export interface SkippedVariant {
  readonly variant: TransformersJsVariant;
  readonly reason: string;
  /** The reason in parts, in which options stand by name and value. */
  readonly words: Words;
}

/** What became of a set, each in the order of `variants`. */
export interface TransformersJsReport {
  readonly files: readonly VariantReport[];
  readonly skipped: readonly SkippedVariant[];
}

/**
 * Makes the files that transformers.js looks for beside an ONNX model, in one pass over its weights: `fp16`, `q8`, `int8`,
 * `uint8`, `q4`, `q4f16`, `bnb4`. A variant in which nothing can be quantized is left out, unless `allowUnchanged`. Closes
 * the sinks; aborts all of them when something goes wrong.
 *
 * @param sinkFor gives the sink for the file whose name is the model's with that suffix: `_fp16`, `_quantized`, `_q4`; called
 * once it is known that the variant is made
 * @throws UnchangedError where all variants would be left out, FormatError, ArgumentError, the signal's reason, what source
 * and sinks throw
 */
export async function quantizeForTransformersJs(
  engine: Engine,
  source: ByteSource,
  sinkFor: (suffix: string) => Promise<ByteSink>,
  options: TransformersJsOptions = {},
): Promise<TransformersJsReport> {
  const { chosen, how, ...rest } = checkTransformersOptions(options);
  if ((await detectFileType(source)) !== "onnx") throw new FormatError(source.name, "is not an ONNX model");
  const sinks: ByteSink[] = [];
  const wanted = chosen.map((variant) => ({
    async sink() {
      const sink = await sinkFor(suffixes[variant]);
      sinks.push(sink);
      return sink;
    },
    plan: (model: Model) => planOf(variant, model, how),
    dataSuffix: DATA_SUFFIX,
  }));
  const made = await commitSinks(sinks, quantizeOnnx(engine, source, wanted, { ...options, ...rest }));
  return {
    files: made.flatMap((each, i) => ("unchanged" in each ? [] : [{ variant: chosen[i]!, ...each }])),
    skipped: made.flatMap((each, i) =>
      "unchanged" in each ? [{ variant: chosen[i]!, reason: textOf(each.unchanged), words: each.unchanged }] : [],
    ),
  };
}

export interface DequantizeModelOptions extends TaskOptions {
  /** Default: `safetensors`. `npy` holds one tensor. */
  readonly fileType?: Exclude<TensorFileType, "npz"> | undefined;
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
  return commitSinks([sink], dequantizeInto(engine, source, sink, options));
}

async function dequantizeInto(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: DequantizeModelOptions,
): Promise<ModelReport> {
  checkKeys(options, ["fileType", ...taskOptions]);
  const fileType = oneOf("fileType", options.fileType ?? "safetensors", ["safetensors", "npy"]);
  return dequantizeCheckpoint(engine, source, sink, { ...options, fileType });
}

/** Options of `inspectModel` that, as those of `quantizeModel`, tell which weights would be wanted. */
const selecting = ["include", "exclude", "opTypes"] as const;

/**
 * What is in a model or a file of tensors, and what each weight would lose; the result's `fileType` tells which it was. With
 * a `target` what is known of a model's nodes there, too. `include`, `exclude` and `opTypes` are those of `quantizeModel`.
 *
 * @throws FormatError, ArgumentError, the signal's reason, what the source throws
 */
export async function inspectModel(
  engine: Engine,
  source: ByteSource,
  options: InspectOptions = {},
): Promise<Inspection | ModelInspection> {
  checkKeys(options, ["target", ...selecting, ...taskOptions]);
  const target = options.target === undefined ? undefined : oneOf("target", options.target, targetNames);
  const fileType = await detectFileType(source);
  if (fileType === "onnx") {
    const [include, exclude, opTypes] = selecting.map((name) => checkNames(name, options[name]));
    return inspectOnnx(engine, source, { ...options, include, exclude, opTypes, target });
  }
  for (const name of ["target", ...selecting] as const) {
    if (options[name] !== undefined) throw new ArgumentError(name, "is for ONNX models; this is a file of tensors");
  }
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
  checkKeys(options, ["runtime", "inputs", "seed", "sets", ...taskOptions]);
  checkWhole("seed", options.seed, 0);
  checkWhole("sets", options.sets, 1);
  // Loaded when it is wanted: what quantizes starts faster without.
  const { compareOnnx } = await import("./compare/compare-models.ts");
  return compareOnnx(engine, a, b, options);
}
