import { createHash } from "node:crypto";
import type { ByteSource } from "../../src/formats/byte-source.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { TensorFiles } from "../../src/onnx/io/tensor-data.ts";
import {
  type Attribute,
  type Graph,
  graphsOf,
  type Node,
  type Tensor,
  type ValueInfo,
} from "../../src/onnx/ir/graph.ts";
import { cut } from "./onnx-read.ts";
import { numbers } from "./wire-fields.ts";

// A model in a form that does not depend on the names of inner values and nodes, nor on the order of nodes: every value
// has a key, made of what computes it and of the keys of what that takes. Initializers, inputs and outputs go by name.

export interface CanonicalTensor {
  /** The number where a type has no name here. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Little-endian, one after the other, wherever and however the file has them. */
  readonly bytes: Uint8Array;
}

export interface CanonicalNode {
  /** The same for nodes that compute the same from the same. */
  readonly key: string;
  /** Keys of the values it is made of: those it takes, and those that its graphs take and give. */
  readonly parts: readonly string[];
  /** Keys of the values it gives. */
  readonly gives: readonly string[];
  /** As the file has it, for messages. */
  readonly text: string;
}

export interface CanonicalModel {
  readonly opsets: ReadonlyMap<string, number>;
  /** By name, in inner graphs with the attributes that lead there in front; several where names come more than once. */
  readonly initializers: ReadonlyMap<string, readonly CanonicalTensor[]>;
  /** Of all graphs. */
  readonly nodes: readonly CanonicalNode[];
  /** What nodes give: names by key. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** Types of those that are no initializers. */
  readonly inputs: ReadonlyMap<string, string>;
  readonly outputs: ReadonlyMap<string, { readonly type: string; readonly key: string }>;
}

/** Reads a model, and the files beside it that its tensors are in. */
export async function canonicalModel(source: ByteSource): Promise<CanonicalModel> {
  const model = await readModel(source);
  const files = await TensorFiles.open(source, model);
  try {
    const { graph, opsets } = model;
    const reader = new Reader(files);
    const scope = await reader.read(graph);
    const held = new Set([...graph.initializers, ...graph.sparse].map(({ name }) => name));
    const inputs = graph.inputs.filter(({ name }) => !held.has(name));
    return {
      opsets,
      initializers: reader.initializers,
      nodes: reader.nodes,
      values: reader.values,
      inputs: new Map(inputs.map((each) => [each.name, typeOf(each)])),
      outputs: new Map(graph.outputs.map((each) => [each.name, { type: typeOf(each), key: scope.keyOf(each.name) }])),
    };
  } finally {
    await files.close();
  }
}

function typeOf({ elementType }: ValueInfo): string {
  return elementType ?? "no tensor";
}

/** Where a graph is: in the model, or in an attribute of a node. */
class Scope {
  readonly #keys = new Map<string, string>();

  constructor(
    /** The attributes that lead there, each with a slash behind. */
    readonly path: string,
    readonly outer?: Scope,
  ) {}

  get depth(): number {
    return this.outer ? this.outer.depth + 1 : 0;
  }

  set(name: string, key: string): void {
    this.#keys.set(name, key);
  }

  keyOf(name: string): string {
    if (name === "") return "";
    const key = this.#keys.get(name) ?? this.outer?.keyOf(name);
    if (key === undefined) throw new Error(`${JSON.stringify(name)} is taken before anything gives it`);
    return key;
  }
}

class Reader {
  readonly initializers = new Map<string, CanonicalTensor[]>();
  readonly nodes: CanonicalNode[] = [];
  readonly values = new Map<string, string[]>();

  constructor(private readonly files: TensorFiles) {}

