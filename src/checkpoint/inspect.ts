import type { Engine } from "../core/engine.ts";
import { lossOf } from "../core/error.ts";
import type { Granularity } from "../core/granularity.ts";
import { elementsOf } from "../core/shape.ts";
import type { CodeDType } from "../dtypes.ts";
import { NonFiniteError } from "../errors.ts";
import type { FormatName } from "../formats/detect.ts";
import { isFloatName } from "../formats/floats.ts";
import type { SafetensorsDType } from "../formats/safetensors.ts";
import type { ByteSource } from "../formats/source.ts";
import { measureWork } from "../streams/affine.ts";
import { quantizeStored, rangeStored } from "../streams/drive.ts";
import { allInOrder, Schedule } from "../streams/schedule.ts";
import type { StoredTensor } from "../streams/stored.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../task/progress.ts";
import type { Files } from "../task/work.ts";
import { type Entry, METADATA_KEY } from "./convention.ts";
import { entriesFromText } from "./entries.ts";
import { locate, type Places } from "./locate.ts";
import { type CheckpointTensor, openCheckpoint } from "./open.ts";
import { type Decision, decide } from "./select.ts";

/** What a tensor would lose, as signal-to-quantization-noise ratio in dB. */
export interface Prospects {
  readonly int8PerTensor: number;
  readonly int8PerChannel: number;
  /** Blocks of 32 along axis 1; undefined where that would not make the tensor smaller. */
  readonly int4Blocks: number | undefined;
}

const BLOCK = 32;

export interface TensorInspection {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: SafetensorsDType;
  /** With scales and zero points, where it is quantized. */
  readonly bytes: number;
  /** Of float tensors. */
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** Of float tensors that would be quantized. */
  readonly sqnr?: Prospects | undefined;
  /** How it is quantized already. */
  readonly quantized?: Entry | undefined;
  /** Why it would not be quantized. */
  readonly reason?: string | undefined;
}

export interface Inspection {
  readonly format: FormatName;
  readonly metadata: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly tensors: readonly TensorInspection[];
}

/**
 * What is in a file, and what each of its tensors would lose.
 *
 * @throws FormatError, the signal's reason
 */
export async function inspectCheckpoint(engine: Engine, source: ByteSource, options: TaskOptions): Promise<Inspection> {
  const checkpoint = await openCheckpoint(source);
  const { format, files, tensors } = checkpoint;
  const { metadata } = files[0]!;
  const entries = entriesFromText(source.name, metadata[METADATA_KEY]);
  const how = { scheme: "symmetric", perChannel: true } as const;
  const decisions = decide(source.name, checkpoint, { ...how, dtype: "int8" });
  const blocks = decide(source.name, checkpoint, { ...how, dtype: "int4", blockSize: BLOCK });
  const placesOf = entries ? locate(source.name, entries, tensors) : new Map<string, Places>();
  const parts = new Set([...placesOf.values()].flatMap((places) => [...places.values()].map(({ name }) => name)));
  const total = tensors.reduce((sum, { start, end }) => sum + end - start, 0);
  const tracker = trackerOf(options, total);
  const workers = workersFor(options, engine, total);
  const run = {
    files: { sources: files.map((file) => file.source), sinks: [] },
    schedule: new Schedule(workers, tracker, (error) => !(error instanceof NonFiniteError)),
    share: shareOf(options, workers),
  };

  const inspectOne = async (decision: Decision, i: number): Promise<TensorInspection> => {
    const { name, shape, dtype, start, end } = decision.tensor;
    const facts = { name, shape, dtype, bytes: end - start };
    const quantized = entries?.get(name);
    if (quantized) {
      const bytes = [...placesOf.get(name)!.values()].reduce((sum, part) => sum + part.end - part.start, 0);
      tracker.advance(bytes);
      return { ...facts, bytes, quantized };
    }
    const reason = "reason" in decision ? decision.reason : undefined;
    const trial = { int8: reason === undefined, blocks: "entry" in blocks[i]! };
    const measured = await measureTensor(run, decision.tensor, trial);
    tracker.advance(end - start);
    return { ...facts, reason, ...measured };
  };

  // Parts of quantized tensors are told of with them.
  const told = [...decisions.entries()].filter(
    ([, { tensor }]) => !parts.has(tensor.name) || entries?.has(tensor.name),
  );
  const inspections = await allInOrder(told.map(([i, decision]) => inspectOne(decision, i)));
  await tracker.at("");
  return { format, metadata, bytes: source.byteLength, tensors: inspections };
}

/** What the inspection of all tensors has in common. */
interface Run {
  readonly files: Files;
  readonly schedule: Schedule;
  readonly share: number;
}

/** Which quantizations make the tensor smaller, and so are tried. */
interface Trial {
  readonly int8: boolean;
  readonly blocks: boolean;
}

type Measured = Pick<TensorInspection, "min" | "max" | "sqnr" | "reason">;

async function measureTensor(run: Run, tensor: CheckpointTensor, trial: Trial): Promise<Measured> {
  const { name, dtype, shape, start, end, file } = tensor;
  if (!isFloatName(dtype) || start === end) return {};
  const stored = { name, dtype, shape, start, file };
  try {
    const range = await rangeStored(run.schedule, run.files, stored, run.share);
    return trial.int8 ? { ...range, sqnr: await prospectsOf(run, stored, trial) } : range;
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    return { reason: `holds ${error.value} at flat index ${error.index}` };
  }
}

async function prospectsOf({ schedule, files, share }: Run, tensor: StoredTensor, trial: Trial): Promise<Prospects> {
  const common = { scheme: "symmetric", reduceRange: false, nonFinite: "error" } as const;
  const sqnr = async (dtype: CodeDType, granularity: Granularity) => {
    const sums = await quantizeStored(schedule, files, tensor, { ...common, dtype, granularity }, share, (unit) =>
      schedule.run(tensor.name, 0, measureWork, files, unit),
    );
    return lossOf(sums, elementsOf(tensor.shape)).sqnr;
  };
  const flat = tensor.shape.length < 2;
  return {
    int8PerTensor: await sqnr("int8", {}),
    int8PerChannel: await sqnr("int8", flat ? {} : { axis: 0 }),
    int4Blocks: trial.blocks ? await sqnr("int4", { axis: flat ? 0 : 1, blockSize: BLOCK }) : undefined,
  };
}
