import type { Engine } from "../core/engine.ts";
import { elementsOf } from "../core/shape.ts";
import { bytesOf, type QuantizedTensor } from "../core/tensor.ts";
import { type ArrayOf, type CodeDType, codeTypes } from "../dtypes.ts";
import { FormatError } from "../errors.ts";
import type { FormatName } from "../formats/detect.ts";
import { type ArrayType, type FloatName, npyTypeOf, viewOf } from "../formats/floats.ts";
import { encodeNpyHeader, npyTypes } from "../formats/npy.ts";
import { planSafetensors, type SafetensorsItem, type SafetensorsPlan } from "../formats/safetensors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";
import { type TaskOptions, trackerOf } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { copyTensor } from "../task/transfer.ts";
import { type Entry, METADATA_KEY, type Part, zeroPointArrayOf } from "./convention.ts";
import { entriesFromText } from "./entries.ts";
import { locate, type Places } from "./locate.ts";
import { openCheckpoint } from "./open.ts";

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
  const { metadata, tensors } = await openCheckpoint(source);
  const { [METADATA_KEY]: text, ...rest } = metadata;
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

  await sink.write(0, plan.header);
  const reports: TensorReport[] = [];
  for (const [i, tensor] of kept.entries()) {
    const { name, dtype, shape, start, end } = plan.tensors[i]!;
    const entry = entries.get(name);
    const before = { name, shape, to: dtype, bytesAfter: end - start };
    if (entry) {
      await tracker.at(name);
      const places = placesOf.get(name)!;
      const q = await readTensor(source, entry, places);
      checkFinite(source.name, name, q);
      await sink.write(start, restore(engine, q, entry.source));
      tracker.advance(end - start);
      const bytesBefore = [...places.values()].reduce((sum, place) => sum + place.end - place.start, 0);
      reports.push({ ...before, from: entry.dtype, bytesBefore });
    } else {
      await copyTensor(source, tensor, sink, start, tracker);
      reports.push({ ...before, from: dtype, bytesBefore: end - start, reason: "was not quantized" });
    }
  }
  await tracker.at("");
  return { tensors: reports, bytesBefore: source.byteLength, bytesAfter: plan.byteLength };
}

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

async function readTensor(source: ByteSource, entry: Entry, places: Places): Promise<QuantizedTensor<CodeDType>> {
  const read = async (part: Part) => {
    const place = places.get(part);
    return place && (await readExactly(source, place.start, place.end, place.name));
  };
  const { dtype, shape, scheme, granularity } = entry;
  const Codes = codeTypes[dtype].array as ArrayType<ArrayOf<CodeDType>>;
  const ZeroPoints = zeroPointArrayOf(dtype) as ArrayType<ArrayOf<CodeDType>>;
  const data = viewOf(Codes, (await read("codes"))!);
  const scale = viewOf(Float32Array, (await read("scale"))!);
  const min = await read("min");
  const zeroPoint = Int32Array.from(viewOf(ZeroPoints, (await read("zeroPoint"))!));
  return { dtype, shape, scheme, ...granularity, data, scale, zeroPoint, min: min && viewOf(Float32Array, min) };
}

/** A scale that is not finite would turn every value of its group into NaN or an infinity. */
function checkFinite(file: string, name: string, { scale, min }: QuantizedTensor): void {
  for (const [part, values] of [["scale", scale] as const, ["min", min] as const]) {
    const i = values?.findIndex((x) => !Number.isFinite(x)) ?? -1;
    if (i >= 0) throw new FormatError(file, `its ${part} holds ${values![i]} at flat index ${i}`, name);
  }
}

/** The half types of files: what the engine calls them, and their infinity's bits. */
const halves = {
  F16: { dtype: "float16", infinity: 0x7c00 },
  BF16: { dtype: "bfloat16", infinity: 0x7f80 },
} as const;

/** The bytes of the restored values in the type they had. */
function restore(engine: Engine, q: QuantizedTensor, source: FloatName): Uint8Array {
  if (source === "F16" || source === "BF16") {
    const { dtype, infinity } = halves[source];
    const bits = engine.dequantize(q, { dtype }).data;
    // Half a step beyond the type's largest value is that value, not infinity.
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7fff) === infinity) bits[i]!--;
    return bytesOf(bits);
  }
  const values = engine.dequantize(q).data;
  return bytesOf(source === "F64" ? Float64Array.from(values) : values);
}
