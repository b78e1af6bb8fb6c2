import { codeTypes } from "../../../dtypes.ts";
import { type Granularity, scaleShapeOf } from "../../../engine/tensors/granularity.ts";
import { IntegerJob } from "../../codecs/integer-codec.ts";
import { intAttribute, type Node } from "../../ir/graph.ts";
import { codeOf } from "../../proto/schema.ts";
import { type FloatConstant, gatherAxisOf, isLookup, type Use } from "../../weights/find-weights.ts";
import type { WeightQuantization } from "../../weights/weight-granularity.ts";
import { requirementOf } from "./opset-requirement.ts";
import { type Chain, type DraftContext, type StoredParts, WeightDraft } from "./weight-draft.ts";

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
  const rows = (node: Node) => gatherFirst(node, constant, granularity, parts, draft);
  draft.replaceUses(direct, rows, (chain) => {
    const spread = (name: string, suffix: string) => (index ? spreadBlocks(chain, name, suffix, index) : name);
    restore(chain, constant, {
      codes: parts.codes,
      scale: spread(parts.scale, "scale"),
      zeroPoint: parts.zeroPoint && (narrowRange ? parts.zeroPoint : spread(parts.zeroPoint, "zero_point")),
    });
  });
  return draft;
}

interface BlockIndex {
  readonly name: string;
  /** Counted from the end, which a Gather before does not shift. */
  readonly axis: number;
}

function restore(chain: Chain, { tensor, dtype }: FloatConstant, { codes, scale, zeroPoint }: StoredParts): void {
  const toFloat32 = [intAttribute("to", codeOf("float32"))];
  const narrow = dtype !== "float32";
  let value = chain.add("Cast", [codes], toFloat32, { last: false });
  if (zeroPoint !== undefined) {
    const offset = chain.add("Cast", [zeroPoint], toFloat32, { last: false, suffix: "offset" });
    value = chain.add("Sub", [value, offset], [], { last: false });
  }
  value = chain.add("Mul", [value, scale], [], { last: !narrow });
  if (narrow) chain.add("Cast", [value], [intAttribute("to", tensor.typeCode)], { last: true, suffix: "narrow" });
}

/** A scale for each block becomes one for each place. */
function spreadBlocks(chain: Chain, name: string, suffix: string, { name: index, axis }: BlockIndex): string {
  return chain.add("Gather", [name, index], [intAttribute("axis", axis)], { last: false, suffix: `${suffix}_spread` });
}

function gatherFirst(
  node: Node,
  constant: FloatConstant,
  granularity: Granularity,
  parts: StoredParts & { readonly index: BlockIndex | undefined; readonly isOneZeroPoint: boolean },
  draft: WeightDraft,
): Node[] {
  const [output = ""] = node.outputs;
  const [, rows = ""] = node.inputs;
  const { shape } = constant.tensor;
  const axis = gatherAxisOf(node, shape.length);
  const chain = draft.chain(output);
  const parameterShape = parameterShapeOf(shape, granularity);
  const row = axis - (shape.length - parameterShape.length);
  // Parameters that have the gathered axis are gathered with the codes, however short it is: ranks must go together.
  const follows = row >= 0;
  const pick = (name: string, suffix: string) => {
    const picked = follows
      ? chain.add("Gather", [name, rows], [intAttribute("axis", row)], { last: false, suffix })
      : name;
    return parts.index ? spreadBlocks(chain, picked, suffix, parts.index) : picked;
  };
  const codes = chain.add("Gather", [parts.codes, rows], [intAttribute("axis", axis)], {
    last: false,
    suffix: "codes",
  });
  restore(chain, constant, {
    codes,
    scale: pick(parts.scale, "scale"),
    zeroPoint: parts.zeroPoint && (parts.isOneZeroPoint ? parts.zeroPoint : pick(parts.zeroPoint, "zero_point")),
  });
  // The node itself takes the codes; it stays what it was in all else.
  const [made, ...rest] = chain.nodes;
  return [{ ...node, inputs: [parts.codes, ...node.inputs.slice(1)], outputs: made!.outputs }, ...rest];
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

/**
 * The shape in which parameters stand beside the codes: that of the scales per block; per channel those axes, and ones
 * for the axes that follow.
 */
function parameterShapeOf(shape: readonly number[], granularity: Granularity): readonly number[] {
  const { axis, blockSize } = granularity;
  if (axis === undefined) return [];
  if (blockSize !== undefined) return scaleShapeOf(shape, granularity);
  const [first, last] = typeof axis === "number" ? [axis, axis] : axis;
  return shape.slice(first).map((dimension, i) => (first + i <= last ? dimension : 1));
}
