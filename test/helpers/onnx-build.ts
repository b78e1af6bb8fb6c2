import {
  asIs,
  concat,
  type Extra,
  field,
  float,
  integer,
  numbers,
  optional,
  repeated,
  type TypeName,
  typeCodes,
} from "./wire-fields.ts";

// Messages of onnx.proto as bytes, in every form that the format allows and exporters may choose: all storages of
// tensors, all kinds of attributes, fields that no schema knows. A message is made of its parts' bytes, so that a test can
// look for them in what comes out. And the way back: a message cut into its fields, knowing no schema.

export interface ModelParts {
  readonly ir?: number | undefined;
  /** Versions by domain; "" is ONNX's own. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly graph: Uint8Array;
  readonly functions?: readonly Uint8Array[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly trainingInfo?: readonly Uint8Array[];
  readonly doc?: string;
  readonly extra?: Extra;
}

export function model({
  ir = 8,
  opsets,
  graph,
  functions,
  metadata,
  trainingInfo,
  doc,
  extra,
}: ModelParts): Uint8Array {
  const m = numbers.model;
  return concat([
    integer(m.irVersion, ir),
    field(m.producerName, "onnx-build"),
    ...optional(doc, (text) => field(m.docString, text)),
    field(m.graph, graph),
    ...repeated(m.opsetImport, Object.entries(opsets), opsetOf),
    ...repeated(m.metadata, Object.entries(metadata ?? {}), entryOf),
    ...repeated(m.training, trainingInfo, asIs),
    ...repeated(m.functions, functions, asIs),
    ...optional(extra, asIs),
  ]);
}

export function opsetOf([domain, version]: readonly [string, number]): Uint8Array {
  return concat([...(domain === "" ? [] : [field(1, domain)]), integer(2, version)]);
}

/** StringStringEntryProto. */
export function entryOf([key, value]: readonly [string, string]): Uint8Array {
  return concat([field(1, key), field(2, value)]);
}

export interface GraphParts {
  readonly name?: string;
  readonly nodes: readonly Uint8Array[];
  readonly initializers?: readonly Uint8Array[];
  readonly inputs?: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly values?: readonly Uint8Array[];
  readonly annotations?: readonly Uint8Array[];
  readonly sparse?: readonly Uint8Array[];
  readonly doc?: string;
  readonly extra?: Extra;
}

export function graph(parts: GraphParts): Uint8Array {
  const g = numbers.graph;
  return concat([
    ...repeated(g.node, parts.nodes, asIs),
    field(g.name, parts.name ?? "graph"),
    ...repeated(g.initializer, parts.initializers, asIs),
    ...optional(parts.doc, (text) => field(g.doc, text)),
    ...repeated(g.input, parts.inputs, asIs),
    ...repeated(g.output, parts.outputs, asIs),
    ...repeated(g.value, parts.values, asIs),
    ...repeated(g.annotation, parts.annotations, asIs),
    ...repeated(g.sparse, parts.sparse, asIs),
    ...optional(parts.extra, asIs),
  ]);
}

/** Whole numbers are ints, arrays of them too; what else there is is said. */
export type AttributeSpec =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly tensor: Uint8Array }
  | { readonly tensors: readonly Uint8Array[] }
  | { readonly graph: Uint8Array }
  | { readonly graphs: readonly Uint8Array[] };

export function attribute(name: string, value: AttributeSpec, extra?: Extra): Uint8Array {
  const { parts, type } = carried(value);
  const a = numbers.attribute;
  return concat([field(a.name, name), ...parts, integer(a.type, type), ...optional(extra, asIs)]);
}

