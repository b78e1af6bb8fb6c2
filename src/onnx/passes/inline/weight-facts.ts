import { attributeOf, type Graph, type Node, type Tensor } from "../../ir/graph.ts";
import { isWeightInput } from "../../ir/operators.ts";
import { isCodesInput } from "../../weights/find-quantized.ts";

/** What a value is computed from, besides constants: undefined where only a run tells. */
export type Facts = ConstantFacts | undefined;

export interface ConstantFacts {
  /** The inputs of the function it stands in. */
  readonly from: ReadonlySet<number>;
  /** Whether floats or codes are among the constants. */
  readonly holds: boolean;
}

/** What holds of all calls of a function. */
export interface FunctionFacts {
  readonly outputs: readonly Facts[];
  /** What weights inside follow from: where these inputs are constant there is a weight. */
  readonly weights: readonly ConstantFacts[];
}

const NONE: ReadonlySet<number> = new Set();
const ABSENT: ConstantFacts = { from: NONE, holds: false };

/** A weight that follows from more inputs is none that anybody has seen. */
const MOST_INPUTS = 64;

/** Values of a graph and those around it. */
export class FactsScope {
  readonly #facts = new Map<string, Facts>();
  readonly #makers = new Map<string, Node>();

  constructor(readonly outer?: FactsScope) {}

  set(name: string, facts: Facts, maker?: Node): void {
    if (name === "") return;
    this.#facts.set(name, facts);
    if (maker) this.#makers.set(name, maker);
  }

  find(name: string): Facts {
    if (name === "") return ABSENT;
    return this.#facts.has(name) ? this.#facts.get(name) : this.outer?.find(name);
  }

  /** The node that makes a value, and where it stands. */
  makerOf(name: string): { readonly node: Node; readonly scope: FactsScope } | undefined {
    if (!this.#facts.has(name)) return this.outer?.makerOf(name);
    const node = this.#makers.get(name);
    return node && { node, scope: this };
  }

  static of({ initializers, inputs, sparse }: Graph, outer?: FactsScope): FactsScope {
    const scope = new FactsScope(outer);
    for (const { name } of [...inputs, ...sparse]) scope.set(name, undefined);
    for (const tensor of initializers) scope.set(tensor.name, { from: NONE, holds: isWeightType(tensor) });
    return scope;
  }
}

/** A node that takes a weight, or calls a function in which there is one. */
export interface WeightSite {
  readonly node: Node;
  readonly scope: FactsScope;
  readonly facts: ConstantFacts;
  /** The node's inputs that the weight follows from. */
  readonly inputs: Iterable<number>;
  readonly isCall: boolean;
}

/**
 * Follows constants along nodes, and those of the graphs within them.
 *
 * @param factsOf what is known of the function that a node calls: "unknown" of one that cannot be followed, undefined of
 *   nodes that call none
 * @param found is told of each weight
 */
export function follow(
  nodes: readonly Node[],
  scope: FactsScope,
  factsOf: (node: Node) => FunctionFacts | "unknown" | undefined,
  found: (site: WeightSite) => void,
): void {
  const visit = (list: readonly Node[], within: FactsScope) => {
    for (const node of list) {
      const inputs = node.inputs.map((name) => within.find(name));
      const called = factsOf(node);
      if (called === undefined) {
        inputs.forEach((facts, i) => {
          if (facts && takesWeight(node, i)) found({ node, scope: within, facts, inputs: [i], isCall: false });
        });
      } else if (called !== "unknown") {
        for (const weight of called.weights) {
          const facts = substituted(weight, inputs);
          if (facts) found({ node, scope: within, facts, inputs: weight.from, isCall: true });
        }
      }
      const made = called === undefined ? madeBy(node, inputs) : undefined;
      node.outputs.forEach((name, i) => {
        const given = called && called !== "unknown" ? called.outputs[i] : undefined;
        within.set(name, given ? substituted(given, inputs) : made, node);
      });
      for (const { graphs } of node.attributes) {
        for (const graph of graphs) visit(graph.nodes, FactsScope.of(graph, within));
      }
    }
  };
  visit(nodes, scope);
}

/** Facts of a function's value where the inputs are these. */
function substituted({ from, holds }: ConstantFacts, inputs: readonly Facts[]): Facts {
  return union(
    Array.from(from, (i) => (i < inputs.length ? inputs[i] : ABSENT)),
    holds,
  );
}

function madeBy(node: Node, inputs: readonly Facts[]): Facts {
  if (node.opType === "Constant" && node.domain === "") return { from: NONE, holds: holdsFloats(node) };
  const hasGraph = node.attributes.some(({ graphs }) => graphs.length > 0);
  return hasGraph || inputs.length === 0 ? undefined : union(inputs, false);
}

function union(parts: readonly Facts[], holds: boolean): Facts {
  const from = new Set<number>();
  let any = holds;
  for (const part of parts) {
    if (!part) return undefined;
    any ||= part.holds;
    for (const input of part.from) from.add(input);
    if (from.size > MOST_INPUTS) return undefined;
  }
  return { from: from.size === 0 ? NONE : from, holds: any };
}

/** Whether an input of a node is a weight, be it of floats or of codes. */
function takesWeight(node: Node, input: number): boolean {
  return isWeightInput(node, input) || isCodesInput(node, input);
}

/** A value that the calling node gives may be of any type. */
function holdsFloats(node: Node): boolean {
  const tensor = attributeOf(node, "value", "tensor");
  if (tensor) return isWeightType(tensor);
  return node.attributes.some(({ name, ref }) => name.startsWith("value_float") || ref !== undefined);
}

const others: ReadonlySet<string | undefined> = new Set(["int32", "int64", "uint32", "uint64", "bool", "string"]);

/** Of floats or codes, as shapes and indices are not. */
function isWeightType({ type }: Tensor): boolean {
  return !others.has(type);
}

/** More weights of different inputs are not told apart. */
const MOST_WEIGHTS = 64;

/** The weights of one function, each once: of one that holds a weight whatever it is given, that alone. */
export class FoundWeights {
  readonly #byInputs = new Map<string, ConstantFacts>();

  add({ from, holds }: ConstantFacts): void {
    if (from.size === 0 && !holds) return;
    const key = `${holds}:${[...from].sort((a, b) => a - b).join()}`;
    if (this.#byInputs.size < MOST_WEIGHTS || (from.size === 0 && holds)) this.#byInputs.set(key, { from, holds });
  }

  get all(): readonly ConstantFacts[] {
    const weights = [...this.#byInputs.values()];
    const held = weights.find(({ from }) => from.size === 0);
    return held ? [held] : weights;
  }
}
