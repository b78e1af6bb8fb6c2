/**
 * A model as passes see it: what they may change is held in plain fields, and beside it the message it was read from, so
 * that what no pass changed is written as it was read (io/encode.ts).
 */
import type { ByteSource } from "../../formats/byte-source.ts";
import { codeOf, type ElementType } from "../proto/schema.ts";
import type { Field, Message, Pending } from "../proto/wire-format.ts";

/** Where something was read from, and what was read. */
export interface Origin<T> {
  readonly message: Message;
  readonly was: T;
}

export interface Model {
  irVersion: number;
  /** Of each domain; ONNX's own is "". */
  readonly opsets: Map<string, number>;
  readonly graph: Graph;
  /** As the file lists them; passes may leave some out, and change none. */
  functions: readonly ModelFunction[];
  /** Whether it says how it is trained, which no pass changes either. */
  readonly isTrainable: boolean;
  readonly origin: Origin<{
    readonly irVersion: number;
    readonly opsets: ReadonlyMap<string, number>;
    readonly functions: readonly ModelFunction[];
  }>;
}

/** A function defined in the model itself: nodes of that domain, type and overload call it. */
export interface ModelFunction {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly message: Message;
}

export interface Graph {
  readonly name: string;
  nodes: Node[];
  initializers: Tensor[];
  inputs: ValueInfo[];
  outputs: readonly ValueInfo[];
  valueInfos: readonly ValueInfo[];
  /** Sparse initializers, which no pass changes. */
  readonly sparse: readonly SparseTensor[];
  readonly origin: Origin<Pick<Graph, "nodes" | "initializers" | "inputs" | "outputs" | "valueInfos">>;
}

/** A sparse initializer: the name and the type of its values. */
export type SparseTensor = Pick<Tensor, "name" | "type" | "typeCode">;

export interface Node {
  /** "" is an optional input left out. */
  inputs: readonly string[];
  outputs: readonly string[];
  readonly name: string;
  opType: string;
  /** "" is ONNX's own. */
  readonly domain: string;
  /** Which function of that name a node calls; undefined and "" are the same. */
  readonly overload?: string | undefined;
  attributes: readonly Attribute[];
  readonly origin?: Origin<Pick<Node, "name" | "inputs" | "outputs" | "opType" | "attributes">> | undefined;
}

/** An attribute: read from a file, or made. Its graphs may change. */
export interface Attribute {
  readonly name: string;
  readonly graphs: readonly Graph[];
  readonly value: AttributeValue;
  /** In a function: the attribute of the calling node whose value it has. */
  readonly ref?: string | undefined;
  readonly message?: Message | undefined;
}

export type AttributeValue =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "tensor"; readonly value: Tensor }
  | { readonly kind: "graph" }
  | { readonly kind: "other" };

/** A graph's input, output or inner value: its name, and its type where that is a tensor's. */
export interface ValueInfo {
  readonly name: string;
  /** A tensor's may be another than it was read with. */
  readonly elementType: ElementType | undefined;
  /** A string is a dimension's symbol, "" one that is not known; undefined where even the rank is not. */
  readonly shape: readonly (number | string)[] | undefined;
  readonly message: Message;
}

export interface Tensor {
  readonly name: string;
  /** Of a type yet to come the number alone is known. */
  readonly type: ElementType | undefined;
  readonly typeCode: number;
  readonly shape: readonly number[];
  readonly data: TensorData;
  readonly message?: Message | undefined;
}

/** Where a tensor's elements are. */
export type TensorData =
  /** Little-endian, one after the other, as raw_data and packed float_data have them: in the model's file or another. */
  | ({ readonly kind: "span"; readonly source: ByteSource } & Span)
  /** In another file, not yet looked for. */
  | { readonly kind: "external"; readonly place: ExternalPlace }
  /** A number each in typed fields of the tensor's message. */
  | { readonly kind: "typed"; readonly message: Message; readonly fields: readonly Field[] }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "pending"; readonly pending: Pending }
  /** To be written to another file, where these entries say. */
  | { readonly kind: "placed"; readonly entries: ReadonlyMap<string, string> }
  /** Strings, and what else is never looked into. */
  | { readonly kind: "opaque" };

interface Span {
  readonly start: number;
  readonly end: number;
  /** Whether it is computed from a tensor of another file, and what takes its place belongs there. */
  readonly isOutside?: boolean;
}

export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  /** Default: to the end of the file. */
  readonly length: number | undefined;
}

export function makeNode(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  { name = outputs[0] ?? "", domain = "", attributes = [] }: Partial<Pick<Node, "name" | "domain" | "attributes">> = {},
): Node {
  return { opType, inputs, outputs, name, domain, attributes };
}

export function makeAttribute(name: string, value: Exclude<AttributeValue, { kind: "graph" | "other" }>): Attribute {
  return { name, value, graphs: [] };
}

export function intAttribute(name: string, value: number): Attribute {
  return makeAttribute(name, { kind: "int", value });
}

export function makeTensor(
  name: string,
  type: ElementType,
  shape: readonly number[],
  bytes: Uint8Array | Pending,
): Tensor {
  const data: TensorData = bytes instanceof Uint8Array ? { kind: "bytes", bytes } : { kind: "pending", pending: bytes };
  return { name, type, typeCode: codeOf(type), shape, data };
}

/** An attribute's value, if the node has it and it is of that kind. */
export function attributeOf<K extends AttributeValue["kind"]>(
  node: Node,
  name: string,
  kind: K,
): (Extract<AttributeValue, { kind: K }> extends { value: infer V } ? V : never) | undefined {
  const value = node.attributes.find((attribute) => attribute.name === name)?.value;
  return value?.kind === kind && "value" in value ? (value.value as never) : undefined;
}

/** A graph and the graphs in its nodes' attributes, outer ones first. */
export function* graphsOf(graph: Graph): Generator<Graph> {
  yield graph;
  for (const node of graph.nodes) {
    for (const { graphs } of node.attributes) for (const inner of graphs) yield* graphsOf(inner);
  }
}
