import { attributeOf, type Graph, type Model, type Node, type Tensor, type ValueInfo } from "../../ir/graph.ts";

/** What a name stands for. */
export interface Value {
  /** As the node was when the scope was made. */
  readonly producer?: Node;
  /** Which of the producer's outputs. */
  readonly index?: number;
  /** An initializer, and no input: nobody can give it another value. */
  readonly constant?: Tensor;
  readonly tensor?: Tensor;
  readonly info?: ValueInfo;
  readonly scope: Scope;
}

/** The values that nodes of a graph can see: its own and those of the graphs around it. */
export class Scope {
  readonly #values = new Map<string, Value>();

  constructor(
    readonly graph: Graph,
    readonly around: Scope | undefined,
    irVersion: number,
  ) {
    const add = (name: string, value: Omit<Value, "scope">) => {
      if (name !== "") this.#values.set(name, { ...this.#values.get(name), ...value, scope: this });
    };
    for (const info of [...graph.valueInfos, ...graph.outputs, ...graph.inputs]) {
      // An output may be listed twice, and one of the entries say less.
      if (info.shape || !this.#values.has(info.name)) add(info.name, { info });
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
  }

  find(name: string): Value | undefined {
    return this.#values.get(name) ?? this.around?.find(name);
  }
}

/** A scope for each graph of a model. */
export function scopesOf(model: Model): ReadonlyMap<Graph, Scope> {
  const scopes = new Map<Graph, Scope>();
  const visit = (graph: Graph, around: Scope | undefined) => {
    const scope = new Scope(graph, around, model.irVersion);
    scopes.set(graph, scope);
    for (const { attributes } of graph.nodes) {
      for (const { graphs } of attributes) for (const inner of graphs) visit(inner, scope);
    }
  };
  visit(model.graph, undefined);
  return scopes;
}