  async read(graph: Graph, scope = new Scope("")): Promise<Scope> {
    // Inner graphs are called with their inputs in order, whatever their names.
    for (const [i, { name }] of graph.inputs.entries()) {
      scope.set(name, scope.outer ? `input ${i} at depth ${scope.depth}` : `input ${name}`);
    }
    for (const tensor of graph.initializers) {
      const name = scope.path + tensor.name;
      scope.set(tensor.name, `initializer ${name}`);
      add(this.initializers, name, await this.#tensor(tensor));
    }
    for (const { name } of graph.sparse) scope.set(name, `initializer ${scope.path}${name}`);
    const used = usedIn(graph);
    for (const node of graph.nodes) await this.#node(node, scope, used);
    return scope;
  }

  async #node(node: Node, scope: Scope, used: ReadonlySet<string>): Promise<void> {
    const { opType, domain, name } = node;
    const inputs = trimmed(node.inputs).map((input) => scope.keyOf(input));
    const outputs = trimmed(node.outputs.map((output, i) => (isIdle(node, i, used) ? "" : output)));
    const first = this.nodes.length;
    const attributes = [];
    for (const each of node.attributes) attributes.push(await this.#attribute(each, scope));
    const values = attributes.map(({ exact }) => exact).sort();
    const key = hash(JSON.stringify([domain, opType, values, inputs, outputs.map((output) => output !== "")]));
    const shown = attributes.map(({ text }) => text).sort();
    const op = `${scope.path}${domain && `${domain}.`}${opType}${name && ` ${JSON.stringify(name)}`}`;
    const list = (names: readonly string[]) => names.map((each) => each || "-").join(", ");
    const text = `${op}(${list(node.inputs)}) -> ${list(node.outputs)}${shown.map((each) => `, ${each}`).join("")}`;
    const given = outputs.flatMap((output, i) => (output === "" ? [] : [[output, `${key} ${i}`] as const]));
    const inner = this.nodes.slice(first).flatMap(({ parts, gives }) => [...parts, ...gives]);
    this.nodes.push({ key, parts: [...inputs, ...inner], gives: given.map(([, value]) => value), text });
    for (const [output, value] of given) {
      scope.set(output, value);
      add(this.values, value, output);
    }
  }

  /** What it says, to the bit, and in words. */
  async #attribute({ name, value, graphs, message }: Attribute, scope: Scope) {
    const said = (exact: string, text = exact) => ({
      exact: `${name} ${value.kind} ${exact}`,
      text: `${name}=${text}`,
    });
    switch (value.kind) {
      case "int":
      case "string":
        return said(JSON.stringify(value.value));
      case "float":
        return said(exactly(value.value));
      case "ints":
      case "floats":
        return said(`[${value.value.map(exactly).join(", ")}]`);
      case "tensor": {
        const { type, shape, bytes } = await this.#tensor(value.value);
        return said(`${type} [${shape}] ${hash(bytes)}`, `${type} [${shape}] of ${bytes.length} bytes`);
      }
      case "graph": {
        const forms = [];
        for (const [i, each] of graphs.entries()) {
          forms.push(await this.#inner(each, new Scope(`${scope.path}${name}${i || ""}/`, scope)));
        }
        return said(JSON.stringify(forms), "a graph");
      }
      default: {
        const { index: image, start, end } = message!;
        const { attribute } = numbers;
        const beside: readonly number[] = [attribute.name, attribute.doc, attribute.type];
        const fields = cut(await image.source.slice(start, end)).filter(({ number }) => !beside.includes(number));
        const each = fields.map(({ number, payload }) => `${number}: ${Buffer.from(payload).toString("latin1")}`);
        return said(hash(JSON.stringify(each)), JSON.stringify(each).slice(0, 80));
      }
    }
  }

  async #inner(graph: Graph, scope: Scope): Promise<unknown> {
    const first = this.nodes.length;
    await this.read(graph, scope);
    const nodes = this.nodes.slice(first).map(({ key }) => key);
    return [graph.inputs.length, nodes.sort(), graph.outputs.map(({ name }) => scope.keyOf(name))];
  }

  async #tensor(tensor: Tensor): Promise<CanonicalTensor> {
    return {
      type: tensor.type ?? `type ${tensor.typeCode}`,
      shape: tensor.shape,
      bytes: await this.files.read(tensor),
    };
  }
}

/** Names that a graph gives, or that nodes in it or in its inner graphs take. */
function usedIn(graph: Graph): ReadonlySet<string> {
  const graphs = [...graphsOf(graph)];
  return new Set(
    graphs.flatMap(({ nodes, outputs }) => [
      ...outputs.map(({ name }) => name),
      ...nodes.flatMap(({ inputs }) => inputs),
    ]),
  );
}

/** A mask that nobody takes is as good as none: it changes its type at opset 10, and those that raise may leave it out. */
function isIdle({ opType, domain, outputs }: Node, index: number, used: ReadonlySet<string>): boolean {
  return opType === "Dropout" && domain === "" && index === 1 && !used.has(outputs[index]!);
}

function trimmed(names: readonly string[]): readonly string[] {
  return names.slice(0, names.findLastIndex((name) => name !== "") + 1);
}

/** Zeros of both signs are told apart. */
export function exactly(x: number): string {
  return Object.is(x, -0) ? "-0" : String(x);
}

function hash(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("base64url");
}

function add<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key);
  if (list) list.push(item);
  else lists.set(key, [item]);
}
