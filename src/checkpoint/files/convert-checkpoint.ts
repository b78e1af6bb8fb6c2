import type { Engine } from "../../engine/engine.ts";
import { type LossSums, lossOf } from "../../engine/measure/quantization-error.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { UnchangedError } from "../../errors.ts";
import type { ByteSink } from "../../formats/byte-source.ts";
import type { SafetensorsItem, SafetensorsPlan } from "../../formats/safetensors.ts";
import { copyFile } from "../../pipeline/copy-bytes.ts";
import { copyUnits, copyWork } from "../../pipeline/copy-work.ts";
import { inContext, withErrorContext } from "../../pipeline/error-context.ts";
import type { ModelReport, TensorReport } from "../../pipeline/model-report.ts";
import { listReasons } from "../../pipeline/phrases.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../../pipeline/progress.ts";
import { allInOrder, Schedule } from "../../pipeline/schedule.ts";
import { type Files, type Workers, workersOn } from "../../pipeline/work.ts";
import { type Checkpoint, type CheckpointTensor, outputOf } from "./open-checkpoint.ts";
import { dataBytesOf, openOutputs, writeIndex } from "./output-files.ts";

/** What the conversion of all tensors has in common. */
export interface Run {
  readonly schedule: Schedule;
  /** Bytes that one worker may take. */
  readonly share: number;
}

/** What becomes of a tensor. */
export interface Step {
  readonly tensor: CheckpointTensor;
  readonly report: Omit<TensorReport, "bytesAfter" | "sqnr" | "maxAbs">;
  /** What stands for it in the output, in this order. */
  readonly items: readonly SafetensorsItem[];
  /**
   * Writes that, and tells what was lost.
   *
   * @param files the tensor's source and the file of the output, each the only one
   * @param starts where each of the items begins there
   */
  make(run: Run, files: Files, starts: readonly number[]): Promise<LossSums | undefined>;
}

/** A tensor that is copied as it is. */
export function copyStep(tensor: CheckpointTensor, reason: string | undefined): Step {
  const { name, shape, dtype, start, end } = tensor;
  return {
    tensor,
    report: { name, shape, from: dtype, to: dtype, bytesBefore: end - start, reason },
    items: [tensor],
    async make({ schedule }, files, [to]) {
      const unit = { name, from: { file: 0, start, end }, sink: 0, to: to! };
      const units = copyUnits(unit, files.sources[0]!.sequential);
      await allInOrder(units.map((u) => schedule.run(name, u.from.end - u.from.start, copyWork, files, u)));
      return undefined;
    },
  };
}

/** Plans a file of the output. */
export type Planner = (items: readonly SafetensorsItem[], output: number) => SafetensorsPlan;

/** The layouts of the output files. @throws FormatError for items that do not go into one */
function planned(file: string, items: readonly SafetensorsItem[][], plan: Planner): SafetensorsPlan[] {
  try {
    return items.map(plan);
  } catch (cause) {
    throw inContext(cause, file);
  }
}

/**
 * Takes the steps and writes what they make: a file for each of the checkpoint's, and the index of shards. Leaves the sink
 * open.
 *
 * @throws FormatError, ArgumentError, the signal's reason
 */
