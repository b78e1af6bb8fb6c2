import { floatTypes } from "../../../dtypes.ts";
import type { Clamping } from "../../../pipeline/half-conversion.ts";
import { attributeOf, type Node } from "../../ir/graph.ts";
import { opNameOf, weightAxesOf } from "../../ir/operators.ts";
import type { Value } from "../../ir/types/type-inference.ts";
import { type ConstantNumbers, type ConstantValues, tinyIn } from "./constant-values.ts";
import { isControl } from "./half-operators.ts";
import { clampingOf } from "./mask-values.ts";
import { isFloat, type TypedNode } from "./node-order.ts";
import { type Reason, shown } from "./square-roots.ts";
import { isLayer, isReckoning, type ValueFlow } from "./value-flow.ts";

const words = (text: string) => new Set(text.split(/\s+/));

/** Below this, weights lose more to halves that are too small than rounding costs all others (73 dB). In dB. */
export const LEAST_SQNR = 50;

/** Give the same for numbers of any size: what goes into them may be large. */
const bounding = words(`Log Sigmoid Tanh Softmax LogSoftmax Hardmax Erf HardSigmoid Sign Sin Cos Atan Softsign Softplus
  ArgMax ArgMin Greater Less GreaterOrEqual LessOrEqual Equal BatchNormalization InstanceNormalization
  LayerNormalization GroupNormalization RMSNormalization LpNormalization`);

/** A node's numbers that are out of half precision's range: those it gives, and those it takes. */
interface Extent {
  readonly gives?: boolean;
  readonly takes?: boolean | "layers";
}

/** Where a constant takes numbers to: from their usual size up or down, or past it by a sum. */
type Direction = "up" | "down" | "aside";

interface Finding extends Extent {
  readonly why: Reason;
  readonly direction?: Direction;
}

/** Whether what one constant does to numbers another undoes. */
function isUndone(by: Direction | undefined, direction: Direction | undefined): boolean {
  if (by === undefined || direction === undefined) return false;
  return by === "aside" ? direction === "aside" : direction !== "aside" && direction !== by;
}

/** Nodes that a number out of range reaches before something brings it back. */
const MOST_NODES = 32;

/**
 * Nodes whose constants half precision does not hold, and what stands around them up to what brings the numbers back into
 * its range.
 */
export class NumberRange {
  readonly kept = new Map<Node, Reason>();
  readonly #clampings = new Map<Value, Clamping>();
  readonly #findings = new Map<TypedNode, Finding>();
  /** Nodes whose constants bring back what others took out of range. */
  readonly #undoing = new Set<TypedNode>();

  constructor(
    private readonly flow: ValueFlow,
    private readonly numbers: ConstantNumbers,
  ) {
    for (const place of flow.places) {
      if (!place.outputs.some(isFloat) && !place.inputs.some(isFloat)) continue;
      if (place.outputs.some((value) => value?.constant)) continue;
      const found = this.#findingAt(place);
      if (found) this.#findings.set(place, found);
    }
    for (const [place, found] of this.#findings) {
      this.#keep(place, found.why);
      if (found.gives && !this.#undoing.has(place)) this.#spread(place, found);
      if (found.takes) this.#trace(place, found.why, found.takes === "layers");
    }
  }

  /** What of a constant may be clamped. */
  clampingOf(value: Value): Clamping {
    const known = this.#clampings.get(value) ?? clampingOf(value, this.flow);
    this.#clampings.set(value, known);
    return known;
  }

  /** Whether a constant holds what halves do not, so that it must be there as it is, too. */
  isUnfit(value: Value): boolean {
    return this.#beyondIn(value) !== undefined;
  }

  #beyondIn(value: Value): number | undefined {
    const { beyond, isEndless } = this.numbers.at(value) ?? {};
    if (beyond === undefined) return undefined;
    const clamping = this.clampingOf(value);
    return clamping === "all" || (clamping === "endless" && isEndless) ? undefined : beyond;
  }

