import type { Engine } from "../core/engine.ts";
import { elementsOf } from "../core/shape.ts";
import { FormatError } from "../errors.ts";
import type { FormatName } from "../formats/detect.ts";
import { npyTypeOf } from "../formats/floats.ts";
import { encodeNpyHeader, npyTypes } from "../formats/npy.ts";
import {
  planSafetensors,
  type SafetensorsItem,
  type SafetensorsPlan,
  type SafetensorsTensor,
} from "../formats/safetensors.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { copyUnits, copyWork } from "../streams/copy.ts";
import { allInOrder, Schedule } from "../streams/schedule.ts";
import { type TaskOptions, trackerOf, workersFor } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import type { Files } from "../task/work.ts";
import { type Entry, METADATA_KEY } from "./convention.ts";
import { entriesFromText } from "./entries.ts";
import { locate } from "./locate.ts";
import { openCheckpoint } from "./open.ts";
import { type RestoreUnit, restoreCut, restoreWork } from "./restore.ts";

export interface DequantizeCheckpointOptions extends TaskOptions {
  /** What to write; a .npy file holds one tensor, no metadata and no bfloat16. */
  readonly format: FormatName;
}

/**
 * Restores a float file from a quantized one: every tensor in the type and shape it had, other tensors and
 * metadata as they are.
 *
 * @throws FormatError, the signal's reason
 */
export async function dequantizeCheckpoint(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  { format, ...options }: DequantizeCheckpointOptions,
): Promise<ModelReport> {
  const { files, tensors } = await openCheckpoint(source);
  const { [METADATA_KEY]: text, ...rest } = files[0]!.metadata;
  const entries = entriesFromText(source.name, text);
  if (!entries)
    throw new FormatError(source.name, `was not quantized by wasm-quant: its metadata has no ${METADATA_KEY}`);
  const placesOf = locate(source.name, entries, tensors);
  const spare = new Set([...placesOf.values()].flatMap((places) => [...places.values()].map(({ name }) => name)));
  const kept = tensors.filter(({ name }) => entries.has(name) || !spare.has(name));

  const items = kept.map((tensor): SafetensorsItem => {
    const entry = entries.get(tensor.name);
    return entry ? { name: tensor.name, dtype: entry.source, shape: entry.shape } : tensor;
  });
  const plan = format === "npy" ? planNpy(source.name, items) : planSafetensors(items, rest);
  const tracker = trackerOf(options, plan.byteLength - plan.header.byteLength);
  const work: Files = { sources: [source], sinks: [sink] };
  const schedule = new Schedule(workersFor(options, engine, source.byteLength), tracker);

  const restoreTensor = async (tensor: SafetensorsTensor, entry: Entry, to: number, size: number) => {
    const { name } = tensor;
    const places = Object.fromEntries(Array.from(placesOf.get(name)!, ([part, { start }]) => [part, start]));
    const { count } = restoreCut(entry);
    const units = Array.from({ length: Math.ceil(count / MOST_WINDOWS) }, (_, i): RestoreUnit => {
      const from = i * MOST_WINDOWS;
      return { name, entry, file: 0, places, from, until: Math.min(from + MOST_WINDOWS, count), sink: 0, to };
    });
    await allInOrder(units.map((unit) => schedule.run(name, size / units.length, restoreWork, work, unit)));
  };
  const convert = async (tensor: SafetensorsTensor, i: number): Promise<TensorReport> => {
    const { name, dtype, shape, start, end } = plan.tensors[i]!;
    const entry = entries.get(name);
    const before = { name, shape, to: dtype, bytesAfter: end - start };
    if (entry) {
      await restoreTensor(tensor, entry, start, end - start);
      const bytesBefore = [...placesOf.get(name)!.values()].reduce((sum, place) => sum + place.end - place.start, 0);
      return { ...before, from: entry.dtype, bytesBefore };
    }
    const from = { file: 0, start: tensor.start, end: tensor.end };
    const units = copyUnits({ name, from, sink: 0, to: start });
    await allInOrder(units.map((unit) => schedule.run(name, unit.from.end - unit.from.start, copyWork, work, unit)));
    return { ...before, from: dtype, bytesBefore: end - start, reason: "was not quantized" };
  };

  await sink.write(0, plan.header);
  const reports = await allInOrder(kept.map(convert));
  await tracker.at("");
  return { tensors: reports, bytesBefore: source.byteLength, bytesAfter: plan.byteLength };
}

/** Windows of a unit: 16 MiB of float32 are enough for what it costs to send one. */
const MOST_WINDOWS = 4;

/** The same plan for a .npy file. */
function planNpy(file: string, items: readonly SafetensorsItem[]): SafetensorsPlan {
  const [item, ...others] = items;
  if (!item || others.length > 0) {
    throw new FormatError(file, `holds ${items.length} tensors, a .npy file holds one; write safetensors instead`);
  }
  const descr = npyTypeOf(item.dtype);
  if (!descr)
    throw new FormatError(file, `${item.dtype} has no place in a .npy file; write safetensors instead`, item.name);
  const header = encodeNpyHeader(descr, item.shape);
  const byteLength = header.byteLength + npyTypes[descr] * elementsOf(item.shape);
  return { header, byteLength, tensors: [{ ...item, start: header.byteLength, end: byteLength }] };
}
