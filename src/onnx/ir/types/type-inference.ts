import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { ElementType } from "../../proto/schema.ts";
import { attributeOf, type Graph, makeTensor, type Node, type Tensor } from "../graph.ts";
import { opNameOf } from "../operators.ts";
import type { Constant, Scope } from "../scopes.ts";
import { crossings } from "./subgraph-values.ts";
import { isOfOneType, outputRule } from "./type-rules.ts";

/** A node that takes a value, where it stands, and at which input. */
export interface Taker {
  readonly node: Node;
  readonly scope: Scope;
  readonly input: number;
}

/** What a name stands for, and the type that it has as the model was read. */
export interface Value {
  readonly name: string;
  readonly scope: Scope;
  /** Undefined where it cannot be told, and of what is no tensor. */
  type: ElementType | undefined;
  readonly constant?: Constant | undefined;
  /** What an input is where a caller does not give it. */
  readonly fallback?: Constant | undefined;
  /** The node that makes it, and as which output; none of a graph's input and of a constant. */
  readonly maker?: Node | undefined;
  readonly output: number;
  /** A sparse initializer. */
  readonly isSparse: boolean;
  readonly takers: Taker[];
  /** Whether its graph gives it. */
  isGiven: boolean;
}

/** More rounds than nodes that stand before what they take from need. */
const MOST_ROUNDS = 16;

export interface InferenceOptions {
  /** Initializers that count as inputs, as callers may set them. Default: none. */
  readonly overridable?: ReadonlySet<Tensor>;
  /** Whether an op that has no rule gives what its first input is, as most do. Default: all do so. */
  readonly isPlain?: (node: Node) => boolean;
  /** The type that a value counts as where a node takes it. Default: its own. */
  readonly typeAt?: (node: Node, value: Value | undefined) => ElementType | undefined;
  /** The type that a node's other inputs tell of its first, where nothing before it does. Default: none. */
  readonly firstType?: (node: Node, inputs: readonly (Value | undefined)[]) => ElementType | undefined;
}

/** All values of a model's graphs, with their types as far as the file says them or they follow from the nodes. */
export class Values {
  readonly all: Value[] = [];
  readonly #byScope = new Map<Scope, Map<string, Value>>();
  readonly #scopes = new Map<Graph, Scope>();
  readonly #overridable: ReadonlySet<Tensor>;
  readonly #isPlain: (node: Node) => boolean;
  readonly #typeAt: (node: Node, value: Value | undefined) => ElementType | undefined;
  readonly #firstType: NonNullable<InferenceOptions["firstType"]>;
  #learned = false;

  constructor(root: Scope, options: InferenceOptions = {}) {
    this.#overridable = options.overridable ?? new Set();
    this.#isPlain = options.isPlain ?? (() => true);
    this.#typeAt = options.typeAt ?? ((_, value) => value?.type);
    this.#firstType = options.firstType ?? (() => undefined);
    for (const scope of root.all()) {
      this.#scopes.set(scope.graph, scope);
      this.#collect(scope);
    }
    for (const scope of root.all()) this.#connect(scope);
    for (let round = 0; round < MOST_ROUNDS; round++) {
      this.#learned = false;
      this.#infer(root);
      if (!this.#learned) break;
    }
  }

  find(scope: Scope, name: string): Value | undefined {
    if (name === "") return undefined;
    for (let at: Scope | undefined = scope; at; at = at.outer) {
      const value = this.#byScope.get(at)?.get(name);
      if (value) return value;
    }
    return undefined;
  }

  /** The value of a name that a graph itself defines. */
  within(scope: Scope, name: string): Value | undefined {
    return this.#byScope.get(scope)?.get(name);
  }

  scopeOf(graph: Graph): Scope {
    return this.#scopes.get(graph)!;
  }

  #collect(scope: Scope): void {
    const own = new Map<string, Value>();
    this.#byScope.set(scope, own);
    const add = (name: string, rest: Partial<Value>) => {
      if (name === "") return;
      const value = { name, scope, type: undefined, output: 0, isSparse: false, takers: [], isGiven: false, ...rest };
      own.set(name, value);
      this.all.push(value);
    };
    const { graph } = scope;
    for (const tensor of graph.initializers) {
      const constant = { graph, tensor, name: tensor.name };
      add(tensor.name, {
        type: tensor.type,
        ...(this.#overridable.has(tensor) ? { fallback: constant } : { constant }),
      });
    }
    for (const { name, elementType } of graph.inputs) if (!own.has(name)) add(name, { type: elementType });
    for (const { name, type } of graph.sparse) if (!own.has(name)) add(name, { type, isSparse: true });
    for (const node of graph.nodes) {
      node.outputs.forEach((name, output) => {
        const definition = scope.find(name);
        const constant = definition?.kind === "constant" ? definition.constant : floatsIn(graph, node);
        add(name, constant ? { type: constant.tensor.type, constant } : { maker: node, output });
      });
    }
  }

  #connect(scope: Scope): void {
    for (const node of scope.graph.nodes) {
      node.inputs.forEach((name, input) => {
        this.find(scope, name)?.takers.push({ node, scope, input });
      });
    }
    for (const { name } of scope.graph.outputs) {
      const value = this.find(scope, name);
      if (value) value.isGiven = true;
    }
  }

