import { type Granularity, scaleShapeOf } from "../../engine/tensors/granularity.ts";
import { intAttribute, type Node } from "../ir/graph.ts";
import { codeOf } from "../proto/schema.ts";
import { type FloatConstant, gatherAxisOf } from "../weights/find-weights.ts";
import type { Chain, StoredParts } from "./chain.ts";

/** Tells, for each place along an axis, the block it is in. */
export interface BlockIndex {
  readonly name: string;
  /** Counted from the end, which a Gather before does not shift. */
  readonly axis: number;
}

/** Restores codes by Cast, Sub of the zero point where there is one, and Mul by the scale. */
export function restoreByMul(
  chain: Chain,
  { tensor, dtype }: FloatConstant,
  { codes, scale, zeroPoint }: StoredParts,
): void {
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
export function spreadBlocks(chain: Chain, name: string, suffix: string, { name: index, axis }: BlockIndex): string {
  return chain.add("Gather", [name, index], [intAttribute("axis", axis)], { last: false, suffix: `${suffix}_spread` });
}

/** Gather of rows of codes, and what restores them. @param chain leads to the node's own output */
export function gatherFirst(
  node: Node,
  constant: FloatConstant,
  granularity: Granularity,
  parts: StoredParts & { readonly index?: BlockIndex | undefined; readonly isOneZeroPoint: boolean },
  chain: Chain,
): Node[] {
  const [, rows = ""] = node.inputs;
  const { shape } = constant.tensor;
  const axis = gatherAxisOf(node, shape.length);
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
  restoreByMul(chain, constant, {
    codes,
    scale: pick(parts.scale, "scale"),
    zeroPoint: parts.zeroPoint && (parts.isOneZeroPoint ? parts.zeroPoint : pick(parts.zeroPoint, "zero_point")),
  });
  // The node itself takes the codes; it stays what it was in all else.
  const [made, ...rest] = chain.nodes;
  return [{ ...node, inputs: [parts.codes, ...node.inputs.slice(1)], outputs: made!.outputs }, ...rest];
}

/**
 * The shape in which parameters stand beside the codes: that of the scales per block; per channel those axes, and ones
 * for the axes that follow.
 */
export function parameterShapeOf(shape: readonly number[], granularity: Granularity): readonly number[] {
  const { axis, blockSize } = granularity;
  if (axis === undefined) return [];
  if (blockSize !== undefined) return scaleShapeOf(shape, granularity);
  const [first, last] = typeof axis === "number" ? [axis, axis] : axis;
  return shape.slice(first).map((dimension, i) => (first + i <= last ? dimension : 1));
}
