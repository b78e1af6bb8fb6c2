import { elementsOf } from "../../../engine/tensors/shape.ts";
import { attributeOf, type Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Value } from "../../ir/types/type-inference.ts";
import { isMover } from "./half-operators.ts";
import { isFloat, type TypedNode } from "./node-order.ts";

/** Constants of fewer elements need not be halved to save room. */
export const FEW = 1024;

const words = (text: string) => new Set(text.split(/\s+/));

const integerProducts = words("MatMulInteger ConvInteger");
const carriers = words("Mul Cast");

/**
 * Nodes that work on what stands for codes: behind DequantizeLinear, and between an integer product and the scale that
 * makes it a number again. Runtimes look for them as they are, scales may be too small for a half and sums too large.
 */
export function quantizedIn(places: readonly TypedNode[]): ReadonlySet<Node> {
  const inside = new Set<Value>();
  const found = new Set<Node>();
  for (const { node, inputs, outputs } of places) {
    const { opType } = node;
    const isSource = opNameOf(node).endsWith("DequantizeLinear") || opType === "DynamicQuantizeLinear";
    const isInside = inputs.some((value) => value && inside.has(value));
    if (integerProducts.has(opType) || isSource) {
      for (const value of outputs) if (value) inside.add(value);
    } else if (isInside) {
      if (!isMover(node)) found.add(node);
      if (carriers.has(opType) || isMover(node)) for (const value of outputs) if (value) inside.add(value);
    }
  }
  return found;
}

/** Whether a node gives floats to nothing but QuantizeLinear, and has no weights of its own. */
export function isQuantizedNext({ inputs, outputs }: TypedNode): boolean {
  const floats = outputs.filter(isFloat);
  return (
    floats.length > 0 &&
    floats.every(({ takers, isGiven }) => !isGiven && takers.every(({ node }) => node.opType === "QuantizeLinear")) &&
    !inputs.some((value) => isFloat(value) && value.constant && !isSingle(value))
  );
}

export function isLarge({ constant }: Value): boolean {
  return constant !== undefined && elementsOf(constant.tensor.shape) >= FEW;
}

/** Whether a constant is one number. */
export function isSingle({ constant }: Value): boolean {
  return constant !== undefined && elementsOf(constant.tensor.shape) === 1;
}

/** What angles are reckoned with, from positions or times and frequencies. */
const reckoning =
  words(`Add Cast Concat Div Einsum Exp Expand Flatten Identity MatMul Mul Neg Pow Range Reciprocal Reshape
  Slice Squeeze Sub Tile Transpose Unsqueeze Where`);

/** More nodes than angles take. */
const MOST_RECKONING = 64;

/**
 * Sin and Cos, and what reckons their angles from numbers that do not come from the network's own layers: positions and
 * times, thousands of steps, of which a half would keep so few bits that the angle is lost.
 */
export function anglesIn(places: readonly TypedNode[]): ReadonlySet<Node> {
  const placeOf = new Map(places.map((place) => [place.node, place]));
  const found = new Set<Node>();
  for (const place of places) {
    if (opNameOf(place.node) !== "Sin" && opNameOf(place.node) !== "Cos") continue;
    const nodes = new Set([place.node]);
    const open = [...place.inputs];
    let isAngle = true;
    for (let value = open.pop(); value && isAngle; value = open.pop()) {
      const { maker } = value;
      if (!isFloat(value) || !maker || nodes.has(maker)) continue;
      isAngle = maker.domain === "" && reckoning.has(maker.opType) && nodes.size < MOST_RECKONING;
      nodes.add(maker);
      open.push(...placeOf.get(maker)!.inputs.filter((input) => input !== undefined));
    }
    if (isAngle) for (const node of nodes) found.add(node);
  }
  return found;
}

/** Whether a ConstantOfShape is filled with a value of another type than float32, or of one that is not known. */
export function isFilledOtherwise(node: Node): boolean {
  const filling = opNameOf(node) === "ConstantOfShape" ? attributeOf(node, "value", "tensor") : undefined;
  return filling !== undefined && filling.type !== "float32";
}

/** Whether a node makes floats out of none by a type that an attribute names. */
export function isMadeOfNone({ node, inputs }: TypedNode): boolean {
  return attributeOf(node, "dtype", "int") !== undefined && !inputs.some(isFloat);
}
