import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/range.ts";
import { bytesOf, type QuantizedTensor } from "../core/tensor.ts";
import type { CodeDType } from "../dtypes.ts";
import { FormatError, NonFiniteError } from "../errors.ts";
import { floatTensorOf } from "../formats/floats.ts";
import { planSafetensors, type SafetensorsItem, type SafetensorsTensor } from "../formats/safetensors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";
import { type Entry, entriesToText, METADATA_KEY, type Part, partsOf, zeroPointArrayOf } from "./convention.ts";
import { openCheckpoint } from "./open.ts";
import { type ModelReport, type TaskOptions, type TensorReport, trackerOf } from "./report.ts";
import { type Decision, decide, type Selection } from "./select.ts";
import { copyFile, copyTensor } from "./transfer.ts";

export interface QuantizeCheckpointOptions extends Selection, TaskOptions {
  readonly reduceRange: boolean;
  readonly nonFinite: NonFinite;
}

/**
 * Quantizes a safetensors or .npy file into a safetensors file (convention.ts), tensor by tensor. A safetensors file with
 * nothing to quantize comes out byte for byte as it went in. Closes the sink, or aborts it when something goes wrong.
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
    await copyFile(source, sink);
    return { tensors: decisions.map(copiedReport), bytesBefore: source.byteLength, bytesAfter: source.byteLength };
  }

  const items = decisions.flatMap(itemsOf);
  const metadata = { ...checkpoint.metadata, [METADATA_KEY]: entriesToText(entries) };
  const plan = planSafetensors(items, metadata);
  const places = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
  const tracker = trackerOf(
    options,
    decisions.reduce((sum, d) => sum + sizeOf(d.tensor), 0),
  );

  await sink.write(0, plan.header);
  const tensors: TensorReport[] = [];
  for (const decision of decisions) {
    const { tensor } = decision;
    await tracker.step(tensor.name, sizeOf(tensor));
    if ("entry" in decision) {
      tensors.push(await quantizeTensor(engine, source, sink, tensor, decision.entry, places, options));
    } else {
      await copyTensor(source, tensor, sink, places.get(tensor.name)!.start);
      tensors.push(copiedReport(decision));
    }
  }
  await tracker.finish();
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
    for (const part of partsOf(name, entry)) {
      if (part.part === "codes") continue;
      if (names.has(part.name)) {
        throw new FormatError(
          file,
          `its ${part.part} would go by the name of the file's tensor "${part.name}"; --exclude one`,
          name,
        );
      }
      names.add(part.name);
    }
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
  const values = floatTensorOf(bytes, { name: tensor.name, dtype: from, shape: tensor.shape });
  const q = refuseNonFinite(source.name, () =>
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

/** The engine knows the tensor, not the file. */
function refuseNonFinite<T>(file: string, quantize: () => T): T {
  try {
    return quantize();
  } catch (cause) {
    if (!(cause instanceof NonFiniteError)) throw cause;
    const { value, index, tensor } = cause;
    throw new FormatError(file, `holds ${value} at flat index ${index}; --exclude leaves it as it is`, tensor, {
      cause,
    });
  }
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
