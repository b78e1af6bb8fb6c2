import { codeTypes } from "../../../dtypes.ts";
import { encodeNode, encodeTensor } from "../../io/encode.ts";
import { bytesOfTensor, type TensorFiles } from "../../io/tensor-data.ts";
import { type ConstantProducts, constantProducts } from "../../ir/constant-products.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import type { Model, Tensor } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import { lengthOf } from "../../proto/wire-format.ts";
import { type FloatConstant, findConstants, isLookup, readIntegers } from "../../weights/find-weights.ts";
import { Selection, type WeightSelection } from "../../weights/select-weights.ts";
import { type WeightOnlyOptions, weightQuantizationFor } from "../../weights/weight-granularity.ts";
import type { Decision } from "../pass-result.ts";
import { draftCast } from "./cast-mul.ts";
import { draftQdq } from "./dequantize-linear.ts";
import { BlockIndices, type DraftContext, type WeightDraft } from "./weight-draft.ts";

/** With what takes the place of a constant that is quantized. */
export interface PlannedWeight extends Decision {
  readonly draft?: WeightDraft | undefined;
}

/**
 * Decides about every float constant of a model: weights are quantized if they are wanted and it makes the file smaller.
 *
 * @throws FormatError, ArgumentError
 */
export async function planWeights(
  model: Model,
  files: TensorFiles,
  root: Scope,
  options: WeightSelection & WeightOnlyOptions,
): Promise<PlannedWeight[]> {
  const constants = findConstants(root, await readIntegers(model, files));
  const names = new FreshNames(model);
  const indices = new BlockIndices(names);
  const around: DraftContext = { names, blockIndex: (graph, length, size) => indices.for(graph, length, size) };
  const draft = options.form === "cast" ? draftCast : draftQdq;
  const paid = new Set<Tensor>();
  const products = constantProducts(root);
  const selection = new Selection(model, constants, root, options);
  return constants.map((each): PlannedWeight => {
    const candidate = selection.candidate(each);
    if (candidate.reason !== undefined) return { ...candidate, jobs: [] };
    const { constant } = candidate;
    const wanted = optionsFor(constant, options, products);
    // Blocks along an axis that is short, as a depthwise kernel's, have a scale for next to every value; channels have fewer.
    const tries = wanted.blockSize === undefined ? [wanted] : [wanted, { ...wanted, blockSize: undefined }];
    for (const wishes of tries) {
      const made = draft(constant, weightQuantizationFor(constant, wishes), around);
      // The first that needs an index pays for it.
      const indices = made.indices.filter((index) => !paid.has(index));
      const shared = indices.reduce((sum, index) => sum + lengthOf(encodeTensor(index)), 0);
      if (made.byteLength + shared >= costOf(constant)) continue;
      for (const index of indices) paid.add(index);
      return { ...candidate, draft: made, jobs: [made.job], isRestored: true };
    }
    return { ...candidate, reason: "would not get smaller", jobs: [] };
  });
}

/**
 * Tables that rows are taken of may need another type than weights that are restored as a whole; of unsigned
 * codes that a MatMul of two restored sides takes, some have to do with one scale.
 */
function optionsFor(
  { uses, tensor }: FloatConstant,
  wishes: WeightOnlyOptions,
  { awkward, either }: ConstantProducts,
): WeightOnlyOptions {
  const { tableDtype } = wishes;
  const isTable = tableDtype && codeTypes[wishes.dtype].bits === 8 && uses.some(isLookup);
  const dtype = isTable ? tableDtype : wishes.dtype;
  const scheme = dtype === wishes.dtype ? wishes.scheme : codeTypes[dtype].signed ? "symmetric" : "asymmetric";
  const isUnsigned = wishes.form === "qdq" && !codeTypes[dtype].signed;
  const isPlain = isUnsigned && awkward.has(tensor);
  // Only 8 bits are fused so, and blocks fit neither side.
  const hasNoBlocks = isUnsigned && codeTypes[dtype].bits === 8 && either.has(tensor);
  const blockSize = hasNoBlocks ? undefined : wishes.blockSize;
  return { ...wishes, dtype, scheme, perChannel: wishes.perChannel && !isPlain, blockSize };
}

/** Bytes that go when a constant does. */
function costOf({ tensor, node }: FloatConstant): number {
  const outside = tensor.data.kind === "external" ? bytesOfTensor(tensor) : 0;
  return outside + lengthOf(node ? encodeNode(node) : encodeTensor(tensor));
}
