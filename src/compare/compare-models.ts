import type { Engine } from "../engine/engine.ts";
import { ArgumentError, FormatError } from "../errors.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { detectFileType } from "../formats/detect-file-type.ts";
import { readNpz } from "../formats/npz.ts";
import { indexLimits } from "../onnx/ir/index-limits.ts";
import { type TaskOptions, type Tracker, trackerOf } from "../pipeline/progress.ts";
import { createOutputMeter, type OutputComparison } from "./compare-outputs.ts";
import {
  bytesToCompare,
  compareWeights,
  type OpenModel,
  openModel,
  type WeightsComparison,
} from "./compare-weights.ts";
import { type FeedSet, feedsFromNpz, randomFeeds } from "./feeds.ts";
import type { ModelRuntime, ModelSession, ModelValueInfo } from "./model-runtime.ts";
import { type Feeds, feedOf, isFloat, isValueDType, numbersOf } from "./tensor-values.ts";

export interface CompareModelsOptions extends TaskOptions {
  /** Runs both models and compares what they give; without one, only weights are compared. */
  readonly runtime?: ModelRuntime | undefined;
  /** .npz files of inputs to run on; random ones if there are none. */
  readonly inputs?: readonly ByteSource[] | undefined;
  /** Of random inputs: 32 bits. Default: 0. */
  readonly seed?: number | undefined;
  /** How many sets of random inputs. Default: 4. */
  readonly sets?: number | undefined;
}

/** An output of both models. */
export interface NamedOutputComparison {
  readonly name: string;
  readonly comparison: OutputComparison;
}

export interface ModelComparison extends WeightsComparison {
  /** Undefined where the models were not run. */
  readonly outputs?: readonly NamedOutputComparison[] | undefined;
  /** How many sets of inputs they were run on, and whether those were made up. */
  readonly sets: number;
  readonly random: boolean;
  readonly bytesA: number;
  readonly bytesB: number;
}

/** Sets of random inputs: an output's figure should not hang on one. */
const SETS = 4;

/**
 * Compares two models that are meant to be the same: weights side by side, and what they give on the same inputs.
 *
 * @throws FormatError, ArgumentError, the signal's reason
 */
export async function compareOnnx(
  engine: Engine,
  a: ByteSource,
  b: ByteSource,
  options: CompareModelsOptions,
): Promise<ModelComparison> {
  for (const source of [a, b]) {
    if ((await detectFileType(source)) !== "onnx")
      throw new FormatError(source.name, "is no ONNX model; two of those are compared");
  }
  if (options.inputs?.length && !options.runtime)
    throw new ArgumentError("inputs", "a runtime is needed to run the models on them");
  const left = await openModel(a);
  try {
    const right = await openModel(b);
    try {
      const tracker = trackerOf(options, bytesToCompare(left, right));
      const weights = await compareWeights(engine, left, right, tracker);
      if (!options.runtime && weights.weights.length + weights.otherShapes.length === 0) {
        throw new FormatError(b.name, `has no weight in common with ${a.name}: they are not the same model`);
      }
      const outcome = options.runtime
        ? await runBoth(engine, options.runtime, a, b, left, options, tracker)
        : { sets: 0, random: false };
      await tracker.at("");
      return { ...weights, ...outcome, bytesA: left.files.byteLength, bytesB: right.files.byteLength };
    } finally {
      await right.files.close();
    }
  } finally {
    await left.files.close();
  }
}

async function runBoth(
  engine: Engine,
  runtime: ModelRuntime,
  a: ByteSource,
  b: ByteSource,
  { model }: OpenModel,
  options: CompareModelsOptions,
  tracker: Tracker,
): Promise<Pick<ModelComparison, "outputs" | "sets" | "random">> {
  const first = await runtime.open(a);
  try {
    const second = await runtime.open(b);
    try {
      checkSame(a, b, first, second);
      const limits = indexLimits(model, a.name);
      const { seed = 0, sets = SETS, inputs = [] } = options;
      const random = inputs.length === 0;
      const feeds = random ? randomFeeds(first.inputs, { seed, sets, limits }) : await feedsFrom(inputs, first);
      return { outputs: await meterOutputs(engine, first, second, feeds, tracker), sets: feeds.length, random };
    } finally {
      await second.close();
    }
  } finally {
    await first.close();
  }
}

/** The same values for a model that takes floats of another width. */
function asTaken(feeds: Feeds, specs: readonly ModelValueInfo[]): Feeds {
  return Object.fromEntries(
    specs.flatMap(({ name, dtype }) => {
      const feed = feeds[name];
      if (!feed) return [];
      const other = isValueDType(dtype) && dtype !== feed.dtype && isFloat(dtype) && isFloat(feed.dtype);
      return [[name, other ? feedOf(dtype, feed.shape, Float64Array.from(numbersOf(feed))) : feed]];
    }),
  );
}

async function feedsFrom(inputs: readonly ByteSource[], { inputs: specs }: ModelSession): Promise<FeedSet[]> {
  const sets: FeedSet[] = [];
  for (const source of inputs) sets.push(...feedsFromNpz(await readNpz(source), specs, source.name));
  return sets;
}

/** @throws FormatError unless both take and give values of the same names */
function checkSame(a: ByteSource, b: ByteSource, first: ModelSession, second: ModelSession): void {
  for (const side of ["inputs", "outputs"] as const) {
    const [one, other] = [first, second].map((session) =>
      session[side]
        .map(({ name }) => name)
        .sort()
        .join(", "),
    );
    if (one !== other) throw new FormatError(b.name, `has ${side} ${other}, where ${a.name} has ${one}`);
  }
}

async function meterOutputs(
  engine: Engine,
  first: ModelSession,
  second: ModelSession,
  feeds: readonly FeedSet[],
  tracker: Tracker,
): Promise<NamedOutputComparison[]> {
  const meters = new Map(first.outputs.map(({ name }) => [name, createOutputMeter(engine)]));
  const met = new Set<string>();
  for (const [i, set] of feeds.entries()) {
    await tracker.at(`inputs ${i + 1} of ${feeds.length}`);
    const inputs = await set.read();
    const [one, other] = [await first.run(inputs), await second.run(asTaken(inputs, second.inputs))];
    for (const [name, meter] of meters) {
      if (!one[name] || !other[name]) continue;
      meter.add(one[name], other[name]);
      met.add(name);
    }
  }
  return first.outputs.map(({ name, dtype }) => {
    if (!met.has(name)) return { name, comparison: { kind: "incomparable", reason: `${dtype} values cannot be read` } };
    return { name, comparison: meters.get(name)!.result() };
  });
}
