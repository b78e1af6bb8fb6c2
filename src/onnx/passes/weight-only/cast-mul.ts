import { codeTypes } from "../../../dtypes.ts";
import type { Granularity } from "../../../engine/tensors/granularity.ts";
import { IntegerJob } from "../../codecs/integer-codec.ts";
import type { Node } from "../../ir/graph.ts";
import { type FloatConstant, gatherAxisOf, isLookup, type Use } from "../../weights/find-weights.ts";
import type { WeightQuantization } from "../../weights/weight-granularity.ts";
import { type BlockIndex, gatherFirst, parameterShapeOf, restoreByMul, spreadBlocks } from "../restore-by-mul.ts";
import { requirementOf } from "./opset-requirement.ts";
import { type DraftContext, WeightDraft } from "./weight-draft.ts";

/**
 * Cast, Sub of the zero point where there is one, Mul by the scale: ops that every opset from 7 on has and runtimes fold
 * when they load the model. The arithmetic is float32 whatever the weight's type was, so that no scale underflows.
 *
 *   codes -> Cast -> [Sub <- Cast <- zero point] -> Mul <- scale [-> Cast] -> the constant's own name
 *
 * A Gather that looks codes up takes the rows first:
 *
 *   codes -> Gather -> Cast -> [Sub] -> Mul <- Gather <- scale
 */
export function draftCast(
  constant: FloatConstant,
  quantization: WeightQuantization,
  around: DraftContext,
): WeightDraft {
  const { shape } = constant.tensor;
  const { dtype, granularity, narrowRange } = quantization;
  // The zero point is in the middle for all groups, so that one stands for all.
  const form = narrowRange ? { zeroPoint: 2 ** (codeTypes[dtype].bits - 1) } : {};
  const draft = new WeightDraft(
    new IntegerJob(constant, quantization, form),
    requirementOf("cast", quantization),
    around.names,
  );
  const { job } = draft;
  const parameterShape = parameterShapeOf(shape, granularity);
  const index = blockIndexFor(draft, granularity, around);
  const parts = {
    codes: draft.tensor("quantized", dtype, shape, job.codes),
    scale: draft.tensor("scale", "float32", parameterShape, job.scale),
    zeroPoint: job.zeroPoint && draft.tensor("zero_point", dtype, narrowRange ? [] : parameterShape, job.zeroPoint),
    isOneZeroPoint: narrowRange === true,
    index,
  };

  const direct = constant.uses.filter((use) => gathersFirst(use, granularity, shape.length));
  const rows = (node: Node) => gatherFirst(node, constant, granularity, parts, draft.chain(node.outputs[0] ?? ""));
  draft.replaceUses(direct, rows, (chain) => {
    const spread = (name: string, suffix: string) => (index ? spreadBlocks(chain, name, suffix, index) : name);
    restoreByMul(chain, constant, {
      codes: parts.codes,
      scale: spread(parts.scale, "scale"),
      zeroPoint: parts.zeroPoint && (narrowRange ? parts.zeroPoint : spread(parts.zeroPoint, "zero_point")),
    });
  });
  return draft;
}

/** Whether a node can look up codes in place of floats: a parameter's shape must follow from the table's. */
function gathersFirst({ node, direct, input }: Use, { axis, blockSize }: Granularity, rank: number): boolean {
  if (!isLookup({ node, direct, input })) return false;
  if (axis === undefined) return true;
  if (typeof axis !== "number") return false;
  const row = gatherAxisOf(node, rank);
  return blockSize === undefined ? axis >= row : axis > row;
}

function blockIndexFor(
  { constant: { graph, tensor }, indices }: WeightDraft,
  { axis, blockSize }: Granularity,
  around: DraftContext,
): BlockIndex | undefined {
  if (blockSize === undefined || typeof axis !== "number") return undefined;
  const index = around.blockIndex(graph, tensor.shape[axis]!, blockSize);
  indices.push(index);
  return { name: index.name, axis: axis - tensor.shape.length };
}
