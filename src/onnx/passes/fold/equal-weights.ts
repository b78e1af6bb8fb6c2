import type { Node, Tensor } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { ValueUsers } from "../../ir/value-users.ts";
import type { GraphEdits } from "../graph-edits.ts";
import type { ComputedWeight } from "./find-computed-weights.ts";

/** A computed value, and the weights that all have it. */
export interface EqualWeights {
  readonly tensor: Tensor;
  readonly weights: readonly ComputedWeight[];
}

/** Branches of an If often compute the same weight, each for itself: those of the same bytes become one. */
export function equalWeights(
  weights: readonly ComputedWeight[],
  tensors: ReadonlyMap<ComputedWeight, Tensor>,
): EqualWeights[] {
  if (weights.length === 1) return [{ tensor: tensors.get(weights[0]!)!, weights }];
  const byDigest = new Map<string, { tensor: Tensor; weights: ComputedWeight[] }[]>();
  for (const weight of weights) {
    const tensor = tensors.get(weight)!;
    const key = `${tensor.shape.join()} ${digestOf(tensor)}`;
    const there = byDigest.get(key) ?? [];
    byDigest.set(key, there);
    const equal = there.find((each) => areEqual(each.tensor, tensor));
    if (equal) equal.weights.push(weight);
    else there.push({ tensor, weights: [weight] });
  }
  return [...byDigest.values()].flat();
}

/** A number that few other tensors have (FNV-1a): there may be thousands of one shape. */
function digestOf({ data }: Tensor): number {
  let digest = 0x811c9dc5;
  if (data.kind === "bytes") for (const byte of data.bytes) digest = Math.imul(digest ^ byte, 0x01000193);
  return digest;
}

function areEqual({ data: a }: Tensor, { data: b }: Tensor): boolean {
  if (a.kind !== "bytes" || b.kind !== "bytes" || a.bytes.length !== b.bytes.length) return false;
  return a.bytes.every((byte, i) => byte === b.bytes[i]);
}

/** Puts a tensor where all of the weights can be seen from, and has the nodes that took them take it. */
export function placeOnce({ tensor, weights }: EqualWeights, freed: ReadonlySet<Node>, renames: Renames): void {
  const [first, ...others] = weights;
  const home = others.reduce((scope, weight) => commonScope(scope, weight.scope), first!.scope);
  const name = home === first!.scope ? tensor.name : renames.fresh(tensor.name);
  renames.edits.addTensors(home.graph, [{ ...tensor, name }]);
  for (const weight of weights) if (weight.name !== name) renames.rename(weight, name, freed);
}

function commonScope(a: Scope, b: Scope): Scope {
  const around = new Set<Scope>();
  for (let scope: Scope | undefined = a; scope; scope = scope.outer) around.add(scope);
  let common = b;
  while (!around.has(common)) common = common.outer!;
  return common;
}

/** Inputs of nodes that are to have other names; each node is replaced once. */
export class Renames {
  readonly #nodes = new Map<Node, Map<string, string>>();

  constructor(
    readonly edits: GraphEdits,
    private readonly users: ValueUsers,
    readonly fresh: (base: string) => string,
  ) {}

  rename({ scope, name }: ComputedWeight, to: string, freed: ReadonlySet<Node>): void {
    for (const { node } of this.users.of(scope, name)) {
      if (!freed.has(node)) this.#nodes.set(node, (this.#nodes.get(node) ?? new Map()).set(name, to));
    }
  }

  apply(): void {
    for (const [node, names] of this.#nodes) {
      this.edits.replace(node, [{ ...node, inputs: node.inputs.map((name) => names.get(name) ?? name) }]);
    }
  }
}
