import { FormatError } from "../../errors.ts";
import { attributeOf, type Graph, type Node, type Tensor, type ValueInfo } from "./graph.ts";

/** A constant of a graph: an initializer, or what a Constant node gives. */
export interface Constant {
  readonly graph: Graph;
  readonly tensor: Tensor;
  /** The value's name; a Constant node's tensor may have another. */
  readonly name: string;
  /** The Constant node, where it is one. */
  readonly node?: Node | undefined;
}

/** What a name stands for. */
export type Definition =
  | { readonly kind: "constant"; readonly constant: Constant }
  | { readonly kind: "node"; readonly node: Node; readonly scope: Scope }
  | { readonly kind: "input"; readonly value: ValueInfo }
  | { readonly kind: "sparse" };

/** A node, and the names it sees. */
export interface NodeSite {
  readonly node: Node;
  /** Of the graph that it stands in. */
  readonly scope: Scope;
}

/** More nodes in a row than models show a value through; a circle has no end. */
const MOST_STEPS = 64;

/** The names of a graph. Those of the graphs around it can be used, too. */
export class Scope {
  readonly #definitions = new Map<string, Definition>();
  readonly inner: Scope[] = [];

  /** @throws FormatError for a name that is given twice */
  constructor(
    readonly file: string,
    readonly graph: Graph,
    readonly outer?: Scope,
  ) {
    for (const tensor of graph.initializers) {
      this.#define(tensor.name, { kind: "constant", constant: { graph, tensor, name: tensor.name } }, "initializers");
    }
    for (const { name } of graph.sparse) this.#define(name, { kind: "sparse" }, "initializers");
    // An input that goes by an initializer's name has that for its default.
    for (const value of graph.inputs) {
      const there = this.#definitions.get(value.name)?.kind;
      if (there !== "constant" && there !== "sparse") this.#define(value.name, { kind: "input", value }, "inputs");
    }
    for (const node of graph.nodes) {
      const constant = constantFrom(graph, node);
      const definition: Definition = constant ? { kind: "constant", constant } : { kind: "node", node, scope: this };
      for (const output of node.outputs) if (output !== "") this.#define(output, definition, "values");
      for (const { graphs } of node.attributes) for (const g of graphs) this.inner.push(new Scope(file, g, this));
    }
  }

  #define(name: string, definition: Definition, what: string): void {
    if (this.#definitions.has(name)) {
      throw new FormatError(this.file, `has two ${what} of the name ${JSON.stringify(name)}`);
    }
    this.#definitions.set(name, definition);
  }

  /** What a name stands for here. */
  find(name: string): Definition | undefined {
    return this.#definitions.get(name) ?? this.outer?.find(name);
  }

  /** The scope that a name is defined in, this one or one around it. */
  home(name: string): Scope | undefined {
    return this.#definitions.has(name) ? this : this.outer?.home(name);
  }

  /** What is behind a name along the first inputs of nodes that are passed over: its name, and what that stands for. */
  behind(name: string, passes: (node: Node) => boolean): [name: string, definition: Definition | undefined] {
    let [at, definition] = [name, this.find(name)];
    for (let i = 0; definition?.kind === "node" && passes(definition.node) && i < MOST_STEPS; i++) {
      const { node, scope } = definition;
      at = node.inputs[0] ?? "";
      definition = scope.find(at);
    }
    return [at, definition];
  }

  /** The same for a constant: its tensor. */
  constantBehind(name: string, passes: (node: Node) => boolean): Tensor | undefined {
    const [, definition] = this.behind(name, passes);
    return definition?.kind === "constant" ? definition.constant.tensor : undefined;
  }

  /** Names that stand for something here and for something else in a graph around: ONNX forbids it, runtimes do not mind. */
  *shadowing(): Generator<string> {
    for (const scope of this.all()) {
      for (const name of scope.#definitions.keys()) if (scope.outer?.find(name)) yield name;
    }
  }

  /** This scope and those within. */
  *all(): Generator<Scope> {
    yield this;
    for (const scope of this.inner) yield* scope.all();
  }
}

function constantFrom(graph: Graph, node: Node): Constant | undefined {
  if (node.opType !== "Constant" || node.domain !== "") return undefined;
  const tensor = attributeOf(node, "value", "tensor");
  const [name] = node.outputs;
  return tensor && name !== undefined ? { graph, tensor, name, node } : undefined;
}

/**
 * Every input of every node is made by something.
 *
 * @throws FormatError naming the node
 */
export function checkInputs(root: Scope): void {
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      for (const input of node.inputs) {
        if (input !== "" && !scope.find(input)) {
          const who = `${JSON.stringify(node.opType).slice(1, -1)} node ${JSON.stringify(node.name || (node.outputs[0] ?? ""))}`;
          throw new FormatError(root.file, `${who} takes ${JSON.stringify(input)}, which nothing makes`);
        }
      }
    }
    for (const { name } of scope.graph.outputs) {
      if (!scope.find(name)) {
        throw new FormatError(root.file, `its graph's output ${JSON.stringify(name)} is made by nothing`);
      }
    }
  }
}