  #learn(value: Value | undefined, type: ElementType | undefined): void {
    // The type of a constant is the file's to say: one that is not known stays so, whatever is around it.
    if (!value || value.type !== undefined || type === undefined || value.constant || value.isSparse) return;
    value.type = type;
    this.#learned = true;
  }

  #infer(scope: Scope): void {
    const { graph } = scope;
    const said = typesSaid(graph);
    for (const node of graph.nodes) {
      const inputs = node.inputs.map((name) => this.find(scope, name));
      for (const { name, graphs } of node.attributes) for (const inner of graphs) this.#enter(node, name, inner, scope);
      if (isOfOneType(node)) this.#learnOne(inputs);
      this.#learn(inputs[0], this.#firstType(node, inputs));
      const typeOf = (input: number) => this.#typeAt(node, inputs[input]);
      node.outputs.forEach((name, i) => {
        const rule = outputRule(node, i);
        // What is but likely counts less than what the file says.
        const likely = () => (this.#isPlain(node) ? (said.get(name) ?? typeOf(0)) : undefined);
        this.#learn(this.within(scope, name), rule ? rule(typeOf) : likely());
      });
    }
    // What the file says counts where nothing else tells.
    for (const [name, type] of said) this.#learn(this.within(scope, name), type);
  }

  /** One type for all, if one has it. */
  #learnOne(values: readonly (Value | undefined)[]): void {
    const type = values.find((value) => value?.type !== undefined)?.type;
    for (const value of values) this.#learn(value, type);
  }

  /** Types pass into a node's graph and out of it. */
  #enter(node: Node, attribute: string, inner: Graph, scope: Scope): void {
    const within = this.scopeOf(inner);
    const outer = (name: string) => this.find(scope, name);
    const pairs = crossings(node, inner);
    const exchange = () => {
      for (const { outside, inside } of pairs) {
        this.#learnOne([...outside.map(outer), ...inside.map((name) => this.find(within, name))]);
      }
    };
    if (node.opType === "Loop" && attribute === "body") {
      this.#learn(this.within(within, inner.inputs[0]?.name ?? ""), "int64");
      this.#learn(this.within(within, inner.inputs[1]?.name ?? ""), "bool");
    }
    exchange();
    this.#infer(within);
    exchange();
  }
}

/** A Constant node's floats that are no tensor. */
function floatsIn(graph: Graph, node: Node): Constant | undefined {
  if (opNameOf(node) !== "Constant") return undefined;
  const one = attributeOf(node, "value_float", "float");
  const list = one === undefined ? attributeOf(node, "value_floats", "floats") : [one];
  if (!list) return undefined;
  const shape = one === undefined ? [list.length] : [];
  const name = node.outputs[0] ?? "";
  return { graph, name, node, tensor: makeTensor(name, "float32", shape, bytesOf(Float32Array.from(list))) };
}

/** Types of outputs and inner values, where the file has them. */
function typesSaid({ outputs, valueInfos }: Graph): ReadonlyMap<string, ElementType> {
  const types = new Map<string, ElementType>();
  for (const { name, elementType } of [...outputs, ...valueInfos]) {
    if (elementType !== undefined && !types.has(name)) types.set(name, elementType);
  }
  return types;
}
