import type { Clamping } from "../../../pipeline/half-conversion.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Taker, Value } from "../../ir/types/type-inference.ts";
import { isMover } from "./half-operators.ts";
import { isFloat } from "./node-order.ts";
import type { ValueFlow } from "./value-flow.ts";

const words = (text: string) => new Set(text.split(/\s+/));

/** Add masks to scores, choose between them, hold them against limits. */
const masking = words(`Add Sub Sum Where Pad Equal Greater GreaterOrEqual Less LessOrEqual ScatterElements ScatterND
  Max Min Clip`);

/** What masks pass through on their way to the scores. */
const carrying = words("Add Sub Mul Div Neg Sum Where Pad Max Min Clip Cast ScatterElements ScatterND");

/** To which a number is masked that is low enough, however low. */
const maskedBy = words(`Softmax LogSoftmax Hardmax ArgMax ArgMin TopK com.microsoft.MultiHeadAttention
  com.microsoft.Attention Attention`);

/** Nodes from a constant to where it masks: real models have a dozen. */
const MOST_NODES = 64;

/** What of a constant may be clamped, by what its takers do with it; behind longer rows of nodes nothing. */
export function clampingOf(value: Value, flow: ValueFlow): Clamping {
  return clampingBehind(value, flow, new Set(), 0);
}

function clampingBehind(value: Value, flow: ValueFlow, seen: Set<Value>, steps: number): Clamping {
  if (seen.has(value) || masksAll(value, flow)) return "all";
  seen.add(value);
  if (value.takers.length === 0) return "endless";
  if (steps > MOST_NODES) return "none";
  return least(value.takers.map((taker) => clampingAt(taker, value, flow, { seen, steps })));
}

function least(each: readonly Clamping[]): Clamping {
  if (each.includes("none")) return "none";
  return each.includes("endless") ? "endless" : "all";
}

/** How a value was come to. */
interface Way {
  readonly seen: Set<Value>;
  readonly steps: number;
}

function clampingAt({ node, input }: Taker, value: Value, flow: ValueFlow, { seen, steps }: Way): Clamping {
  const op = opNameOf(node);
  // A limit of others: beyond the largest half there are none.
  if (op === "Min" || op === "Max" || (op === "Clip" && input > 0)) return "all";
  if (masking.has(op)) return "endless";
  const { inputs, outputs } = flow.placeOf(node);
  if (isMover(node) || op === "Cast" || op === "Neg") {
    const taken = outputs.filter((made) => isFloat(made)).filter(({ takers }) => takers.length > 0);
    return least(taken.map((made) => clampingBehind(made, flow, seen, steps + 1)));
  }
  if (op !== "Mul" && !(op === "Div" && input === 0)) return "none";
  return isMask(
    inputs.find((other) => other !== value),
    flow,
  )
    ? "endless"
    : "none";
}

/** Whether all that comes of a constant is masked by it. */
function masksAll(value: Value, flow: ValueFlow): boolean {
  const seen = new Set<Value>();
  const open = [value];
  while (open.length > 0) {
    const at = open.pop()!;
    if (seen.has(at)) continue;
    seen.add(at);
    if (at.isGiven || at.takers.length === 0 || seen.size > MOST_NODES) return false;
    for (const { node } of at.takers) {
      const op = opNameOf(node);
      if (maskedBy.has(op)) continue;
      if (!carrying.has(op) && !isMover(node)) return false;
      open.push(...flow.placeOf(node).outputs.filter(isFloat));
    }
  }
  return true;
}

/** Whether a value is made of truths or whole numbers, with constants: 1 - mask. */
function isMask(value: Value | undefined, flow: ValueFlow): boolean {
  const seen = new Set<Value>();
  const open = [value];
  let hasSource = false;
  while (open.length > 0) {
    const at = open.pop();
    if (!at || seen.has(at) || at.constant) continue;
    seen.add(at);
    if (!isFloat(at)) {
      hasSource = true;
      continue;
    }
    const maker = flow.makerOf(at);
    if (!maker || seen.size > MOST_NODES || !(carrying.has(opNameOf(maker.node)) || isMover(maker.node))) return false;
    open.push(...maker.inputs);
  }
  return hasSource;
}
