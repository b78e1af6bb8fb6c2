import { bytesOfTensor } from "../../io/tensor-data.ts";
import type { Node } from "../../ir/graph.ts";
import type { Constant, Scope } from "../../ir/scopes.ts";
import type { ValueUsers } from "../../ir/value-users.ts";
import type { ComputedWeight } from "./find-computed-weights.ts";

/** Constants below this size in bytes, such as axes and epsilons, do not tie weights together that share them. */
const LEAST_BYTES = 256;

/** Weights in groups that share nodes or constants, which are no longer needed when all of a group are computed. */
export function groupsOf(weights: readonly ComputedWeight[]): ComputedWeight[][] {
  const parents = weights.map((_, i) => i);
  const rootOf = (i: number): number => {
    let at = i;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at]!]!;
      at = parents[at]!;
    }
    return at;
  };
  const first = new Map<object, number>();
  for (const [i, { region }] of weights.entries()) {
    const sources = [...region.sources].filter(({ tensor }) => bytesOfTensor(tensor) >= LEAST_BYTES);
    for (const part of [...sources.map(({ tensor }) => tensor), ...region.nodes.map(({ node }) => node)]) {
      const other = first.get(part);
      if (other === undefined) first.set(part, i);
      else parents[rootOf(i)] = rootOf(other);
    }
  }
  const groups = new Map<number, ComputedWeight[]>();
  for (const [i, weight] of weights.entries()) {
    const group = groups.get(rootOf(i));
    if (group) group.push(weight);
    else groups.set(rootOf(i), [weight]);
  }
  return [...groups.values()];
}

/** What nobody needs any more once weights are constants. */
export interface Freed {
  readonly nodes: ReadonlySet<Node>;
  readonly sources: readonly Constant[];
}

export function freedBy(weights: readonly ComputedWeight[], users: ValueUsers): Freed {
  const computed = new Map<Scope, Set<string>>();
  for (const { scope, name } of weights) computed.set(scope, (computed.get(scope) ?? new Set()).add(name));
  const sites = new Map(weights.flatMap(({ region }) => region.nodes.map((site) => [site.node, site] as const)));
  const nodes = new Set<Node>();
  // Users stand behind what they use; those of several regions may be found before their users, so until nothing changes.
  for (let before = -1; before < nodes.size; ) {
    before = nodes.size;
    for (const { node, scope } of [...sites.values()].reverse()) {
      const isFree = (name: string) => computed.get(scope)?.has(name) || users.areOnly(scope, name, nodes);
      if (node.outputs.every((name) => name === "" || isFree(name))) nodes.add(node);
    }
  }
  const scopes = new Map<Constant["tensor"], readonly [Constant, Scope]>();
  for (const { node, scope } of sites.values()) {
    for (const name of node.inputs) {
      const definition = name === "" ? undefined : scope.find(name);
      if (definition?.kind === "constant") scopes.set(definition.constant.tensor, [definition.constant, scope]);
    }
  }
  const free = [...scopes.values()].filter(([{ name }, scope]) => users.areOnly(scope, name, nodes));
  return { nodes, sources: free.map(([constant]) => constant) };
}
