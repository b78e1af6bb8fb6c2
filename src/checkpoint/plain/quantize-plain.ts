import type { Engine } from "../../engine/engine.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import type { ByteSink } from "../../formats/byte-source.ts";
import { planSafetensors } from "../../formats/safetensors.ts";
import type { ModelReport } from "../../pipeline/model-report.ts";
import { quantizeStored } from "../../pipeline/quantize-stored.ts";
import type { QuantizeCheckpointOptions } from "../files/checkpoint-options.ts";
import { convert, copyInstead, copyStep, type Planner, type Step } from "../files/convert-checkpoint.ts";
import { type Checkpoint, type CheckpointTensor, metadataOf, outputOf } from "../files/open-checkpoint.ts";
import { checkNames, type Decision } from "../files/select-tensors.ts";
import { metadataText } from "./layout-metadata.ts";
import { METADATA_KEY, partsOf, type QuantizedEntry } from "./plain-layout.ts";
import { plainWork } from "./plain-work.ts";
import { planTensors } from "./plan-plain.ts";

/**
 * Writes what plain-layout.ts says.
 *
 * @throws UnchangedError, FormatError, ArgumentError, the signal's reason
 */
export async function quantizePlain(
  engine: Engine,
  checkpoint: Checkpoint,
  sink: ByteSink,
  options: QuantizeCheckpointOptions,
): Promise<ModelReport> {
  const { name } = checkpoint;
  const decisions = planTensors(name, checkpoint, options);
  checkNames(name, decisions, ({ name }, entry) => partsOf(name, entry));
  const steps = decisions.map((decision) => stepOf(decision, options));
  if (!decisions.some((decision) => "entry" in decision)) {
    const { allowUnchanged } = options;
    const remedy = remedyFor(checkpoint, options);
    return copyInstead(checkpoint, sink, { steps, undone: "quantized", remedy, allowUnchanged }, options);
  }
  const metadata = metadataOf(checkpoint).map((rest, output) => {
    const own = decisions.filter(({ tensor }) => outputOf(checkpoint, tensor) === output);
    const entries = new Map(own.flatMap((d) => ("entry" in d ? [[d.tensor.name, d.entry] as const] : [])));
    return entries.size === 0 ? rest : { ...rest, [METADATA_KEY]: metadataText(entries) };
  });
  const plan: Planner = (items, output) => planSafetensors(items, metadata[output]);
  return convert(engine, checkpoint, sink, { steps, plan }, options);
}

/** Fewer scales, where those of channels or blocks take as much as codes save. */
function remedyFor(checkpoint: Checkpoint, options: QuantizeCheckpointOptions): { perChannel: false } | undefined {
  if (options.blockSize !== undefined || options.axis !== undefined || !options.perChannel) return undefined;
  const decisions = planTensors(checkpoint.name, checkpoint, { ...options, perChannel: false });
  return decisions.some((decision) => "entry" in decision) ? { perChannel: false } : undefined;
}

function stepOf(decision: Decision<QuantizedEntry>, options: QuantizeCheckpointOptions): Step {
  return "entry" in decision
    ? quantizeStep(decision.tensor, decision.entry, options)
    : copyStep(decision.tensor, decision.reason);
}

function quantizeStep(tensor: CheckpointTensor, entry: QuantizedEntry, options: QuantizeCheckpointOptions): Step {
  const { name, shape, start, end } = tensor;
  const { dtype, scheme, granularity, source } = entry;
  const { reduceRange, nonFinite, weightRange: range } = options;
  const quantization = { dtype, scheme, granularity, reduceRange, nonFinite, range };
  const items = partsOf(name, entry);
  const bytesBefore = end - start;
  return {
    tensor,
    report: { name, shape, from: source, to: dtype, bytesBefore },
    items,
    make({ schedule, share }, files, starts) {
      const places = Object.fromEntries(items.map(({ part }, i) => [part, starts[i]!]));
      const { sequential } = files.sources[0]!;
      const stored = { name, dtype: source, shape, file: 0, start, sequential };
      const bytesOf = (elements: number) => (bytesBefore * elements) / elementsOf(shape);
      return quantizeStored(schedule, files, stored, quantization, share, (unit, length) =>
        schedule.run(name, bytesOf(length), plainWork, files, { ...unit, sink: 0, places }),
      );
    },
  };
}
