import type { Engine } from "../core/engine.ts";
import { lossOf } from "../core/error.ts";
import type { NonFinite } from "../core/options.ts";
import { elementsOf } from "../core/shape.ts";
import { FormatError } from "../errors.ts";
import { planSafetensors, type SafetensorsItem, type SafetensorsPlan } from "../formats/safetensors.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { copyUnits, copyWork } from "../streams/copy.ts";
import { quantizeStored } from "../streams/drive.ts";
import { allInOrder, Schedule } from "../streams/schedule.ts";
import { nameFile, nameFileLater } from "../task/blame.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { copyFile } from "../task/transfer.ts";
import type { Files } from "../task/work.ts";
import { type Entry, METADATA_KEY, partsOf } from "./convention.ts";
import { entriesToText } from "./entries.ts";
import { type CheckpointTensor, openCheckpoint } from "./open.ts";
import { bytesOfItem, type Decision, decide, type Selection } from "./select.ts";
import { plainWork } from "./work.ts";

export interface QuantizeCheckpointOptions extends Selection, TaskOptions {
  readonly reduceRange: boolean;
  readonly nonFinite: NonFinite;
}

/**
 * Quantizes a safetensors or .npy file into a safetensors file (convention.ts), window by window. A safetensors file with
 * nothing to quantize comes out byte for byte as it went in. Leaves the sink open.
 *
 * @throws FormatError, ArgumentError, NonFiniteError, the signal's reason
 */
export async function quantizeCheckpoint(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: QuantizeCheckpointOptions,
): Promise<ModelReport> {
  const checkpoint = await openCheckpoint(source);
  const { files, tensors } = checkpoint;
  if (files.some(({ metadata }) => Object.hasOwn(metadata, METADATA_KEY))) {
    throw new FormatError(source.name, "is quantized already; quantize the float file it was made from");
  }
  const decisions = decide(source.name, checkpoint, options);
  const entries = new Map(decisions.flatMap((d) => ("entry" in d ? [[d.tensor.name, d.entry] as const] : [])));
  checkNames(source.name, tensors, entries);
  if (entries.size === 0) {
    const [only] = decisions;
    if (checkpoint.format === "npy" && only && "reason" in only) {
      throw new FormatError(source.name, `nothing to quantize: ${only.reason}`);
    }
    const tracker = trackerOf(options, source.byteLength);
    await copyFile(source, sink, tracker);
    await tracker.at("");
    return { tensors: decisions.map(copiedReport), bytesBefore: source.byteLength, bytesAfter: source.byteLength };
  }

  const items = decisions.flatMap(itemsOf);
  const metadata = { ...files[0]!.metadata, [METADATA_KEY]: entriesToText(entries) };
  const plan = nameFile(source.name, undefined, () => planSafetensors(items, metadata));
  const total = decisions.reduce((sum, { tensor }) => sum + sizeOf(tensor), 0);
  const tracker = trackerOf(options, total);
  const workers = workersFor(options, engine, total);
  const run: Run = {
    files: { sources: files.map((file) => file.source), sinks: [sink] },
    schedule: new Schedule(workers, tracker),
    share: shareOf(options, workers),
    places: placesIn(plan),
    options,
  };

  await sink.write(0, plan.header);
  const reports = await allInOrder(decisions.map((decision) => convert(run, decision)));
  await tracker.at("");
  return { tensors: reports, bytesBefore: source.byteLength, bytesAfter: plan.byteLength };
}

/** What the conversion of all tensors has in common. */
interface Run {
  readonly files: Files;
  readonly schedule: Schedule;
  readonly share: number;
  /** Where a tensor of the output begins, by its name. */
  readonly places: ReadonlyMap<string, number>;
  readonly options: QuantizeCheckpointOptions;
}

function placesIn({ tensors }: SafetensorsPlan): ReadonlyMap<string, number> {
  return new Map(tensors.map(({ name, start }) => [name, start]));
}

function itemsOf(decision: Decision): readonly SafetensorsItem[] {
  const { tensor } = decision;
  return "entry" in decision ? partsOf(tensor.name, decision.entry) : [tensor];
}

function sizeOf({ start, end }: { readonly start: number; readonly end: number }): number {
  return end - start;
}

/** A file may hold a tensor that goes by the name of another's scale. */
function checkNames(file: string, tensors: readonly CheckpointTensor[], entries: ReadonlyMap<string, Entry>): void {
  const names = new Set(tensors.map(({ name }) => name));
  for (const [name, entry] of entries) {
    const taken = partsOf(name, entry).find((part) => part.part !== "codes" && names.has(part.name));
    if (!taken) continue;
    const message = `its ${taken.part} would go by the name of the file's tensor "${taken.name}"; exclude it`;
    throw new FormatError(file, message, name);
  }
}

async function convert(run: Run, decision: Decision): Promise<TensorReport> {
  const { files, schedule, places } = run;
  const { tensor } = decision;
  if ("entry" in decision) return quantizeTensor(run, tensor, decision.entry);
  const { name, start, end, file } = tensor;
  const units = copyUnits({ name, from: { file, start, end }, sink: 0, to: places.get(name)! });
  await allInOrder(units.map((unit) => schedule.run(name, sizeOf(unit.from), copyWork, files, unit)));
  return copiedReport(decision);
}

async function quantizeTensor(run: Run, tensor: CheckpointTensor, entry: Entry): Promise<TensorReport> {
  const { files, schedule, share, places, options } = run;
  const { name, shape, start, file } = tensor;
  const { dtype, scheme, granularity, source: from } = entry;
  const parts = partsOf(name, entry);
  const at = Object.fromEntries(parts.map((part) => [part.part, places.get(part.name)!]));
  const { reduceRange, nonFinite } = options;
  const recipe = { dtype, scheme, granularity, reduceRange, nonFinite };
  const elements = elementsOf(shape);
  const bytesBefore = sizeOf(tensor);
  const sums = await nameFileLater(files.sources[file]!.name, name, () =>
    quantizeStored(schedule, files, { name, dtype: from, shape, file, start }, recipe, share, (unit, length) =>
      schedule.run(name, (bytesBefore * length) / elements, plainWork, files, { ...unit, sink: 0, places: at }),
    ),
  );
  const { sqnr, maxAbs } = lossOf(sums, elements);
  const bytesAfter = parts.reduce((sum, part) => sum + bytesOfItem(part), 0);
  return { name, shape, from, to: dtype, bytesBefore, bytesAfter, sqnr, maxAbs };
}

function copiedReport(decision: Decision): TensorReport {
  const { tensor } = decision;
  const { name, shape, dtype } = tensor;
  const size = sizeOf(tensor);
  const reason = "reason" in decision ? decision.reason : undefined;
  return { name, shape, from: dtype, to: dtype, bytesBefore: size, bytesAfter: size, reason };
}
