import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import { bytesOf, type QuantizedTensor } from "../core/tensor.ts";
import type { CodeDType } from "../dtypes.ts";
import { FormatError } from "../errors.ts";
import { floatTensorOf } from "../formats/floats.ts";
import { planSafetensors, type SafetensorsItem, type SafetensorsTensor } from "../formats/safetensors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";
import { nameFile } from "../task/blame.ts";
import { type TaskOptions, trackerOf } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { copyFile, copyTensor } from "../task/transfer.ts";
import { type Entry, METADATA_KEY, type Part, partsOf, zeroPointArrayOf } from "./convention.ts";
import { entriesToText } from "./entries.ts";
import { openCheckpoint } from "./open.ts";
import { type Decision, decide, type Selection } from "./select.ts";

export interface QuantizeCheckpointOptions extends Selection, TaskOptions {
  readonly reduceRange: boolean;
  readonly nonFinite: NonFinite;
}

/**
 * Quantizes a safetensors or .npy file into a safetensors file (convention.ts), tensor by tensor. A safetensors file with
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
  if (Object.hasOwn(checkpoint.metadata, METADATA_KEY)) {
    throw new FormatError(source.name, "is quantized already; quantize the float file it was made from");
  }
  const decisions = decide(source.name, checkpoint, options);
  const entries = new Map(decisions.flatMap((d) => ("entry" in d ? [[d.tensor.name, d.entry] as const] : [])));
  checkNames(source.name, checkpoint.tensors, entries);
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
  const metadata = { ...checkpoint.metadata, [METADATA_KEY]: entriesToText(entries) };
  const plan = nameFile(source.name, undefined, () => planSafetensors(items, metadata));
  const places = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
  const tracker = trackerOf(
    options,
    decisions.reduce((sum, d) => sum + sizeOf(d.tensor), 0),
  );

  await sink.write(0, plan.header);
  const tensors: TensorReport[] = [];
  for (const decision of decisions) {
    const { tensor } = decision;
    if ("entry" in decision) {
      await tracker.at(tensor.name);
      tensors.push(await quantizeTensor(engine, source, sink, tensor, decision.entry, places, options));
      tracker.advance(sizeOf(tensor));
    } else {
      await copyTensor(source, tensor, sink, places.get(tensor.name)!.start, tracker);
      tensors.push(copiedReport(decision));
    }
  }
  await tracker.at("");
  return { tensors, bytesBefore: source.byteLength, bytesAfter: plan.byteLength };
}

function itemsOf(decision: Decision): readonly SafetensorsItem[] {
  const { tensor } = decision;
  return "entry" in decision ? partsOf(tensor.name, decision.entry) : [tensor];
}

function sizeOf({ start, end }: SafetensorsTensor): number {
  return end - start;
}

/** A file may hold a tensor that goes by the name of another's scale. */
function checkNames(file: string, tensors: readonly SafetensorsTensor[], entries: ReadonlyMap<string, Entry>): void {
  const names = new Set(tensors.map(({ name }) => name));
  for (const [name, entry] of entries) {
    const taken = partsOf(name, entry).find((part) => part.part !== "codes" && names.has(part.name));
    if (!taken) continue;
    const message = `its ${taken.part} would go by the name of the file's tensor "${taken.name}"; exclude it`;
    throw new FormatError(file, message, name);
  }
}

async function quantizeTensor(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  tensor: SafetensorsTensor,
  entry: Entry,
  places: ReadonlyMap<string, SafetensorsTensor>,
  { reduceRange, nonFinite }: QuantizeCheckpointOptions,
): Promise<TensorReport> {
  const bytes = await readExactly(source, tensor.start, tensor.end, tensor.name);
  const { dtype, scheme, granularity, source: from } = entry;
  const values = floatTensorOf(source.name, bytes, { name: tensor.name, dtype: from, shape: tensor.shape });
  const q = nameFile(source.name, tensor.name, () =>
    engine.quantize(values, { dtype, scheme, reduceRange, nonFinite, ...granularity }),
  );
  const { sqnr, maxAbs } = engine.error(values, q);
  let bytesAfter = 0;
  for (const { part, name } of partsOf(tensor.name, entry)) {
    const data = partBytes(part, q);
    await sink.write(places.get(name)!.start, data);
    bytesAfter += data.byteLength;
  }
  return {
    name: tensor.name,
    shape: tensor.shape,
    from,
    to: dtype,
    bytesBefore: sizeOf(tensor),
    bytesAfter,
    sqnr,
    maxAbs,
  };
}

function partBytes(part: Part, q: QuantizedTensor<CodeDType>): Uint8Array {
  switch (part) {
    case "codes":
      return bytesOf(q.data);
    case "scale":
      return bytesOf(q.scale);
    case "zeroPoint":
      return bytesOf(zeroPointArrayOf(q.dtype).from(q.zeroPoint));
    case "min":
      return bytesOf(q.min!);
  }
}

function copiedReport(decision: Decision): TensorReport {
  const { tensor } = decision;
  const { name, shape, dtype } = tensor;
  const size = sizeOf(tensor);
  const reason = "reason" in decision ? decision.reason : undefined;
  return { name, shape, from: dtype, to: dtype, bytesBefore: size, bytesAfter: size, reason };
}
