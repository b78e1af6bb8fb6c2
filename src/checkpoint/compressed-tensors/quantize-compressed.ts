import type { Engine } from "../../engine/engine.ts";
import { addSums } from "../../engine/measure/quantization-error.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { ArgumentError, FormatError } from "../../errors.ts";
import type { ByteSink } from "../../formats/byte-source.ts";
import type { TensorFileType } from "../../formats/detect-file-type.ts";
import type { SafetensorsFloat } from "../../formats/float-types.ts";
import { planSafetensors } from "../../formats/safetensors.ts";
import type { ModelReport } from "../../pipeline/model-report.ts";
import { chunkRunsOf } from "../../pipeline/quantize-chunks.ts";
import { allInOrder } from "../../pipeline/schedule.ts";
import type { QuantizeCheckpointOptions, Selection } from "../files/checkpoint-options.ts";
import { convert, copyInstead, copyStep, type Planner, type Step } from "../files/convert-checkpoint.ts";
import { type Checkpoint, type CheckpointTensor, metadataOf } from "../files/open-checkpoint.ts";
import { checkNames, selectTensors } from "../files/select-tensors.ts";
import { type Compression, compressedParts, compressionOf, unfitness } from "./compressed-layout.ts";
import { type CompressedUnit, chunkCountOf, compressedWork, elementsIn } from "./compressed-work.ts";
import { writeConfig } from "./config-file.ts";
import { brokenFusion, moduleOf } from "./module-names.ts";
import { shapeBytes } from "./pack-int32.ts";
import { quantizationConfig } from "./quantization-config.ts";

/** A weight that is quantized, by the type it has. */
interface Weight {
  readonly source: SafetensorsFloat;
}

/**
 * Writes what compressed-layout.ts says, and config.json for it.
 *
 * @throws UnchangedError, FormatError, ArgumentError, the signal's reason
 */
export async function quantizeCompressed(
  engine: Engine,
  checkpoint: Checkpoint,
  sink: ByteSink,
  options: QuantizeCheckpointOptions,
): Promise<ModelReport> {
  const { name, fileType, tensors } = checkpoint;
  const compression = checkCompressed(name, fileType, options);
  const decisions = selectTensors<Weight>(tensors, options, {
    verb: "quantize",
    unfitness: (tensor, asked) => unfitness(tensor, compression, asked),
    entryOf: (_, source) => ({ source }),
  });
  const quantized = decisions.filter((decision) => "entry" in decision).map(({ tensor }) => tensor.name);
  const left = decisions
    .filter((decision) => "reason" in decision && decision.tensor.shape.length > 1)
    .map(({ tensor }) => tensor.name);
  if (quantized.length === 0) {
    const steps = decisions.flatMap((d) => ("reason" in d ? [copyStep(d.tensor, d.reason)] : []));
    // A copy would have no config.json that says how to read it, and need none.
    return copyInstead(
      checkpoint,
      sink,
      { steps, undone: "quantized", allowUnchanged: options.allowUnchanged },
      options,
    );
  }
  checkFusions(name, quantized, left);
  checkNames(name, decisions, ({ name, shape }, { source }) =>
    compressedParts({ name, shape, dtype: source }, compression),
  );
  const remarks = await writeConfig(checkpoint, sink, quantizationConfig(compression, quantized, left));
  // transformers asks every file what made it
  const metadata = metadataOf(checkpoint).map((own) => ({ format: "pt", ...own }));
  const steps = decisions.map((decision) =>
    "entry" in decision
      ? quantizeStep(decision.tensor, decision.entry, compression, options)
      : copyStep(decision.tensor, decision.reason),
  );
  const plan: Planner = (items, output) => planSafetensors(items, metadata[output]);
  return { ...(await convert(engine, checkpoint, sink, { steps, plan }, options)), remarks };
}

/**
 * The layout that the options ask for.
 *
 * @throws FormatError for files of another type, ArgumentError for what vLLM does not load
 */
export function checkCompressed(
  file: string,
  fileType: TensorFileType,
  options: Omit<Selection, "include" | "exclude"> & { readonly reduceRange: boolean },
): Compression {
  if (fileType !== "safetensors") throw new FormatError(file, "compressed-tensors is for safetensors files of a model");
  if (options.reduceRange) throw new ArgumentError("reduceRange", "compressed-tensors: every code is used");
  return compressionOf(options);
}

function checkFusions(file: string, quantized: readonly string[], left: readonly string[]): void {
  const broken = brokenFusion(quantized.map(moduleOf), left.map(moduleOf));
  if (!broken) return;
  const message = `would be quantized and ${broken.left} not, of which vLLM makes one layer; include or exclude both`;
  throw new FormatError(file, message, `${broken.quantized}.weight`);
}

function quantizeStep(
  tensor: CheckpointTensor,
  { source }: Weight,
  compression: Compression,
  { nonFinite, weightRange }: QuantizeCheckpointOptions,
): Step {
  const { name, shape, start, end } = tensor;
  const items = compressedParts({ name, dtype: source, shape }, compression);
  const bytesBefore = end - start;
  return {
    tensor,
    report: { name, shape, from: source, to: compression.bits === 4 ? "int4" : "int8", bytesBefore },
    items,
    async make({ schedule }, files, starts) {
      const places = Object.fromEntries(items.map(({ part }, i) => [part, starts[i]!]));
      const stored = { name, dtype: source, shape, file: 0, start };
      const common = { tensor: stored, compression, nonFinite, weightRange, sink: 0, places };
      const runs = chunkRunsOf(chunkCountOf(stored, compression));
      const units = runs.map((run): CompressedUnit => ({ ...common, ...run }));
      await files.sinks[0]!.write(places.shape!, shapeBytes(shape));
      const bytesIn = (unit: CompressedUnit) => (bytesBefore * elementsIn(unit)) / elementsOf(shape);
      const sums = units.map((unit) => schedule.run(name, bytesIn(unit), compressedWork, files, unit));
      return addSums((await allInOrder(sums)).flat());
    },
  };
}
