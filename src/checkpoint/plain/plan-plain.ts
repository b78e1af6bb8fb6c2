import { checkGranularity } from "../../engine/tensors/granularity.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { ArgumentError, FormatError } from "../../errors.ts";
import type { SafetensorsFloat } from "../../formats/float-types.ts";
import { type SafetensorsItem, safetensorsTypes } from "../../formats/safetensors.ts";
import { EXCLUDE_IT, words } from "../../messages.ts";
import type { Selection } from "../files/checkpoint-options.ts";
import type { Checkpoint, CheckpointTensor } from "../files/open-checkpoint.ts";
import { type Decision, selectTensors } from "../files/select-tensors.ts";
import { partsOf, type QuantizedEntry } from "./plain-layout.ts";

/**
 * Decides about every tensor of a checkpoint: float tensors of two or more dimensions (one, in .npy and .npz files) are
 * quantized if the globs let them and it makes them smaller.
 *
 * @throws ArgumentError for a glob that matches nothing, FormatError naming the tensor for an axis it does not have.
 */
export function planTensors(file: string, checkpoint: Checkpoint, selection: Selection): Decision<QuantizedEntry>[] {
  const leastRank = checkpoint.fileType === "safetensors" ? 2 : 1;
  return selectTensors(checkpoint.tensors, selection, {
    verb: "quantize",
    unfitness: ({ shape }) => unfitness(shape, leastRank),
    entryOf(tensor, source) {
      const entry = entryOf(file, tensor, source, selection);
      return isSmaller(tensor, entry) ? entry : "would not get smaller";
    },
  });
}

export function unfitness(shape: readonly number[], leastRank: number): string | undefined {
  if (shape.length < leastRank) return shape.length === 0 ? "a scalar" : "one dimension";
  return elementsOf(shape) === 0 ? "empty" : undefined;
}

export function entryOf(
  file: string,
  { name, shape }: CheckpointTensor,
  source: SafetensorsFloat,
  selection: Selection,
): QuantizedEntry {
  const { blockSize, perChannel, scheme } = selection;
  const rank = shape.length;
  const axis = selection.axis ?? (blockSize === undefined ? 0 : Math.min(1, rank - 1));
  const oneDimension = rank === 1 && blockSize === undefined && selection.axis === undefined;
  const wanted = blockSize !== undefined ? { axis, blockSize } : perChannel && !oneDimension ? { axis } : {};
  try {
    const granularity = checkGranularity(shape, wanted);
    return { dtype: selection.dtype, shape, source, scheme, granularity };
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new FormatError(file, words`${cause.words}; give another or ${EXCLUDE_IT}`, name, {
      cause,
      code: cause.code,
    });
  }
}

function isSmaller(tensor: CheckpointTensor, entry: QuantizedEntry): boolean {
  const after = partsOf(tensor.name, entry).reduce((sum, part) => sum + bytesOfItem(part), 0);
  return after < tensor.end - tensor.start;
}

/** Bytes of a tensor. */
function bytesOfItem({ dtype, shape }: SafetensorsItem): number {
  return Math.ceil((elementsOf(shape) * safetensorsTypes[dtype]) / 8);
}