  #findingAt(place: TypedNode): Finding | undefined {
    const { node, inputs } = place;
    if (opNameOf(node) === "BatchNormalization") {
      const found = this.#normalization(place);
      if (found) return found;
    }
    for (const [input, value] of [...inputs, ...place.outputs.slice(0, 1)].entries()) {
      for (const constant of this.flow.constantsBehind(value)) {
        const known = this.numbers.at(constant);
        const found = known && this.#findingOf(node, input, constant, known);
        if (found) return found;
      }
    }
    return undefined;
  }

  #findingOf(node: Node, input: number, constant: Value, known: ConstantValues): Finding | undefined {
    const op = opNameOf(node);
    const beyond = this.#beyondIn(constant);
    if (beyond !== undefined) {
      const why = { reason: `beyond ${this.numbers.dtype}`, detail: `${constant.name} holds ${shown(beyond)}` };
      if (op === "Mul") return { why, gives: true, takes: true, direction: "up" };
      if (op === "Div") return { why, gives: true, takes: input === 1, direction: input === 1 ? "down" : "up" };
      if (op === "Add" || op === "Sub") return { why, gives: true, direction: "aside" };
      // What mean and variance normalize is within bounds.
      if (op === "BatchNormalization" && input > 2) return { why };
      return { why, gives: true };
    }
    return this.#smallness(node, input, constant, known);
  }

  #smallness(node: Node, input: number, constant: Value, known: ConstantValues): Finding | undefined {
    const op = opNameOf(node);
    const { largest, smallest, sqnr } = known;
    const { dtype } = this.numbers;
    const tiny = tinyIn(dtype);
    const reason = `too small for ${dtype}`;
    const isDivisor = op === "Div" && input === 1;
    if ((isDivisor && smallest < tiny) || (op === "Mul" && largest > 0 && largest < tiny)) {
      const why = { reason, detail: `${constant.name} holds ${shown(smallest)}` };
      return { why, gives: true, takes: true, direction: isDivisor ? "up" : "down" };
    }
    const rank = constant.constant?.tensor.shape.length ?? 0;
    if (weightAxesOf(node, input, rank) === undefined || !isLayer(node) || sqnr >= LEAST_SQNR) return undefined;
    return { why: { reason, detail: `${constant.name} would keep ${Math.floor(sqnr)} dB` } };
  }

  /** By what it is divided by: variance and epsilon, and by what it must have been given for these. */
  #normalization({ node, inputs }: TypedNode): Finding | undefined {
    const [scale, , mean, variance] = inputs.slice(1).map((value) => value?.constant && this.numbers.at(value)?.values);
    const epsilon = attributeOf(node, "epsilon", "float") ?? 1e-5;
    const { largest } = floatTypes[this.numbers.dtype];
    const step = tinyIn(this.numbers.dtype) / 32;
    const name = inputs[4]?.name ?? "";
    if (!variance) return undefined;
    for (let i = 0; i < variance.length; i++) {
      const spread = Math.sqrt(variance[i]! + epsilon);
      if (scale?.[i] === 0 || !(spread > 0)) continue;
      const detail = `${name} holds ${shown(variance[i]!)}`;
      // Nearly all of what it is given is within six deviations.
      if (Math.abs(mean?.[i] ?? 0) + 6 * spread > largest) {
        return { why: { reason: `beyond ${this.numbers.dtype}`, detail }, takes: "layers" };
      }
      const isLost = Math.abs(step * Math.round(variance[i]! / step) - variance[i]!) > (variance[i]! + epsilon) / 256;
      if (variance[i]! < 32 * 32 * step && isLost) {
        const isFine = step / spread > 1 / 256;
        return {
          why: { reason: `too small for ${this.numbers.dtype}`, detail },
          ...(isFine && { takes: "layers" as const }),
        };
      }
    }
    return undefined;
  }

  #keep({ node }: TypedNode, why: Reason): void {
    if (!this.kept.has(node)) this.kept.set(node, why);
  }

  /** What takes numbers that are out of range, up to what brings them back; a layer is the last that takes them. */
  #spread(start: TypedNode, { why, direction }: Finding): void {
    const seen = new Set([start]);
    for (const place of seen) {
      const { node, owner, outputs } = place;
      if (place !== start && (bounding.has(opNameOf(node)) || isLayer(node))) continue;
      if (owner && isControl(owner.node) && outputs.some((value) => value?.isGiven)) {
        this.#keep(owner, why);
        seen.add(owner);
      }
      for (const taker of this.flow.takersOf(place)) {
        const next = this.flow.placeOf(taker.node);
        if (seen.has(next) || seen.size >= MOST_NODES) continue;
        if (!isReckoning(taker.node) && !bounding.has(opNameOf(taker.node)) && !isLayer(taker.node)) continue;
        this.#keep(next, why);
        if (isUndone(this.#findings.get(next)?.direction, direction)) this.#undoing.add(next);
        else seen.add(next);
      }
    }
  }

  /** What makes numbers that are out of range, up to a layer, which is the last of them where it gives such numbers. */
  #trace(start: TypedNode, why: Reason, withLayers: boolean): void {
    const seen = new Set([start]);
    for (const place of seen) {
      if (isLayer(place.node)) continue;
      for (const input of place.inputs.slice(0, place === start && withLayers ? 1 : undefined)) {
        const maker = this.flow.makerOf(input);
        if (!maker || seen.has(maker) || seen.size >= MOST_NODES) continue;
        if (!isReckoning(maker.node) && !(withLayers && isLayer(maker.node))) continue;
        seen.add(maker);
        this.#keep(maker, why);
      }
    }
  }
}
