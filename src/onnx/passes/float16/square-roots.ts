import { attributeOf, type Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Value } from "../../ir/types/type-inference.ts";
import type { Integers } from "../../ir/views.ts";
import { type ConstantNumbers, tinyIn } from "./constant-values.ts";
import { isMover } from "./half-operators.ts";
import { isFloat, type TypedNode } from "./node-order.ts";
import { isLayer, isReckoning, type ValueFlow } from "./value-flow.ts";

const words = (text: string) => new Set(text.split(/\s+/));

/** Why a node stays float32; `detail` goes with the node's name. */
export interface Reason {
  readonly reason: string;
  readonly detail?: string | undefined;
}

const SQUARES: Reason = { reason: "from squares to their root" };
const VANISHING: Reason = { reason: "what a logarithm is taken of" };

/** Square, sum up and take the root by themselves. */
const norms = words("ReduceL2 LpNormalization LpPool GlobalLpPool");

/** Give numbers next to 0 for many inputs, or beyond the largest half. */
const vanishing = words("Softmax Sigmoid Exp");

/** Take a small number for a limit, or add it. */
const limiting = words("Add Sub Sum Max Clip Where Mean");

/** What a root divides passes through nothing else. */
const MOST_STEPS = 16;

/** What is looked for behind a node: where its numbers' size decides. */
type Search = "root" | "logarithm" | "product";

interface Start {
  readonly place: TypedNode;
  readonly search: Search;
  readonly why: Reason;
  /** Whether the numbers before it are small, too. */
  readonly isSmall?: boolean;
}

/**
 * Nodes from a square to its root, its logarithm or its reciprocal: written-out norms, variances and magnitudes. Squares of
 * 256 are beyond float16, and of 1/8192 below it, where their roots are at home. Likewise from an epsilon that float16 does
 * not hold to what it keeps from 0, and from probabilities to their logarithm.
 */
export class SquareRoots {
  readonly kept = new Map<Node, Reason>();
  readonly #open: Start[] = [];

  constructor(
    private readonly flow: ValueFlow,
    private readonly numbers: ConstantNumbers,
    private readonly integers: Integers,
  ) {
    const epsilons: Start[] = [];
    for (const place of flow.places) {
      const epsilon = this.#epsilonOf(place);
      if (epsilon) epsilons.push({ place, search: "root", why: epsilon, isSmall: true });
      // bfloat16 has the range of float32.
      if (numbers.dtype === "bfloat16") continue;
      if (this.#isSquare(place)) this.#open.push({ place, search: "root", why: SQUARES });
      if (vanishing.has(opNameOf(place.node))) this.#open.push({ place, search: "logarithm", why: VANISHING });
      if (norms.has(opNameOf(place.node)) && attributeOf(place.node, "p", "int") !== 1) this.#keep(place, SQUARES);
    }
    // Squares first: their roots have epsilons of their own.
    this.#open.push(...epsilons);
    const started = new Set<string>();
    const ids = new Map(flow.places.map(({ node }, i) => [node, i]));
    for (let start = this.#open.shift(); start; start = this.#open.shift()) {
      const key = `${ids.get(start.place.node)} ${start.search}`;
      if (!started.has(key)) this.#follow(start);
      started.add(key);
    }
  }

  /** Looks for roots behind a node, and keeps what is on the way. */
  #follow({ place: start, search, why, isSmall = false }: Start): void {
    const before = new Map<TypedNode, TypedNode[]>([[start, []]]);
    const ends: TypedNode[] = [];
    let edge = [start];
    for (let step = 0; step < MOST_STEPS && edge.length > 0; step++) {
      const next: TypedNode[] = [];
      for (const place of edge) {
        for (const { node, input } of this.flow.takersOf(place)) {
          const taker = this.flow.placeOf(node);
          const isEnd = this.#isEnd(taker, input, search);
          if (!isEnd && !this.#isPassed(taker, input, search)) continue;
          const known = before.get(taker);
          if (known) known.push(place);
          else before.set(taker, [place]);
          if (isEnd) ends.push(taker);
          else if (!known) next.push(taker);
        }
      }
      edge = next;
    }
    const way = new Set<TypedNode>(ends);
    for (const place of way) for (const each of before.get(place)!) way.add(each);
    for (const place of way) this.#keep(place, why);
    for (const end of ends) this.#goOn(end, why);
    if (ends.length === 0) return;
    // Where no root makes it larger again, the number itself is the reason.
    if (isSmall && ends.some(({ node }) => opNameOf(node) === "Log")) this.kept.set(start.node, why);
    if (search === "root") this.#keepMean(start);
    if (isSmall) for (const place of way) if (!ends.includes(place)) this.#keepSmall(place, why);
  }

  /** What behind a root is as large as its reciprocal. */
  #goOn(place: TypedNode, why: Reason): void {
    const { node, inputs } = place;
    const op = opNameOf(node);
    if (op === "Sqrt") this.#open.push({ place, search: "root", why });
    const isReciprocal =
      op === "Reciprocal" || op === "Pow" || (op === "Div" && isFloat(inputs[0]) && inputs[0].constant);
    if (isReciprocal) this.#open.push({ place, search: "product", why });
  }

