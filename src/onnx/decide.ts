import { codeTypes } from "../dtypes.ts";
import { bytesOfTensor, type TensorFiles } from "./data.ts";
import { encodeNode, encodeTensor } from "./encode.ts";
import { BlockIndices } from "./forms/block-indices.ts";
import { draftCast } from "./forms/cast.ts";
import type { Draft, Surroundings } from "./forms/draft.ts";
import { isLookup } from "./forms/lookup.ts";
import { draftQdq } from "./forms/qdq.ts";
import { type ConstantProducts, constantProducts } from "./fusion.ts";
import type { Model, Tensor } from "./graph.ts";
import type { Job } from "./jobs/job.ts";
import { Names } from "./names.ts";
import { recipeFor, type Wishes } from "./recipe.ts";
import type { Scope } from "./scopes.ts";
import { type Candidate, Selection, type WeightSelection } from "./select.ts";
import { type FloatConstant, findConstants, readIntegers } from "./weights.ts";
import { lengthOf } from "./wire.ts";

/** What becomes of a constant: a draft where it is quantized, the reason where it stays. */
export interface Decision extends Candidate {
  /** What is made of it; none where it stays. */
  readonly jobs: readonly Job[];
  readonly draft?: Draft | undefined;
  /** Why a pass before this one left it. */
  readonly before?: string | undefined;
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
  const products = constantProducts(root);
  const selection = new Selection(model, constants, root, options);
  return constants.map((each): Decision => {
    const candidate = selection.candidate(each);
    if (candidate.reason !== undefined) return { ...candidate, jobs: [] };
    const { constant } = candidate;
    const wanted = wishesFor(constant, options, products);
    // Blocks along an axis that is short, as a depthwise kernel's, have a scale for next to every value; channels have fewer.
    const tries = wanted.blockSize === undefined ? [wanted] : [wanted, { ...wanted, blockSize: undefined }];
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

/**
 * Tables that rows are taken of may need another type than weights that are restored as a whole; of unsigned
 * codes that a MatMul of two restored sides takes, some have to do with one scale.
 */
function wishesFor({ uses, tensor }: FloatConstant, wishes: Wishes, { awkward }: ConstantProducts): Wishes {
  const { tableDtype } = wishes;
  const isTable = tableDtype && codeTypes[wishes.dtype].bits === 8 && uses.some(isLookup);
  const dtype = isTable ? tableDtype : wishes.dtype;
  const scheme = dtype === wishes.dtype ? wishes.scheme : codeTypes[dtype].signed ? "symmetric" : "affine";
  const isPlain = wishes.form === "qdq" && !codeTypes[dtype].signed && awkward.has(tensor);
  return { ...wishes, dtype, scheme, perChannel: wishes.perChannel && !isPlain };
}

/** Bytes that go when a constant does. */
function costOf({ tensor, node }: FloatConstant): number {
  const outside = tensor.data.kind === "external" ? bytesOfTensor(tensor) : 0;
  return outside + lengthOf(node ? encodeNode(node) : encodeTensor(tensor));
}
