import { codeTypes } from "../../../dtypes.ts";
import { type Granularity, scaleShapeOf } from "../../../engine/tensors/granularity.ts";
import { IntegerJob } from "../../codecs/integer-codec.ts";
import { lacksPerm } from "../../ir/constant-products.ts";
import { intAttribute, makeAttribute, type Node } from "../../ir/graph.ts";
import { type FloatConstant, gatherAxisOf, isLookup, type Use } from "../../weights/find-weights.ts";
import type { WeightQuantization } from "../../weights/weight-granularity.ts";
import type { Chain, StoredParts } from "../chain.ts";
import { requirementOf } from "./opset-requirement.ts";
import { type DraftContext, WeightDraft } from "./weight-draft.ts";

/**
 * DequantizeLinear in front of the weight's users: per tensor from opset 10, per channel from 13, in blocks, of 4 and of
 * 16 bits from 21. Scales are float32 whatever the weight's type was.
 *
 *   codes, scale, [zero point] -> DequantizeLinear [-> Cast] -> the constant's own name
 *
 * A Gather looks codes up where the rows it takes can be restored as they are: where scales do not vary from row to row,
 * or are gathered with them in blocks. Of 4 bits nothing can be gathered: Gather does not know those types.
 */
export function draftQdq(constant: FloatConstant, quantization: WeightQuantization, around: DraftContext): WeightDraft {
  const draft = new WeightDraft(
    new IntegerJob(constant, quantization, saysZeroPoint(constant, quantization) ? { storesZeros: true } : {}),
    requirementOf("qdq", quantization),
    around.names,
  );
  const { shape } = constant.tensor;
  const { dtype, granularity } = quantization;
  const { job } = draft;
  const parameterShape = scaleShapeOf(shape, granularity);
  const parts = {
    codes: draft.tensor("quantized", dtype, shape, job.codes),
    scale: draft.tensor("scale", "float32", parameterShape, job.scale),
    zeroPoint: job.zeroPoint && draft.tensor("zero_point", dtype, parameterShape, job.zeroPoint),
  };
  const direct = constant.uses.filter((use) => gathersFirst(use, quantization, shape.length));
  const rowParts = isSimple(quantization) ? { ...parts, zeroPoint: undefined } : parts;
  const rows = (node: Node) => gatherFirst(node, constant, granularity, rowParts, draft);
  draft.replaceUses(direct, rows, (chain) => restore(chain, constant, parts, granularity));
  for (const node of constant.viewers) if (lacksPerm(node)) draft.replaced.set(node, [withPerm(node, shape.length)]);
  return draft;
}

/**
 * Whether zero points are stored even if they are 0: wherever a node may follow that shows what is restored otherwise. Up to
 * 1.24 ONNX Runtime moves DequantizeLinear behind such nodes, and puts a QuantizeLinear before it that without a zero point
 * gives uint8: signed codes come out wrong, or the model does not load.
 */
function saysZeroPoint({ viewers, uses }: FloatConstant, quantization: WeightQuantization): boolean {
  if (quantization.granularity.blockSize !== undefined) return false;
  const isFollowed = (use: Use) => !use.axes || (isLookup(use) && !isSimple(quantization));
  return viewers.length > 0 || uses.some(isFollowed);
}

/**
 * Rows of int8 with one scale do without: all versions get them right, but 1.30 does not load opset 21 with a zero point if
 * a Transpose follows.
 */
function isSimple({ dtype, scheme, granularity }: WeightQuantization): boolean {
  return dtype === "int8" && scheme === "symmetric" && granularity.axis === undefined;
}

function restore(
  chain: Chain,
  { tensor, dtype }: FloatConstant,
  { codes, scale, zeroPoint }: StoredParts,
  { axis, blockSize }: Granularity,
): void {
  const attributes = [
    ...(typeof axis === "number" ? [intAttribute("axis", axis)] : []),
    ...(blockSize === undefined ? [] : [intAttribute("block_size", blockSize)]),
  ];
  const narrow = dtype !== "float32";
  const inputs = [codes, scale, ...(zeroPoint === undefined ? [] : [zeroPoint])];
  const value = chain.add("DequantizeLinear", inputs, attributes, { last: !narrow });
  if (narrow) chain.add("Cast", [value], [intAttribute("to", tensor.typeCode)], { last: true, suffix: "narrow" });
}

function withPerm(node: Node, rank: number): Node {
  const perm = Array.from({ length: rank }, (_, i) => rank - 1 - i);
  return { ...node, attributes: [...node.attributes, makeAttribute("perm", { kind: "ints", value: perm })] };
}

function gathersFirst({ node, direct, input }: Use, { granularity, dtype }: WeightQuantization, rank: number): boolean {
  if (!isLookup({ node, direct, input })) return false;
  const { axis, blockSize } = granularity;
  if (codeTypes[dtype].bits === 4) return false;
  return (
    axis === undefined ||
    (typeof axis === "number" &&
      (blockSize === undefined ? axis !== gatherAxisOf(node, rank) : axis > gatherAxisOf(node, rank)))
  );
}

function gatherFirst(
  node: Node,
  constant: FloatConstant,
  granularity: Granularity,
  parts: StoredParts,
  draft: WeightDraft,
): Node[] {
  const [output = ""] = node.outputs;
  const [, rows = ""] = node.inputs;
  const rank = constant.tensor.shape.length;
  const { axis, blockSize } = granularity;
  const row = gatherAxisOf(node, rank);
  const chain = draft.chain(output);
  const pick = (name: string, suffix: string) =>
    chain.add("Gather", [name, rows], [intAttribute("axis", row)], { last: false, suffix });
  const codes = pick(parts.codes, "codes");
  const picked =
    blockSize === undefined
      ? parts
      : { scale: pick(parts.scale, "scale"), zeroPoint: parts.zeroPoint && pick(parts.zeroPoint, "zero_point") };
  // Behind the gathered axis, axes are counted from the end: what Gather puts in its place may have any rank.
  const counted = typeof axis === "number" && axis > row ? axis - rank : axis;
  restore(chain, constant, { ...picked, codes }, { axis: counted, blockSize });
  const [made, ...rest] = chain.nodes;
  return [{ ...node, inputs: [parts.codes, ...node.inputs.slice(1)], outputs: made!.outputs }, ...rest];
}