  #keep({ node }: TypedNode, why: Reason): void {
    if (!this.kept.has(node)) this.kept.set(node, why);
  }

  /** A mean that is taken from what is squared, or squared itself: what is left of it is small. */
  #keepMean({ inputs }: TypedNode): void {
    const maker = this.flow.makerOf(this.flow.originOf(inputs[0]));
    if (!maker) return;
    const isMean = (place: TypedNode | undefined) => place && opNameOf(place.node) === "ReduceMean";
    if (isMean(maker)) this.#keep(maker, SQUARES);
    if (opNameOf(maker.node) !== "Sub") return;
    const mean = this.flow.makerOf(this.flow.originOf(maker.inputs[1]));
    if (!mean || !isMean(mean)) return;
    this.#keep(maker, SQUARES);
    this.#keep(mean, SQUARES);
  }

  /** What small numbers are made of, up to the layer that gives them or a square, whose root is at home in float16. */
  #keepSmall(place: TypedNode, why: Reason): void {
    const seen = new Set<TypedNode>([place]);
    const open = [place];
    while (open.length > 0 && seen.size < MOST_STEPS) {
      const at = open.pop()!;
      if (this.#isSquare(at)) continue;
      for (const input of at.inputs) {
        const maker = this.flow.makerOf(input);
        if (!maker || seen.has(maker)) continue;
        const isSource = vanishing.has(opNameOf(maker.node));
        if (!isSource && !isReckoning(maker.node)) continue;
        seen.add(maker);
        this.#keep(maker, why);
        if (!isSource) open.push(maker);
      }
    }
  }

  #isSquare({ node, inputs }: TypedNode): boolean {
    const op = opNameOf(node);
    if (op === "ReduceSumSquare" || op === "ReduceL2") return true;
    const [a, b] = inputs;
    if (!isFloat(a) || a.constant) return false;
    if (op === "Mul") return this.flow.originOf(a) === this.flow.originOf(b);
    const power = op === "Pow" ? this.#numberAt(b) : undefined;
    return power !== undefined && power >= 2 && Number.isInteger(power);
  }

  /** Whether a node takes at an input what must not be near 0, and is what is looked for. */
  #isEnd({ node, inputs }: TypedNode, input: number, search: Search): boolean {
    const op = opNameOf(node);
    if (search === "product") return op === "Mul";
    if (op === "Log") return true;
    if (search === "logarithm") return false;
    if (op === "Pow") {
      const power = this.#numberAt(inputs[1]);
      return input === 0 && (power === undefined || power < 0 || !Number.isInteger(power));
    }
    return op === "Sqrt" || op === "Reciprocal" || (op === "Div" && input === 1);
  }

  #isPassed(place: TypedNode, input: number, search: Search): boolean {
    const { node } = place;
    const op = opNameOf(node);
    if (isMover(node) || op === "Cast") return place.outputs.some(isFloat);
    if (search === "product" || this.#isSquare(place)) return false;
    if (op === "Pow" || op === "Exp") return false;
    if (isLayer(node)) return this.#isFilter(place);
    return isReckoning(node) && !(op === "Clip" && input > 0);
  }

  /** A layer that adds up with weights none of which is negative: frequencies to bands. */
  #isFilter({ inputs }: TypedNode): boolean {
    return inputs.slice(0, 2).some((value) => {
      return this.flow.constantsBehind(value).some((constant) => this.numbers.at(constant)?.hasNegative === false);
    });
  }

  /** A constant that halves hold badly or not at all, and that keeps others from 0. */
  #epsilonOf({ node, inputs }: TypedNode): Reason | undefined {
    if (!limiting.has(opNameOf(node))) return undefined;
    for (const value of inputs.flatMap((input) => this.flow.constantsBehind(input))) {
      const { largest = 0, values } = this.numbers.at(value) ?? {};
      if (!(largest > 0 && largest < tinyIn(this.numbers.dtype))) continue;
      const { dtype } = this.numbers;
      return {
        reason: `too small for ${dtype} where it decides the result`,
        detail: `${value.name} is ${values?.length === 1 ? shown(values[0]!) : `up to ${shown(largest)}`}`,
      };
    }
    return undefined;
  }

  #numberAt(value: Value | undefined): number | undefined {
    const constant = value?.constant ?? this.flow.originOf(value)?.constant;
    if (!constant) return this.#castNumber(value);
    const { values } = this.numbers.of(constant.tensor) ?? {};
    const list = values ?? this.integers.get(constant.tensor);
    return list?.length === 1 ? list[0] : undefined;
  }

  /** A whole number that is cast. */
  #castNumber(value: Value | undefined): number | undefined {
    const maker = this.flow.makerOf(value);
    const [input] = maker && opNameOf(maker.node) === "Cast" ? maker.inputs : [];
    const list = input?.constant && this.integers.get(input.constant.tensor);
    return list?.length === 1 ? list[0] : undefined;
  }
}

/** A float32 with the digits that tell it from others. */
export function shown(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}
