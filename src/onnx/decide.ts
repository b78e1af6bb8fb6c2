import { bytesOfTensor, type TensorFiles } from "./data.ts";
import { encodeNode, encodeTensor } from "./encode.ts";
import { BlockIndices } from "./forms/block-indices.ts";
import { draftCast } from "./forms/cast.ts";
import type { Draft, Surroundings } from "./forms/draft.ts";
import { draftQdq } from "./forms/qdq.ts";
import type { Model, Tensor } from "./graph.ts";
import type { Job } from "./jobs/job.ts";
import { Names } from "./names.ts";
import { recipeFor, type Wishes } from "./recipe.ts";
import type { Scope } from "./scopes.ts";
import { type Candidate, selectWeights, type WeightSelection } from "./select.ts";
import { type FloatConstant, findConstants, readIntegers } from "./weights.ts";
import { lengthOf } from "./wire.ts";

/** What becomes of a constant: a draft where it is quantized, the reason where it stays. */
export interface Decision extends Candidate {
  /** What is made of it; none where it stays. */
  readonly jobs: readonly Job[];
  readonly draft?: Draft | undefined;
}

/**
 * Decides about every float constant of a model: weights are quantized if they are wanted and it makes the file smaller.
 *
 * @throws FormatError, ArgumentError
 */
export async function decide(
  model: Model,
  files: TensorFiles,
  root: Scope,
  options: WeightSelection & Wishes,
): Promise<Decision[]> {
  const constants = findConstants(root, await readIntegers(model, files));
  const names = new Names(model);
  const indices = new BlockIndices(names);
  const around: Surroundings = { names, blockIndex: (graph, length, size) => indices.for(graph, length, size) };
  const draft = options.form === "cast" ? draftCast : draftQdq;
  const paid = new Set<Tensor>();
  return selectWeights(model, constants, root, options).map((candidate): Decision => {
    if (candidate.reason !== undefined) return { ...candidate, jobs: [] };
    const { constant } = candidate;
    // Blocks along an axis that is short, as a depthwise kernel's, have a scale for next to every value; channels have fewer.
    const tries = options.blockSize === undefined ? [options] : [options, { ...options, blockSize: undefined }];
    for (const wishes of tries) {
      const made = draft(constant, recipeFor(constant, wishes), around);
      // The first that needs an index pays for it.
      const indices = made.indices.filter((index) => !paid.has(index));
      const shared = indices.reduce((sum, index) => sum + lengthOf(encodeTensor(index)), 0);
      if (made.byteLength + shared >= costOf(constant)) continue;
      for (const index of indices) paid.add(index);
      return { ...candidate, draft: made, jobs: [made.job] };
    }
    return { ...candidate, reason: "would not get smaller", jobs: [] };
  });
}

/** Bytes that go when a constant does. */
function costOf({ tensor, node }: FloatConstant): number {
  const outside = tensor.data.kind === "external" ? bytesOfTensor(tensor) : 0;
  return outside + lengthOf(node ? encodeNode(node) : encodeTensor(tensor));
}
