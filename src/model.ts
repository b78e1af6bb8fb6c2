/**
 * Files in, files out: what the command and the page both call. Bytes come from a ByteSource and go to a ByteSink, so
 * that nothing here knows where they live.
 */
import { dequantizeCheckpoint } from "./checkpoint/dequantize.ts";
import { type Inspection, inspectCheckpoint } from "./checkpoint/inspect.ts";
import { quantizeCheckpoint } from "./checkpoint/quantize.ts";
import type { Engine } from "./core/engine.ts";
import { checkBoolean, checkKeys, codeNames, type NonFinite, oneOf } from "./core/options.ts";
import { type SchemeName, schemeNames } from "./core/schemes.ts";
import { type CodeDType, codeTypes } from "./dtypes.ts";
import { ArgumentError } from "./errors.ts";
import type { FormatName } from "./formats/detect.ts";
import type { ByteSink, ByteSource } from "./formats/source.ts";
import type { TaskOptions } from "./task/progress.ts";
import type { ModelReport } from "./task/report.ts";

export interface QuantizeModelOptions extends TaskOptions {
  /** int8 if not said. */
  readonly dtype?: CodeDType | undefined;
  /** `symmetric` for signed types, `affine` for unsigned ones if not said. */
  readonly scheme?: Exclude<SchemeName, "dynamic"> | undefined;
  /** A scale for each slice along `axis` (the default), or one for each tensor. */
  readonly perChannel?: boolean | undefined;
  /** The channel axis, 0 if not said; with `blockSize` the axis blocks run along, 1 if not said. */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
  readonly reduceRange?: boolean | undefined;
  readonly nonFinite?: NonFinite | undefined;
  /** Globs over tensor names; `*` matches across dots and slashes. One that matches nothing is an error. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/**
 * Quantizes a safetensors or .npy file into a safetensors file: float tensors of two or more dimensions become codes with
 * scales and zero points beside them, the rest is copied. Closes the sink; aborts it when something goes wrong, so that
 * nothing is written by halves.
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
      ...["include", "exclude", "onProgress", "signal"],
    ]);
    const dtype = oneOf("dtype", options.dtype ?? "int8", codeNames);
    const allowed = schemeNames.filter((name) => name !== "dynamic");
    const scheme = oneOf("scheme", options.scheme ?? (codeTypes[dtype].signed ? "symmetric" : "affine"), allowed);
    return quantizeCheckpoint(engine, source, sink, {
      ...options,
      dtype,
      scheme,
      axis: checkWhole("axis", options.axis),
      blockSize: checkWhole("blockSize", options.blockSize, 1),
      perChannel: checkBoolean("perChannel", options.perChannel, true),
      reduceRange: checkBoolean("reduceRange", options.reduceRange, false),
      nonFinite: oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]),
      include: checkGlobs("include", options.include),
      exclude: checkGlobs("exclude", options.exclude),
    });
  });
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
 * What is in a file, and what each tensor would lose.
 *
 * @throws FormatError, the signal's reason, what the source throws
 */
export async function inspectModel(engine: Engine, source: ByteSource, options: TaskOptions = {}): Promise<Inspection> {
  checkKeys(options, ["onProgress", "signal"]);
  return inspectCheckpoint(engine, source, options);
}

function checkWhole(argument: string, value: number | undefined, least = Number.MIN_SAFE_INTEGER): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  const allowed = least === 1 ? "whole numbers above 0" : "whole numbers";
  throw new ArgumentError(argument, `${String(value)} (${typeof value}) given; ${allowed} are allowed`);
}

function checkGlobs(argument: string, globs: readonly string[] | undefined): readonly string[] | undefined {
  if (globs === undefined) return undefined;
  if (Array.isArray(globs) && globs.every((glob) => typeof glob === "string" && glob !== "")) return globs;
  throw new ArgumentError(argument, "an array of globs is wanted, none of them empty");
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
