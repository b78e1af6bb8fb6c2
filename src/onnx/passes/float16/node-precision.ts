import type { HalfDType } from "../../../dtypes.ts";
import type { Model, Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { Value, Values } from "../../ir/types/type-inference.ts";
import type { Integers } from "../../ir/views.ts";
import type { ElementType } from "../../proto/schema.ts";
import type { ConstantNumbers } from "./constant-values.ts";
import { anglesIn, isFilledOtherwise, isLarge, isMadeOfNone, isQuantizedNext, quantizedIn } from "./float32-islands.ts";
import { fixedOf, halfSince, isControl, isFailing, isKnown, isMover, takesAny } from "./half-operators.ts";
import { integersIn } from "./integer-values.ts";
import { isFloat, isPending, type TypedNode, typedNodesOf } from "./node-order.ts";
import { NumberRange } from "./number-range.ts";
import { type Reason, SquareRoots } from "./square-roots.ts";
import { ValueFlow } from "./value-flow.ts";

/** What a value that was float32 is, or is wanted as. */
export type Precision = "half" | "float";

export interface RoleOptions {
  readonly dtype: HalfDType;
  /** Of the model's own inputs and outputs. */
  readonly io: Precision;
  /** Why a node is to stay float32, where someone options so. */
  readonly whyUnwanted: (node: Node) => string | undefined;
  readonly numbers: ConstantNumbers;
  readonly integers: Integers;
}

/** Nodes that must stay float32 for what they do. */
interface Islands {
  readonly quantized: ReadonlySet<Node>;
  readonly angles: ReadonlySet<Node>;
  readonly roots: SquareRoots;
}

/** Which nodes run in half precision, and what they take and give. */
export class Roles {
  readonly places: readonly TypedNode[];
  /** Nodes that stay float32, and why; a reason of "" is that of those that only stand between such nodes. */
  readonly kept = new Map<Node, Reason>();
  /** Where constants' numbers are out of range. */
  readonly range: NumberRange;
  readonly #byNode: ReadonlyMap<Node, TypedNode>;
  readonly #owners = new Map<Scope, TypedNode>();
  readonly #opset: number;
  readonly #integers: ReadonlySet<Node>;

  constructor(
    private readonly model: Model,
    root: Scope,
    values: Values,
    readonly options: RoleOptions,
  ) {
    this.#opset = model.opsets.get("") ?? 0;
    this.places = typedNodesOf(root, values);
    this.#byNode = new Map(this.places.map((place) => [place.node, place]));
    this.#integers = integersIn(this.places);
    const flow = new ValueFlow(this.places);
    this.range = new NumberRange(flow, options.numbers);
    const roots = new SquareRoots(flow, options.numbers, options.integers);
    const islands = { quantized: quantizedIn(this.places), angles: anglesIn(this.places), roots };
    for (const place of this.places) {
      for (const { graphs } of place.node.attributes) {
        for (const graph of graphs) this.#owners.set(values.scopeOf(graph), place);
      }
      const reason = this.#reasonFor(place, islands);
      if (reason !== undefined) this.kept.set(place.node, typeof reason === "string" ? { reason } : reason);
    }
    this.#keepBetween();
  }

  placeOf(node: Node): TypedNode {
    return this.#byNode.get(node)!;
  }

  /** What the graph that a value is of has it as, where the value is one of its inputs or outputs. */
  interfaceOf(scope: Scope): Precision {
    const owner = this.#owners.get(scope);
    if (!owner) return this.options.io;
    return isControl(owner.node) && !this.kept.has(owner.node) ? "half" : "float";
  }

  /** What a node takes a float as; "any" as it is. */
  takes({ node }: Pick<TypedNode, "node">, input: number): Precision | "any" {
    if (takesAny(node)) return this.#integers.has(node) ? "float" : "any";
    return this.kept.has(node) || fixedOf(node).inputs?.includes(input) ? "float" : "half";
  }

  /** What a node gives a float as; "either" where it can give both. */
  gives({ node }: TypedNode, output: number): Precision | "either" {
    if (isCast(node)) return "either";
    return this.kept.has(node) || fixedOf(node).outputs?.includes(output) ? "float" : "half";
  }

  #reasonFor(place: TypedNode, { quantized, angles, roots }: Islands): Reason | string | undefined {
    const { node, owner, inputs, outputs } = place;
    if (owner && this.#isClosed(owner)) return `in a graph of ${opNameOf(owner.node)}`;
    if (outputs.some((value) => value?.constant)) return undefined;
    const isConcerned =
      [...inputs, ...outputs].some(isFloat) || node.attributes.some(({ graphs }) => graphs.length > 0);
    if (!isConcerned || isMixed(place, this.options.dtype) || takesAny(node)) return undefined;
    const reason = this.#obstacleTo(place);
    if (reason !== undefined) return reason;
    const unwanted = this.options.whyUnwanted(node);
    if (unwanted !== undefined) return unwanted;
    if (quantized.has(node)) return "works on quantized values";
    if (angles.has(node)) return "reckons angles";
    if (this.#integers.has(node)) return "numbers that become integers";
    return this.range.kept.get(node) ?? roots.kept.get(node);
  }

  /** Whether what passes into a node's graphs is not known, or that of a node around it. */
  #isClosed({ node, owner }: TypedNode): boolean {
    return (!isControl(node) && this.kept.has(node)) || (owner !== undefined && this.#isClosed(owner));
  }

  #obstacleTo(place: TypedNode): string | undefined {
    const { node, inputs } = place;
    const { dtype } = this.options;
    const { functions } = this.model;
    if (functions.some(({ domain, name }) => domain === node.domain && name === node.opType)) {
      return "a function of the model's own";
    }
    if (!isKnown(node)) return whyNever(node, dtype);
    const since = halfSince(node, dtype);
    if (since === Number.POSITIVE_INFINITY) return `has no ${dtype}`;
    if (since > this.#opset) return `has ${dtype} from opset ${since} on`;
    if (isFailing(node)) return `ONNX Runtime does not run it in ${dtype}`;
    if (isMadeOfNone(place)) return noKernel(dtype);
    if (isFilledOtherwise(node)) return "is filled with a value that is not float32";
    const isUntold = !isControl(node) && node.inputs.some((name, i) => name !== "" && inputs[i]?.type === undefined);
    return isUntold ? "takes something of a type that cannot be told" : undefined;
  }

  /** Nodes that only move numbers stay float32 where those before and behind them are. */
  #keepBetween(): void {
    const candidates = this.places.filter(
      (place) =>
        !this.kept.has(place.node) &&
        place.outputs.some(isFloat) &&
        (isMover(place.node) || isQuantizedNext(place)) &&
        !isMixed(place, this.options.dtype),
    );
    const able = new Set<Node>();
    for (const place of candidates) {
      if (place.inputs.every((value) => !isFloat(value) || this.#canStay(value, able))) able.add(place.node);
    }
    for (const place of candidates.toReversed()) {
      if (able.has(place.node) && place.outputs.every((value) => !isFloat(value) || this.#mayStay(value))) {
        this.kept.set(place.node, { reason: "" });
      }
    }
  }

  #canStay(value: Value, able: ReadonlySet<Node>): boolean {
    const { maker, constant, scope } = value;
    if (constant) return !isLarge(value);
    if (value.isSparse || value.fallback) return true;
    if (!maker) return this.interfaceOf(scope) === "float";
    return this.kept.has(maker) || able.has(maker) || isCast(maker) || !!fixedOf(maker).outputs?.includes(value.output);
  }

  #mayStay({ takers, isGiven, scope }: Value): boolean {
    if (isGiven && this.interfaceOf(scope) === "half") return false;
    return takers.every((taker) => this.takes(taker, taker.input) !== "half");
  }
}

export function isCast(node: Node): boolean {
  return node.opType === "Cast" && node.domain === "";
}

/** Whether a node was half already but for some inputs: what is being quantized with halves for scales. */
function isMixed({ inputs }: TypedNode, dtype: HalfDType): boolean {
  return inputs.some(isFloat) && inputs.some((value) => isPending(value) && value?.type === (dtype as ElementType));
}

function noKernel(dtype: HalfDType): string {
  return `ONNX Runtime makes no ${dtype} there`;
}

/** ONNX Runtime casts for nodes that take halves, not for those that only make them. */
const makers = new Set([
  "RandomNormal",
  "RandomUniform",
  "HannWindow",
  "HammingWindow",
  "BlackmanWindow",
  "MelWeightMatrix",
]);

function whyNever({ domain, opType }: Node, dtype: HalfDType): string {
  if (domain === "" && makers.has(opType)) return noKernel(dtype);
  return domain === "" || domain === "ai.onnx.ml" ? `has no ${dtype}` : `nothing is known of it in ${dtype}`;
}
