import type { Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Taker, Value } from "../../ir/types/type-inference.ts";
import { isMover } from "./half-operators.ts";
import { isFloat, type TypedNode } from "./node-order.ts";

const words = (text: string) => new Set(text.split(/\s+/));

/** Reckon element by element or with sums of elements, and bring no number into bounds. */
const reckoning = words(`Abs Add Ceil Clip CumSum Div Dropout Exp Floor Max Mean Min Mul Neg Pad Pow Reciprocal
  ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round Sqrt Sub Sum
  AveragePool GlobalAveragePool GlobalMaxPool MaxPool`);

/** Multiply with weights. */
const layers = words("Conv ConvTranspose Einsum Gemm MatMul com.microsoft.FusedMatMul com.microsoft.FusedConv");

export function isReckoning(node: Node): boolean {
  return isMover(node) || isFloatCast(node) || reckoning.has(opNameOf(node));
}

export function isLayer(node: Node): boolean {
  return layers.has(opNameOf(node));
}

function isFloatCast(node: Node): boolean {
  return opNameOf(node) === "Cast";
}

/** Where an input of a node comes from, and to whom an output goes: the way along values that are float32. */
export class ValueFlow {
  readonly #byNode: ReadonlyMap<Node, TypedNode>;
  readonly #behind = new Map<Value, readonly Value[]>();

  constructor(readonly places: readonly TypedNode[]) {
    this.#byNode = new Map(places.map((place) => [place.node, place]));
  }

  placeOf(node: Node): TypedNode {
    return this.#byNode.get(node)!;
  }

  /** The node that makes a float; none of constants and inputs. */
  makerOf(value: Value | undefined): TypedNode | undefined {
    return isFloat(value) && !value.constant && value.maker ? this.placeOf(value.maker) : undefined;
  }

  /** Those who take what a node gives. */
  takersOf({ outputs }: TypedNode): readonly Taker[] {
    return outputs.flatMap((value) => (isFloat(value) ? value.takers : []));
  }

  /** The value of which another is but a copy. */
  originOf(value: Value | undefined): Value | undefined {
    let at = value;
    for (let maker = this.makerOf(at); maker && isCopy(maker.node); maker = this.makerOf(at)) {
      const [input] = maker.inputs;
      if (!isFloat(input)) break;
      at = input;
    }
    return at;
  }

  /** The constants that a value shows, also through nodes that only move numbers; with those it is filled with. */
  constantsBehind(value: Value | undefined): readonly Value[] {
    if (!isFloat(value)) return [];
    // Each value once, with a stack of its own: rows of nodes may be long.
    const path = [value];
    for (let at = path.at(-1); at; at = path.at(-1)) {
      const inputs = this.#movedInto(at);
      const open = inputs.filter((input) => !this.#behind.has(input));
      if (this.#behind.has(at) || open.length === 0) {
        path.pop();
        if (!this.#behind.has(at)) this.#behind.set(at, this.#shown(at, inputs));
      } else {
        path.push(...open);
      }
    }
    return this.#behind.get(value)!;
  }

  /** What a value is moved from, where its maker only moves numbers. */
  #movedInto(value: Value): readonly Value[] {
    const maker = value.constant ? undefined : this.makerOf(value);
    if (!maker || !(isMover(maker.node) || isFloatCast(maker.node)) || isFilled(maker.node)) return [];
    return maker.inputs.filter(isFloat);
  }

  #shown(value: Value, inputs: readonly Value[]): readonly Value[] {
    const maker = this.makerOf(value);
    if (value.constant || (maker && isFilled(maker.node))) return [value];
    const behind = inputs.map((input) => this.#behind.get(input)!).filter((constants) => constants.length > 0);
    return behind.length < 2 ? (behind[0] ?? []) : [...new Set(behind.flat())];
  }
}

function isFilled(node: Node): boolean {
  return opNameOf(node) === "ConstantOfShape";
}

function isCopy(node: Node): boolean {
  return isFloatCast(node) || opNameOf(node) === "Identity";
}