export async function convert(
  engine: Engine,
  checkpoint: Checkpoint,
  sink: ByteSink,
  { steps, plan }: { readonly steps: readonly Step[]; readonly plan: Planner },
  options: TaskOptions,
): Promise<ModelReport> {
  const count = checkpoint.index ? checkpoint.files.length : 1;
  const items = Array.from({ length: count }, (): SafetensorsItem[] => []);
  for (const step of steps) items[outputOf(checkpoint, step.tensor)]!.push(...step.items);
  const plans = planned(checkpoint.name, items, plan);
  const placed = new Map(plans.flatMap(({ tensors }) => tensors.map((tensor) => [tensor.name, tensor] as const)));
  const total = steps.reduce((sum, { report }) => sum + report.bytesBefore, 0);
  const tracker = trackerOf(options, total);
  const workers = workersBeside(checkpoint, workersFor(options, engine, total), workersOn(engine));
  const run: Run = { schedule: new Schedule(workers, tracker), share: shareOf(options, workers) };
  const outputs = await openOutputs(checkpoint, sink);
  for (const [i, { header }] of plans.entries()) await outputs[i]!.write(0, header);

  const take = async ({ tensor, report, items, make }: Step): Promise<TensorReport> => {
    const { source } = checkpoint.files[tensor.file]!;
    const files: Files = { sources: [source], sinks: [outputs[outputOf(checkpoint, tensor)]!] };
    const places = items.map(({ name }) => placed.get(name)!);
    const starts = places.map(({ start }) => start);
    const makeNow = async () => make(run, files, starts);
    const sums = await withErrorContext(source.name, report.name, makeNow());
    const bytesAfter = places.reduce((sum, { start, end }) => sum + end - start, 0);
    if (!sums) return { ...report, bytesAfter };
    const { sqnr, maxAbs, rangeGain } = lossOf(sums, elementsOf(report.shape));
    return { ...report, bytesAfter, sqnr, maxAbs, ...(rangeGain !== undefined && { rangeGain }) };
  };
  const reports = await allInOrder(steps.map(take));
  const names = plans.map(({ tensors }) => tensors.map(({ name }) => name));
  const dataBytes = plans.reduce((sum, each) => sum + dataBytesOf(each), 0);
  const indexBytes = await writeIndex(checkpoint, sink, names, dataBytes);
  await tracker.at("");
  const bytesAfter = plans.reduce((sum, { byteLength }) => sum + byteLength, indexBytes);
  return { tensors: reports, bytesBefore: checkpoint.byteLength, bytesAfter };
}

/** Sources that are read front to back have this thread alone read them, which shares the memory with the others. */
export function workersBeside({ files }: Checkpoint, workers: Workers, here: Workers): Workers {
  if (workers === here || !files.some(({ source }) => source.sequential)) return workers;
  return {
    atOnce: workers.atOnce + here.atOnce,
    run: (work, files, unit) => (files.sources[0]!.sequential ? here : workers).run(work, files, unit),
  };
}

/** A run in which no step makes anything. */
export interface Idle {
  readonly steps: readonly Step[];
  /** What was not done: "quantized". */
  readonly undone: string;
  /** Options that would do something, where there are any. */
  readonly remedy?: Readonly<Record<string, unknown>> | undefined;
  /** Whether safetensors files are copied then, byte for byte. */
  readonly allowUnchanged: boolean;
}

/**
 * What is done where no step makes anything.
 *
 * @throws UnchangedError unless files may be copied as they are, and for files of another type than safetensors
 */
export async function copyInstead(
  checkpoint: Checkpoint,
  sink: ByteSink,
  { steps, undone, remedy, allowUnchanged }: Idle,
  options: TaskOptions,
): Promise<ModelReport> {
  const { name, fileType, byteLength } = checkpoint;
  if (!allowUnchanged || fileType !== "safetensors") {
    const isTensors = steps.length > 0;
    const isCopied = fileType === "safetensors";
    const why = isTensors ? listReasons(steps.map(({ report }) => report.reason ?? "")) : "the file holds no tensors";
    throw new UnchangedError(name, `${isTensors ? `0 of ${steps.length} tensors` : "nothing"} ${undone}: ${why}`, {
      remedy,
      isCopied,
    });
  }
  const bytesAfter = await copyCheckpoint(checkpoint, sink, options);
  const tensors = steps.map(({ report }) => ({ ...report, bytesAfter: report.bytesBefore }));
  return { tensors, bytesBefore: byteLength, bytesAfter };
}

/** Copies every file as it is; an index is written anew, for shards are called after it. */
async function copyCheckpoint(checkpoint: Checkpoint, sink: ByteSink, options: TaskOptions): Promise<number> {
  const { files, tensors } = checkpoint;
  const tracker = trackerOf(options, checkpoint.byteLength);
  const outputs = await openOutputs(checkpoint, sink);
  for (const [i, { source }] of files.entries()) await copyFile(source, outputs[i]!, tracker);
  const names = files.map((_, file) => tensors.filter((tensor) => tensor.file === file).map(({ name }) => name));
  const dataBytes = tensors.reduce((sum, { start, end }) => sum + end - start, 0);
  const indexBytes = await writeIndex(checkpoint, sink, names, dataBytes);
  await tracker.at("");
  return files.reduce((sum, { source }) => sum + source.byteLength, indexBytes);
}
