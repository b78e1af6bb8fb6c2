import { attributeOf, type Graph, type Node, type Tensor, type ValueInfo } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";

/** What is known of a value before the nodes of an opset are rewritten. */
export interface DeclaredValue {
  /** As the node was then. */
  readonly producer?: Node;
  /** Which of the producer's outputs. */
  readonly index?: number;
  /** An initializer, and no input: nobody can give it another value. */
  readonly constant?: Tensor;
  readonly tensor?: Tensor;
  readonly info?: ValueInfo;
  /** The value of a name where this one is made. */
  find(name: string): DeclaredValue | undefined;
}

/** The values of a model's graphs, by scope and name. */
export class DeclaredValues {
  readonly #byScope: ReadonlyMap<Scope, ReadonlyMap<string, DeclaredValue>>;
  readonly #scopes: ReadonlyMap<Graph, Scope>;

  constructor(root: Scope, irVersion: number) {
    const scopes = Array.from(root.all());
    this.#scopes = new Map(scopes.map((scope) => [scope.graph, scope]));
    this.#byScope = new Map(scopes.map((scope) => [scope, this.#valuesOf(scope, irVersion)]));
  }

  scopeOf(graph: Graph): Scope {
    return this.#scopes.get(graph)!;
  }

  /** What a name stands for in a graph: a value of its own or of a graph around it. */
  find(scope: Scope, name: string): DeclaredValue | undefined {
    for (let at: Scope | undefined = scope; at; at = at.outer) {
      const value = this.#byScope.get(at)?.get(name);
      if (value) return value;
    }
    return undefined;
  }

  #valuesOf(scope: Scope, irVersion: number): ReadonlyMap<string, DeclaredValue> {
    const { graph } = scope;
    const values = new Map<string, DeclaredValue>();
    const find = (name: string) => this.find(scope, name);
    const add = (name: string, value: Omit<DeclaredValue, "find">) => {
      if (name !== "") values.set(name, { ...values.get(name), ...value, find });
    };
    for (const info of [...graph.valueInfos, ...graph.outputs, ...graph.inputs]) {
      // An output may be listed twice, and one of the entries say less.
      if (info.shape || !values.has(info.name)) add(info.name, { info });
    }
    // Until IR 4 every initializer had to be an input.
    const inputs = new Set(irVersion < 4 ? [] : graph.inputs.map(({ name }) => name));
    for (const tensor of graph.initializers) {
      add(tensor.name, inputs.has(tensor.name) ? { tensor } : { tensor, constant: tensor });
    }
    for (const node of graph.nodes) {
      // A rewrite puts new lists in place of a node's old ones; what is asked for is how things were.
      const producer = { ...node };
      const constant = node.opType === "Constant" ? attributeOf(node, "value", "tensor") : undefined;
      node.outputs.forEach((output, index) => {
        add(output, { producer, index, ...(constant && { tensor: constant, constant }) });
      });
    }
    return values;
  }
}
