import type { Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Value } from "../../ir/types/type-inference.ts";
import { isMover } from "./half-operators.ts";
import type { TypedNode } from "./node-order.ts";

const words = (text: string) => new Set(text.split(/\s+/));

/** What sizes, indices and counts are reckoned with, besides what only moves numbers. */
const reckoning = words(`Abs Add Ceil Clip CumSum Div Exp Floor Log Max Mean Min Mod Mul Neg Pad Pow Range Reciprocal
  ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Round ScatterElements ScatterND Sign Sqrt Sub Sum`);

const comparisons = words("Equal Greater GreaterOrEqual Less LessOrEqual");

/** Inputs that say how large an output becomes. */
const sizing: ReadonlyMap<string, readonly number[]> = new Map([
  ["OneHot", [1]],
  ["Range", [0, 1, 2]],
  ["Resize", [1, 2]],
  ["Upsample", [1]],
]);

/**
 * What reckons numbers that become integers, say how large something becomes or are compared as counts: beyond 2048 a half
 * does not hold every whole number, and one that is off by a bit is rounded to another. Where they come from the network's
 * layers, only what follows the last layer, or the last node at which two values of layers meet. Casts to integers are
 * here where what they take must be float32.
 */
export function integersIn(places: readonly TypedNode[]): ReadonlySet<Node> {
  const placeOf = new Map(places.map((place) => [place.node, place]));
  const { counts, layered, layers } = originsIn(places);
  const found = new Set<Node>();
  const open: (Value | undefined)[] = [];
  for (const place of places) {
    const { node, inputs } = place;
    const op = opNameOf(node);
    const isSome = (values: ReadonlySet<Value>) => inputs.some((value) => value && values.has(value));
    if (isToInteger(place)) open.push(inputs[0]);
    for (const input of sizing.get(op) ?? []) open.push(inputs[input]);
    const isOfCounts = comparisons.has(op) && isSome(counts) && !isSome(layered);
    if (isOfCounts) open.push(...inputs);
    if (isOfCounts || op === "Range") found.add(node);
  }
  while (open.length > 0) {
    const value = open.pop();
    const maker = isReal(value) ? value.maker : undefined;
    if (!maker || found.has(maker) || layers.has(maker)) continue;
    found.add(maker);
    open.push(...placeOf.get(maker)!.inputs.slice(0, isCast(maker) ? 1 : undefined));
  }
  for (const place of places) if (isToInteger(place) && isExact(place.inputs[0], found)) found.add(place.node);
  return found;
}

/** Values that come from integers, those that come from layers, and the nodes at which a way back ends. */
function originsIn(places: readonly TypedNode[]) {
  const counts = new Set<Value>();
  const layered = new Set<Value>();
  const layers = new Set<Node>();
  for (const { node, inputs, outputs } of places) {
    const reals = (isCast(node) ? inputs.slice(0, 1) : inputs).filter(isReal);
    const ofLayers = reals.filter((value) => layered.has(value));
    const isLayer = !(isCast(node) || isReckoning(node)) || new Set(ofLayers).size > 1;
    if (isLayer) layers.add(node);
    const isCount = (isCast(node) && isInteger(inputs[0])) || reals.some((value) => counts.has(value));
    for (const value of outputs.filter(isReal)) {
      if (value.constant) continue;
      if (isLayer || ofLayers.length > 0) layered.add(value);
      else if (isCount) counts.add(value);
    }
  }
  return { counts, layered, layers };
}

/** Whether what a Cast takes is there as float32, or can be, without having been a half. */
function isExact(value: Value | undefined, found: ReadonlySet<Node>): boolean {
  return value !== undefined && (value.constant !== undefined || (value.maker !== undefined && found.has(value.maker)));
}

function isToInteger({ node, inputs, outputs }: TypedNode): boolean {
  return isCast(node) && isReal(inputs[0]) && isInteger(outputs[0]);
}

function isCast(node: Node): boolean {
  const op = opNameOf(node);
  return op === "Cast" || op === "CastLike";
}

function isReckoning(node: Node): boolean {
  return isMover(node) || reckoning.has(opNameOf(node));
}

function isInteger(value: Value | undefined): boolean {
  return value?.type !== undefined && /^u?int/.test(value.type);
}

function isReal(value: Value | undefined): value is Value {
  return value?.type === "float32" || value?.type === "float64";
}
