import type { Engine } from "../engine/engine.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import type { TensorFileType } from "../formats/detect-file-type.ts";
import { isFloatName } from "../formats/float-types.ts";
import type { SafetensorsDType } from "../formats/safetensors.ts";
import { inspectStored, isFinding } from "../pipeline/inspect-work.ts";
import type { InspectedTensor } from "../pipeline/model-report.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../pipeline/progress.ts";
import { allInOrder, Schedule } from "../pipeline/schedule.ts";
import { type Files, workersOn } from "../pipeline/work.ts";
import { workersBeside } from "./files/convert-checkpoint.ts";
import { type Checkpoint, type CheckpointTensor, metadataOf, withCheckpoint } from "./files/open-checkpoint.ts";
import type { Decision } from "./files/select-tensors.ts";
import { quantizedIn } from "./plain/locate-parts.ts";
import { METADATA_KEY, type QuantizedEntry } from "./plain/plain-layout.ts";
import { planTensors } from "./plain/plan-plain.ts";

/** What a tensor would lose, as signal-to-quantization-noise ratio in dB. */
export interface ExpectedErrors {
  readonly int8PerTensor: number;
  readonly int8PerChannel: number;
  /** Blocks of 32 along axis 1; undefined where that would not make the tensor smaller. */
  readonly int4Blocks: number | undefined;
}

const BLOCK = 32;

export interface TensorInspection extends InspectedTensor {
  readonly dtype: SafetensorsDType;
  /** Of float tensors that would be quantized. */
  readonly sqnr?: ExpectedErrors | undefined;
  /** How it is quantized already. */
  readonly quantized?: QuantizedEntry | undefined;
}

export interface Inspection {
  readonly fileType: TensorFileType;
  /** Of shards, by name: what stands in one of them at least; its tensors say how each is quantized. */
  readonly files?: readonly string[] | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly tensors: readonly TensorInspection[];
}

/**
 * What is in a file, and what each of its tensors would lose.
 *
 * @throws FormatError, the signal's reason
 */
export function inspectCheckpoint(engine: Engine, source: ByteSource, options: TaskOptions): Promise<Inspection> {
  return withCheckpoint(source, (checkpoint) => inspectOpen(engine, checkpoint, options));
}

async function inspectOpen(engine: Engine, checkpoint: Checkpoint, options: TaskOptions): Promise<Inspection> {
  const { name: file, fileType, files, byteLength, index } = checkpoint;
  const { entries, placesOf, parts } = quantizedIn(checkpoint) ?? {};
  const how = { scheme: "symmetric", perChannel: true } as const;
  const decisions = planTensors(file, checkpoint, { ...how, dtype: "int8" });
  const blocks = planTensors(file, checkpoint, { ...how, dtype: "int4", blockSize: BLOCK });
  const total = decisions.reduce((sum, { tensor }) => sum + tensor.end - tensor.start, 0);
  const tracker = trackerOf(options, total);
  const workers = workersBeside(checkpoint, workersFor(options, engine, total), workersOn(engine));
  const schedule = new Schedule(workers, tracker, isFinding);
  const share = shareOf(options, workers);

  const inspectOne = async (decision: Decision<QuantizedEntry>, i: number): Promise<TensorInspection> => {
    const { name, shape, dtype, start, end } = decision.tensor;
    const facts = { name, shape, dtype, bytes: end - start };
    const quantized = entries?.get(name);
    if (quantized) {
      const bytes = [...placesOf!.get(name)!.values()].reduce((sum, part) => sum + part.end - part.start, 0);
      tracker.advance(bytes);
      return { ...facts, bytes, quantized };
    }
    const reason = "reason" in decision ? decision.reason : undefined;
    const trial = { int8: reason === undefined, blocks: "entry" in blocks[i]! };
    const run = { schedule, share, files: { sources: [files[decision.tensor.file]!.source], sinks: [] } };
    const measured = await measureTensor(run, decision.tensor, trial);
    tracker.advance(end - start);
    return { ...facts, reason, ...measured };
  };

  // Parts of quantized tensors are reported with them.
  const reported = [...decisions.entries()].filter(
    ([, { tensor }]) => !parts?.has(tensor.name) || entries?.has(tensor.name),
  );
  const inspections = await allInOrder(reported.map(([i, decision]) => inspectOne(decision, i)));
  await tracker.at("");
  const metadata = metadataFor(checkpoint);
  return { fileType, ...(index && { files: index.files }), metadata, bytes: byteLength, tensors: inspections };
}

/** A file's metadata, or what stands in some of the shards: each has its own way to say how it is quantized. */
function metadataFor(checkpoint: Checkpoint): Readonly<Record<string, string>> {
  const { [METADATA_KEY]: own, ...rest } = Object.assign({}, ...metadataOf(checkpoint).toReversed());
  return own === undefined || checkpoint.index ? rest : { ...rest, [METADATA_KEY]: own };
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
  const { name, dtype, shape, start, end } = tensor;
  if (!isFloatName(dtype) || start === end) return {};
  const { sequential } = run.files.sources[0]!;
  const common = { scheme: "symmetric", reduceRange: false, nonFinite: "error" } as const;
  const flat = shape.length < 2;
  const quantizations = [
    { ...common, dtype: "int8", granularity: {} } as const,
    { ...common, dtype: "int8", granularity: flat ? {} : { axis: 0 } } as const,
    { ...common, dtype: "int4", granularity: { axis: flat ? 0 : 1, blockSize: BLOCK } } as const,
  ].slice(0, trial.blocks ? 3 : trial.int8 ? 2 : 0);
  const stored = { name, dtype, shape, start, file: 0, sequential };
  const { sqnr, ...range } = await inspectStored(run.schedule, run.files, stored, run.share, quantizations);
  if (!trial.int8 || !sqnr) return range;
  const [int8PerTensor, int8PerChannel, int4Blocks] = sqnr as [number, number, number?];
  return { ...range, sqnr: { int8PerTensor, int8PerChannel, int4Blocks } };
}
