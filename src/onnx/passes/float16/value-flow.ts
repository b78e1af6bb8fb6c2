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
    const found = new Set<Value>();
    const seen = new Set<Value>();
    const open = [value];
    while (open.length > 0) {
      const at = open.pop();
      if (!isFloat(at) || seen.has(at)) continue;
      seen.add(at);
      const maker = this.makerOf(at);
      if (at.constant || (maker && opNameOf(maker.node) === "ConstantOfShape")) found.add(at);
      else if (maker && (isMover(maker.node) || isFloatCast(maker.node))) open.push(...maker.inputs);
    }
    return [...found];
  }
}

function isCopy(node: Node): boolean {
  return isFloatCast(node) || opNameOf(node) === "Identity";
}
