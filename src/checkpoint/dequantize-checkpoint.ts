import type { Engine } from "../engine/engine.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import { FormatError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import type { TensorFileType } from "../formats/detect-file-type.ts";
import { npyTypeOf } from "../formats/float-types.ts";
import { encodeNpyHeader, npyTypes } from "../formats/npy.ts";
import { planSafetensors, type SafetensorsItem, type SafetensorsPlan } from "../formats/safetensors.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import { chunkRunsOf } from "../pipeline/quantize-chunks.ts";
import { allInOrder } from "../pipeline/schedule.ts";
import { holdsPacked } from "./compressed-tensors/module-names.ts";
import { convert, copyStep, type Step } from "./files/convert-checkpoint.ts";
import { type Checkpoint, type CheckpointTensor, metadataOf, withCheckpoint } from "./files/open-checkpoint.ts";
import { type DequantizeUnit, dequantizeChunking, dequantizeWork } from "./plain/dequantize-work.ts";
import { type PartTensors, type Quantized, quantizedIn } from "./plain/locate-parts.ts";
import { METADATA_KEY, type QuantizedEntry } from "./plain/plain-layout.ts";

export interface DequantizeCheckpointOptions extends TaskOptions {
  /** What to write; a .npy file holds one tensor, no metadata and no bfloat16. */
  readonly fileType: Exclude<TensorFileType, "npz">;
}

/**
 * Restores float files from quantized ones: every tensor in the type and shape it had, other tensors and metadata as they
 * are. Leaves the sink open.
 *
 * @throws FormatError, the signal's reason
 */
export function dequantizeCheckpoint(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  { fileType, ...options }: DequantizeCheckpointOptions,
): Promise<ModelReport> {
  return withCheckpoint(source, (checkpoint) => {
    const quantized = quantizedIn(checkpoint);
    if (!quantized) throw new FormatError(source.name, whyNot(checkpoint));
    if (fileType === "npy" && checkpoint.index) throw new FormatError(source.name, "is in shards, a .npy file is not");
    const metadata = metadataOf(checkpoint).map(({ [METADATA_KEY]: _, ...rest }) => rest);
    const plan = (items: readonly SafetensorsItem[], output: number) =>
      fileType === "npy" ? planNpy(source.name, items) : planSafetensors(items, metadata[output]);
    return convert(engine, checkpoint, sink, { steps: stepsOf(checkpoint, quantized), plan }, options);
  });
}

function whyNot({ tensors }: Checkpoint): string {
  return holdsPacked(tensors)
    ? "is in the layout of compressed-tensors, for vLLM and transformers; dequantize reads the plain one"
    : `was not quantized by wasm-quant: its metadata has no ${METADATA_KEY}`;
}

function stepsOf({ tensors }: Checkpoint, { entries, placesOf, parts }: Quantized): Step[] {
  return tensors.flatMap((tensor) => {
    const entry = entries.get(tensor.name);
    if (entry) return [restoreStep(tensor, entry, placesOf.get(tensor.name)!)];
    return parts.has(tensor.name) ? [] : [copyStep(tensor, "was not quantized")];
  });
}

function restoreStep(tensor: CheckpointTensor, entry: QuantizedEntry, places: PartTensors): Step {
  const { name } = tensor;
  const { dtype, source, shape } = entry;
  const bytesBefore = [...places.values()].reduce((sum, { start, end }) => sum + end - start, 0);
  return {
    tensor,
    report: { name, shape, from: dtype, to: source, bytesBefore },
    items: [{ name, dtype: source, shape }],
    async make({ schedule }, files, [to]) {
      const begins = Object.fromEntries(Array.from(places, ([part, { start }]) => [part, start]));
      const common = { name, entry, file: 0, places: begins, sink: 0, to: to! };
      const units = chunkRunsOf(dequantizeChunking(entry).count).map((run): DequantizeUnit => ({ ...common, ...run }));
      await allInOrder(units.map((u) => schedule.run(name, bytesBefore / units.length, dequantizeWork, files, u)));
      return undefined;
    },
  };
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
