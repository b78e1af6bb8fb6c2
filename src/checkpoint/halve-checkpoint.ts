import type { HalfDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import { type SafetensorsFloat, safetensorsFloats } from "../formats/float-types.ts";
import { planSafetensors } from "../formats/safetensors.ts";
import { convertStored } from "../pipeline/half-chunks.ts";
import type { HalfConversion, HalfLosses } from "../pipeline/half-conversion.ts";
import { remarksOnHalves } from "../pipeline/half-losses.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import type { Selection } from "./files/checkpoint-options.ts";
import { convert, copyInstead, copyStep, type Planner, type Step } from "./files/convert-checkpoint.ts";
import { type CheckpointTensor, metadataOf, withCheckpoint } from "./files/open-checkpoint.ts";
import { selectTensors } from "./files/select-tensors.ts";
import { halfWork } from "./half-work.ts";
import { refuseQuantized } from "./quantize-checkpoint.ts";

export interface HalveCheckpointOptions extends Pick<Selection, "include" | "exclude">, TaskOptions {
  readonly dtype: HalfDType;
  /** Values beyond float16 become its largest; an error otherwise. */
  readonly clamp: boolean;
  readonly allowUnchanged: boolean;
}

/** A tensor that becomes halves (or halves of the other kind), by the type it has. */
interface Wide {
  readonly source: SafetensorsFloat;
}

/**
 * Converts float tensors to half precision, under their own names: float32, float64 and halves of the other kind. The rest
 * is copied. Leaves the sink open.
 *
 * @throws UnchangedError, FormatError, ArgumentError, the signal's reason
 */
export function halveCheckpoint(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  { dtype, clamp, include, exclude, allowUnchanged, ...task }: HalveCheckpointOptions,
): Promise<ModelReport> {
  return withCheckpoint(source, async (checkpoint) => {
    refuseQuantized(checkpoint);
    const decisions = selectTensors<Wide>(
      checkpoint.tensors,
      { include, exclude },
      {
        verb: "convert",
        unfitness: (tensor) => unfitness(tensor, safetensorsFloats[dtype]),
        entryOf: (_, source) => ({ source }),
      },
    );
    const conversion = { dtype, clamps: clamp ? "all" : "none", raises: false, spared: "leaves it as it is" } as const;
    const losses = new Map<CheckpointTensor, HalfLosses>();
    const steps = decisions.map((decision) => {
      if ("reason" in decision) return copyStep(decision.tensor, decision.reason);
      const { tensor, entry } = decision;
      return halveStep(tensor, entry, conversion, (halves) => losses.set(tensor, halves));
    });
    if (!decisions.some((decision) => "entry" in decision)) {
      return copyInstead(checkpoint, sink, { steps, undone: "converted", allowUnchanged }, task);
    }
    const metadata = metadataOf(checkpoint);
    const plan: Planner = (items, output) => planSafetensors(items, metadata[output]);
    const report = await convert(engine, checkpoint, sink, { steps, plan }, task);
    const halved = checkpoint.tensors.flatMap((tensor) => {
      const halves = losses.get(tensor);
      return halves ? [{ name: tensor.name, elements: elementsOf(tensor.shape), halves }] : [];
    });
    return { ...report, remarks: remarksOnHalves(dtype, halved) };
  });
}

function unfitness({ dtype, shape }: CheckpointTensor, wanted: SafetensorsFloat): string | undefined {
  if (dtype === wanted) return `${dtype} already`;
  return elementsOf(shape) === 0 ? "empty" : undefined;
}

/** @param tell is told what half precision does not hold of the tensor */
function halveStep(
  tensor: CheckpointTensor,
  { source }: Wide,
  conversion: HalfConversion,
  tell: (halves: HalfLosses) => void,
): Step {
  const { name, shape, start, end } = tensor;
  const dtype = safetensorsFloats[conversion.dtype];
  const bytesBefore = end - start;
  return {
    tensor,
    report: { name, shape, from: source, to: dtype, bytesBefore },
    items: [{ name, dtype, shape }],
    async make({ schedule }, files, [to]) {
      const { sequential } = files.sources[0]!;
      const stored = { name, dtype: source, shape, file: 0, start, sequential };
      const bytesOf = (elements: number) => (bytesBefore * elements) / elementsOf(shape);
      const { sums, halves } = await convertStored(stored, conversion, (unit, elements) =>
        schedule.run(name, bytesOf(elements), halfWork, files, { ...unit, sink: 0, to: to! }),
      );
      tell(halves);
      return sums;
    },
  };
}