function carried(value: AttributeSpec): { readonly parts: readonly Uint8Array[]; readonly type: number } {
  const a = numbers.attribute;
  if (typeof value === "number") return { parts: [integer(a.i, value)], type: 2 };
  if (typeof value === "string") return { parts: [field(a.s, value)], type: 3 };
  if ("float" in value) return { parts: [float(a.f, value.float)], type: 1 };
  if ("floats" in value) return { parts: value.floats.map((x) => float(a.floats, x)), type: 6 };
  if ("strings" in value) return { parts: repeated(a.strings, value.strings, (text) => text), type: 8 };
  if ("tensor" in value) return { parts: [field(a.t, value.tensor)], type: 4 };
  if ("tensors" in value) return { parts: repeated(a.tensors, value.tensors, asIs), type: 9 };
  if ("graph" in value) return { parts: [field(a.g, value.graph)], type: 5 };
  if ("graphs" in value) return { parts: repeated(a.graphs, value.graphs, asIs), type: 10 };
  return { parts: value.map((x) => integer(a.ints, x)), type: 7 };
}

export interface NodeRest {
  /** After the first output, if not said. */
  readonly name?: string;
  readonly domain?: string;
  readonly doc?: string;
  readonly extra?: Extra;
}

/** `node("Add", "a b", "c", { axis: 1 })`; "-" is an input or output left out. Attributes may be bytes already. */
export function node(
  op: string,
  inputs: string,
  outputs: string,
  attributes: Readonly<Record<string, AttributeSpec | Uint8Array>> = {},
  { name = `${op}_of_${outputs.split(" ")[0]}`, domain, doc, extra }: NodeRest = {},
): Uint8Array {
  const n = numbers.node;
  const list = (names: string) => (names === "" ? [] : names.split(" ").map((each) => (each === "-" ? "" : each)));
  const encoded = Object.entries(attributes).map(([key, value]) =>
    value instanceof Uint8Array ? value : attribute(key, value),
  );
  return concat([
    ...repeated(n.input, list(inputs), (text) => text),
    ...repeated(n.output, list(outputs), (text) => text),
    ...(name === "" ? [] : [field(n.name, name)]),
    field(n.opType, op),
    ...repeated(n.attribute, encoded, asIs),
    ...optional(doc, (text) => field(n.doc, text)),
    ...optional(domain, (text) => field(n.domain, text)),
    ...optional(extra, asIs),
  ]);
}

/** A type, and a shape where there is one: `value("x", "float32[2,n]")`; dimensions may be names, or left open: `?`. */
export function value(name: string, spec: string, { doc, extra }: { doc?: string; extra?: Extra } = {}): Uint8Array {
  const [, type, list] = /^(\w+)(?:\[(.*)\])?$/.exec(spec)!;
  const dimension = (text: string) =>
    field(1, text === "?" ? new Uint8Array(0) : /^\d+$/.test(text) ? integer(1, Number(text)) : field(2, text));
  const dims = list?.split(",").filter(Boolean).map(dimension);
  const tensorType = concat([
    integer(1, typeCodes[type as TypeName]),
    ...optional(dims, (each) => field(2, concat(each))),
  ]);
  return concat([
    field(1, name),
    field(2, field(1, tensorType)),
    ...optional(doc, (text) => field(3, text)),
    ...optional(extra, asIs),
  ]);
}

export interface FunctionParts {
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly Uint8Array[];
  readonly opsets: Readonly<Record<string, number>>;
  /** Attributes that calls give, and those that have a value where they do not. */
  readonly attributes?: readonly string[];
  readonly defaults?: Readonly<Record<string, AttributeSpec>>;
  readonly overload?: string;
  readonly extra?: Extra;
}

/** In a node of a function: an attribute that has the value of one of the call's. */
export function attributeRef(name: string, ref: string, type: number): Uint8Array {
  const a = numbers.attribute;
  return concat([field(a.name, name), integer(a.type, type), field(21, ref)]);
}

export function functionOf({ name, domain, inputs, outputs, nodes, opsets, ...rest }: FunctionParts): Uint8Array {
  return concat([
    field(1, name),
    ...repeated(4, inputs, (text) => text),
    ...repeated(5, outputs, (text) => text),
    ...repeated(6, rest.attributes, (text) => text),
    ...repeated(7, nodes, asIs),
    ...repeated(9, Object.entries(opsets), opsetOf),
    field(10, domain),
    ...repeated(11, Object.entries(rest.defaults ?? {}), ([key, spec]) => attribute(key, spec)),
    ...optional(rest.overload, (text) => field(13, text)),
    ...optional(rest.extra, asIs),
  ]);
}
