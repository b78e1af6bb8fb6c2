import type { Inspection } from "../checkpoint/inspect-checkpoint.ts";
import { createEngine, type Engine } from "../engine/engine.ts";
import { refuseGiven } from "../engine/tensors/quantize-options.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { detectFileType } from "../formats/detect-file-type.ts";
import { inspectModel, type QuantizeModelOptions, quantizeChecked } from "../model.ts";
import { checkQuantize } from "../model-options.ts";
import type { InspectOptions, ModelInspection } from "../onnx/inspect-onnx.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import { fileSink } from "./file-sink.ts";
import { fileSource } from "./file-source.ts";
import { checkExtension, extensionOf } from "./output-name.ts";
import { type WorkOptions, withThreads } from "./threads.ts";

/** What work on files takes, as the command has it: threads only where they pay, memory of the process as a whole. */
export interface FileTaskOptions extends WorkOptions {
  /** Default: one engine for all calls, made at the first. */
  readonly engine?: Engine | undefined;
}

export interface QuantizeFileOptions extends Omit<QuantizeModelOptions, "workers" | "memory">, FileTaskOptions {
  /** Replaces an output that exists. Default: false, that is an error. */
  readonly overwrite?: boolean | undefined;
}

export interface InspectFileOptions extends Omit<InspectOptions, "workers" | "memory">, FileTaskOptions {}

/**
 * Quantizes the model or the file of tensors at `input` into a file at `output`, which appears complete or not at all:
 * `quantizeModel` on files. An ONNX model becomes an .onnx file, with its external data beside it; safetensors, .npy and
 * .npz files become a .safetensors file, and the index of a checkpoint in shards an index beside as many shards.
 *
 * @throws FileError where a file cannot be read or written or `output` exists, and what `quantizeModel` throws
 */
export async function quantizeFile(
  input: string,
  output: string,
  { engine, threads, memory, overwrite, ...options }: QuantizeFileOptions = {},
): Promise<ModelReport> {
  return withFile(input, async (source) => {
    const fileType = await detectFileType(source);
    const wanted = checkQuantize(input, fileType, withoutWorkers(options));
    checkExtension(output, extensionOf(input, fileType === "onnx"));
    const own = engine ?? (await defaultEngine());
    return withThreads({ threads, memory }, async (task) => {
      const sink = await fileSink(output, { overwrite });
      return quantizeChecked(own, source, sink, wanted, { ...options, ...task });
    });
  });
}

/**
 * What is in the model or the file of tensors at `input`, and what each weight would lose: `inspectModel` on a file.
 *
 * @throws FileError where the file cannot be read, and what `inspectModel` throws
 */
export async function inspectFile(
  input: string,
  { engine, threads, memory, ...options }: InspectFileOptions = {},
): Promise<Inspection | ModelInspection> {
  return withFile(input, async (source) => {
    const own = engine ?? (await defaultEngine());
    return withThreads({ threads, memory }, (task) =>
      inspectModel(own, source, { ...withoutWorkers(options), ...task }),
    );
  });
}

/** @throws ArgumentError where there are workers: they are made here */
function withoutWorkers<T extends object>(options: T): T {
  refuseGiven<{ workers?: unknown }>(options, ["workers"], "is for sources and sinks; expected threads, a number");
  return options;
}

async function withFile<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const source = await fileSource(path);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

let shared: Promise<Engine> | undefined;

/** The engine of all calls that bring none. */
function defaultEngine(): Promise<Engine> {
  shared ??= createEngine().catch((error) => {
    shared = undefined; // the next call tries again
    throw error;
  });
  return shared;
}
