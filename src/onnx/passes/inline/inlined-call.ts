import type { FunctionBody } from "../../io/decode-functions.ts";
import { bytesOfTensor } from "../../io/tensor-data.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import {
  type Attribute,
  attributeOf,
  type Graph,
  type ModelFunction,
  makeNode,
  type Node,
  type Tensor,
} from "../../ir/graph.ts";

/** Constants of that many bytes are stored once for all calls of their function. */
const WORTH_SHARING = 256;

/**
 * Whether a constant of a function, by the name of its value, becomes an initializer of the model.
 *
 * @param graph the one within a node that it stands in: what that gives or may be given stays there
 */
export function isShared(tensor: Tensor, graph?: Graph): boolean {
  const { name } = tensor;
  const isBound = graph && [...graph.inputs, ...graph.outputs].some((each) => each.name === name);
  return name !== "" && !isBound && bytesOfTensor(tensor) >= WORTH_SHARING;
}

export function isConstant({ opType, domain }: Node): boolean {
  return opType === "Constant" && domain === "";
}

/** Constants of functions that have become initializers of the model's graph, so that all calls share them. */
export class SharedConstants {
  readonly #byTensor = new Map<Tensor, Tensor>();

  constructor(
    private readonly graph: Graph,
    private readonly names: FreshNames,
  ) {}

  get any(): boolean {
    return this.#byTensor.size > 0;
  }

  /** The name that a constant of a function goes by from now on, of which there has been `name`. */
  nameOf(tensor: Tensor, owner: ModelFunction, name: string): string {
    let shared = this.#byTensor.get(tensor);
    if (!shared) {
      shared = { ...tensor, name: this.names.fresh(`${owner.name}/${name}`) };
      this.#byTensor.set(tensor, shared);
      this.graph.initializers = [...this.graph.initializers, shared];
    }
    return shared.name;
  }
}

export interface Call {
  readonly node: Node;
  readonly called: ModelFunction;
  readonly body: FunctionBody;
}

/** The nodes that do what a call does, with names that nothing else has. */
export function inlinedCall(call: Call, names: FreshNames, constants: SharedConstants): Node[] {
  return new InlinedCall(call, names, constants).nodes();
}

/** What a name within a function is called where the function is inlined. */
type Lookup = (name: string) => string;

class InlinedCall {
  readonly #label: string;
  readonly #given: ReadonlyMap<string, Attribute>;

  constructor(
    private readonly call: Call,
    private readonly names: FreshNames,
    private readonly constants: SharedConstants,
  ) {
    const { node, body } = call;
    this.#label = node.name || node.outputs.find((name) => name !== "") || node.opType;
    this.#given = new Map([...body.defaults, ...node.attributes].map((each) => [each.name, each]));
  }

  nodes(): Node[] {
    const { node, body } = this.call;
    const byName = new Map<string, string>([["", ""]]);
    body.inputs.forEach((name, i) => {
      byName.set(name, node.inputs[i] ?? "");
    });
    const kept = this.#withoutShared(body.nodes, byName);
    // An output that no node of the body makes under that name, or that the call gets twice, is a copy.
    const copies: (readonly [from: string, to: string])[] = [];
    body.outputs.forEach((name, i) => {
      const to = node.outputs[i] ?? "";
      if (to === "") return;
      if (byName.has(name)) copies.push([name, to]);
      else byName.set(name, to);
    });
    const lookup = this.#naming(kept, byName, (name) => name);
    return [
      ...kept.map((each) => this.#copyOf(each, lookup)),
      ...copies.map(([from, to]) =>
        makeNode("Identity", [lookup(from)], [to], { name: this.names.fresh(`${this.#label}/Identity`) }),
      ),
    ];
  }

  /** Nodes but for constants that are shared, whose names become those of initializers. */
  #withoutShared(nodes: readonly Node[], byName: Map<string, string>, graph?: Graph): Node[] {
    return nodes.filter((node) => {
      const tensor = isConstant(node) ? this.#constantOf(node) : undefined;
      const [name = ""] = node.outputs;
      if (!tensor || !isShared({ ...tensor, name }, graph)) return true;
      byName.set(name, this.constants.nameOf(tensor, this.call.called, name));
      return false;
    });
  }

  #constantOf(node: Node): Tensor | undefined {
    const ref = node.attributes.find(({ name }) => name === "value")?.ref;
    if (ref === undefined) return attributeOf(node, "value", "tensor");
    const value = this.#given.get(ref)?.value;
    return value?.kind === "tensor" ? value.value : undefined;
  }

  /** The names of what nodes make, and through `outer` those of what they find there. */
  #naming(nodes: readonly Node[], byName: Map<string, string>, outer: Lookup): Lookup {
    for (const { outputs } of nodes) {
      for (const name of outputs) if (!byName.has(name)) byName.set(name, this.#fresh(name));
    }
    return (name) => byName.get(name) ?? outer(name);
  }

  #fresh(name: string): string {
    return this.names.fresh(`${this.#label}/${name}`);
  }

  #copyOf(node: Node, lookup: Lookup): Node {
    return {
      ...node,
      name: node.name === "" ? "" : this.#fresh(node.name),
      inputs: node.inputs.map(lookup),
      outputs: node.outputs.map(lookup),
      attributes: node.attributes.flatMap((attribute) => this.#resolved(attribute, lookup) ?? []),
    };
  }

  /** An attribute as the call has it; undefined where it stands for one that the call leaves out. */
  #resolved(attribute: Attribute, lookup: Lookup): Attribute | undefined {
    if (attribute.ref === undefined) return withCopies(attribute, (graph) => this.#graphOf(graph, lookup));
    const given = this.#given.get(attribute.ref);
    // Graphs that the call gives see the names around it.
    return given && { ...withCopies(given, (graph) => this.#graphOf(graph, (name) => name)), name: attribute.name };
  }

  #graphOf(graph: Graph, outer: Lookup): Graph {
    const byName = new Map<string, string>([["", ""]]);
    const inputs = new Set(graph.inputs.map(({ name }) => name));
    const initializers = graph.initializers.filter((tensor) => {
      const { name } = tensor;
      const shares = isShared(tensor, graph);
      byName.set(name, shares ? this.constants.nameOf(tensor, this.call.called, name) : this.#fresh(name));
      return !shares;
    });
    for (const name of inputs) if (!byName.has(name)) byName.set(name, this.#fresh(name));
    const kept = this.#withoutShared(graph.nodes, byName, graph);
    const lookup = this.#naming(kept, byName, outer);
    const own = new Set([
      ...inputs,
      ...initializers.map(({ name }) => name),
      ...kept.flatMap(({ outputs }) => outputs),
    ]);
    const renamed = <T extends { readonly name: string }>(each: T): T => ({ ...each, name: lookup(each.name) });
    return {
      ...graph,
      nodes: kept.map((node) => this.#copyOf(node, lookup)),
      initializers: initializers.map(renamed),
      inputs: graph.inputs.map(renamed),
      outputs: graph.outputs.map(renamed),
      valueInfos: graph.valueInfos.filter(({ name }) => own.has(name)).map(renamed),
    };
  }
}

/** No two nodes have a tensor or a graph in common: passes tell them apart by these. */
function withCopies(attribute: Attribute, copy: (graph: Graph) => Graph): Attribute {
  const { value, graphs } = attribute;
  if (value.kind === "tensor") return { ...attribute, value: { kind: "tensor", value: { ...value.value } } };
  return graphs.length === 0 ? attribute : { ...attribute, graphs: graphs.map(copy) };
}
