import type { Node, Tensor } from "../../ir/graph.ts";
import type { Constant, Definition, NodeSite, Scope } from "../../ir/scopes.ts";

/** A value that only constants go into: the nodes it takes, in an order in which they can be computed, its own the last. */
export interface ConstantRegion {
  readonly nodes: readonly NodeSite[];
  readonly sources: ReadonlySet<Constant>;
}

/** Nodes of all regions together: weights that are made of each other, one after the other, have their nodes in common. */
const MOST_NODES = 2 ** 18;

/** Why a value has no region though it is constant. */
export const TOO_MANY = `more than ${MOST_NODES} nodes would have to be computed`;

/** Tells which nodes have nothing but constants before them. */
export class ConstantRegions {
  readonly #constant = new Map<Node, boolean>();
  #nodes = 0;

  /** @param overridable initializers that a caller may replace, as they are inputs too */
  constructor(private readonly overridable: ReadonlySet<Tensor>) {}

  /** Whether every run finds the same value under a name. */
  isConstant(name: string, scope: Scope): boolean {
    return this.#isConstant(scope.find(name));
  }

  /** What a constant value is made of by nodes; undefined where something before it is not constant. */
  regionOf(name: string, scope: Scope): ConstantRegion | typeof TOO_MANY | undefined {
    const definition = scope.find(name);
    if (definition?.kind !== "node" || !this.#isConstant(definition)) return undefined;
    const nodes: NodeSite[] = [];
    const sources = new Set<Constant>();
    const open = new Set<Node>();
    const done = new Set<Node>();
    const path: NodeSite[] = [definition];
    for (let site = path.at(-1); site; site = path.at(-1)) {
      if (this.#nodes >= MOST_NODES) return TOO_MANY;
      const { node } = site;
      if (done.has(node) || open.has(node)) {
        path.pop();
        if (!done.has(node)) {
          nodes.push(site);
          this.#nodes++;
        }
        done.add(node);
        continue;
      }
      open.add(node);
      for (const before of inputsOf(site)) {
        if (before?.kind === "constant") sources.add(before.constant);
        else if (before?.kind === "node" && !done.has(before.node)) path.push(before);
      }
    }
    return { nodes, sources };
  }

  #isConstant(definition: Definition | undefined): boolean {
    if (definition?.kind === "constant") return !this.overridable.has(definition.constant.tensor);
    if (definition?.kind !== "node") return false;
    // With a stack of its own: chains of nodes are longer than calls may be nested.
    const path: NodeSite[] = [definition];
    for (let site = path.at(-1); site; site = path.at(-1)) {
      const { node } = site;
      if (this.#constant.has(node)) {
        path.pop();
        continue;
      }
      const before = isRepeatable(node) ? inputsOf(site) : [undefined];
      const open = before.flatMap((each) => (each?.kind === "node" && !this.#constant.has(each.node) ? [each] : []));
      const isVarying = before.some((each) => each?.kind !== "node" && !this.#isConstant(each));
      if (!isVarying && open.length > 0) {
        path.push(...open);
      } else {
        path.pop();
        const isMade = before.every((each) => each?.kind !== "node" || this.#constant.get(each.node));
        this.#constant.set(node, !isVarying && isMade);
      }
    }
    return this.#constant.get(definition.node)!;
  }
}

/** Constant nodes whose value is not a tensor. */
export function isConstantNode({ domain, opType }: Node): boolean {
  return domain === "" && opType === "Constant";
}

/** Operators that give other numbers each time, that give numbers of elements, and that work on codes. */
const others = /^(Random|(Bernoulli|Multinomial|Dropout|NonZero|ArgMax|ArgMin)$)|Quantize|QLinear|Dequantize/;

/** Whether a node gives the same for the same inputs, whether it can be computed here or not. */
function isRepeatable({ domain, opType, attributes }: Node): boolean {
  return domain === "" && !others.test(opType) && attributes.every(({ graphs }) => graphs.length === 0);
}

function inputsOf({ node, scope }: NodeSite): (Definition | undefined)[] {
  return node.inputs.filter((name) => name !== "").map((name) => scope.find(name));
}
