import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

// Messages of onnx.proto as bytes, in every form that the format allows and exporters may choose: all storages of
// tensors, all kinds of attributes, fields that no schema knows. A message is made of its parts' bytes, so that a test can
// look for them in what comes out. And the way back: a message cut into its fields, knowing no schema.

/** Bytes of whole fields, tags and all, put behind the others of a message. */
export type Extra = Uint8Array;

/** TensorProto.DataType. */
export const typeCodes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
  uint4: 21,
  int4: 22,
} as const;

export type TypeName = keyof typeof typeCodes;

/** Of ModelProto and so on down, by their names in onnx.proto. */
export const numbers = {
  model: {
    irVersion: 1,
    producerName: 2,
    docString: 6,
    graph: 7,
    opsetImport: 8,
    metadata: 14,
    training: 20,
    functions: 25,
  },
  graph: { node: 1, name: 2, initializer: 5, doc: 10, input: 11, output: 12, value: 13, annotation: 14, sparse: 15 },
  node: { input: 1, output: 2, name: 3, opType: 4, attribute: 5, doc: 6, domain: 7 },
  attribute: {
    name: 1,
    f: 2,
    i: 3,
    s: 4,
    t: 5,
    g: 6,
    floats: 7,
    ints: 8,
    strings: 9,
    tensors: 10,
    graphs: 11,
    doc: 13,
    type: 20,
  },
  tensor: {
    ...{ dims: 1, dataType: 2, floatData: 4, int32Data: 5, stringData: 6, int64Data: 7, name: 8, rawData: 9 },
    ...{ doubleData: 10, uint64Data: 11, doc: 12, externalData: 13, dataLocation: 14 },
  },
} as const;

const encoder = new TextEncoder();

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** A field of bytes: text, a message. */
export function field(number: number, payload: Uint8Array | string): Uint8Array {
  const bytes = typeof payload === "string" ? encoder.encode(payload) : payload;
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();
}

export function integer(number: number, value: number | bigint): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Varint).int64(BigInt(value)).finish();
}

export function float(number: number, value: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Bit32).float(value).finish();
}

export function double(number: number, value: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Bit64).double(value).finish();
}

/** What stands before `length` bytes of a field, be they there or not. */
export function headOf(number: number, length: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
}

/** A varint longer than it need be: the same number to all who read it. */
export function padded(value: number, width: number): Uint8Array {
  const groups = Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (7 * i)) % 128);
  return Uint8Array.from(groups, (group, i) => (i < width - 1 ? group | 0x80 : group));
}

/** As `field`, its length a varint of `width` bytes. */
export function paddedField(number: number, payload: Uint8Array | string, width = 5): Uint8Array {
  const bytes = typeof payload === "string" ? encoder.encode(payload) : payload;
  const tag = new BinaryWriter().tag(number, WireType.LengthDelimited).finish();
  return concat([tag, padded(bytes.length, width), bytes]);
}

/** A field of each wire type, of numbers that no version of onnx.proto has. */
export function unknownFields(marker: string, number = 900): Uint8Array {
  return concat([
    field(number, `unknown ${marker}`),
    integer(number + 1, 2n ** 62n),
    float(number + 2, 0.5),
    double(number + 3, -0.25),
  ]);
}

function repeated<T>(number: number, items: readonly T[] | undefined, encode: (item: T) => Uint8Array | string) {
  return (items ?? []).map((item) => field(number, encode(item)));
}

function optional<T>(value: T | undefined, encode: (value: T) => Uint8Array): Uint8Array[] {
  return value === undefined ? [] : [encode(value)];
}

const asIs = (message: Uint8Array) => message;

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

/** Where and how a tensor's elements are stored. `typed` fields are those of the type: float_data, int32_data ... */
export type Storage =
  | { readonly kind: "raw" }
  | { readonly kind: "packed" }
  | { readonly kind: "unpacked" }
  /** Packed, in so many pieces, which a reader has to put together. */
  | { readonly kind: "pieces"; readonly pieces: number }
  | { readonly kind: "external"; readonly entries: Readonly<Record<string, string>> };

export interface TensorRest {
  readonly store?: Storage | Storage["kind"];
  readonly packedDims?: boolean;
  readonly doc?: string;
  readonly extra?: Extra;
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
} as const;

export type Elements = ArrayLike<number>;

/** A tensor of a data type by its number, which may be one that no version of ONNX has, and its bytes. */
export function tensorOfCode(name: string, code: number, dims: readonly number[], bytes: Uint8Array): Uint8Array {
  const t = numbers.tensor;
  return concat([
    ...dims.map((dimension) => integer(t.dims, dimension)),
    integer(t.dataType, code),
    field(t.name, name),
    field(t.rawData, bytes),
  ]);
}

/** The bytes of elements: half floats are given as their bits. */
export function elementBytes(type: TypeName, elements: Elements): Uint8Array {
  const Type = arrays[type as keyof typeof arrays];
  if (!Type) throw new Error(`elements of type ${type} are given as bytes`);
  if (Type === BigInt64Array || Type === BigUint64Array) {
    return new Uint8Array(Type.from(Array.from(elements, BigInt)).buffer);
  }
  return new Uint8Array((Type as typeof Float32Array).from(elements).buffer);
}

/** Dims may be anything a file could claim; elements may be bytes already, which raw_data alone takes. */
export function tensor(
  name: string,
  type: TypeName,
  dims: readonly (number | bigint)[],
  elements: Elements | Uint8Array,
  { store = "raw", packedDims = false, doc, extra }: TensorRest = {},
): Uint8Array {
  const t = numbers.tensor;
  return concat([
    ...(packedDims ? [field(t.dims, varints(dims))] : dims.map((dimension) => integer(t.dims, dimension))),
    integer(t.dataType, typeCodes[type]),
    field(t.name, name),
    ...stored(type, elements, typeof store === "string" ? ({ kind: store } as Storage) : store),
    ...optional(doc, (text) => field(t.doc, text)),
    ...optional(extra, asIs),
  ]);
}

function stored(type: TypeName, elements: Elements | Uint8Array, store: Storage): Uint8Array[] {
  const t = numbers.tensor;
  if (store.kind === "external") {
    return [...repeated(t.externalData, Object.entries(store.entries), entryOf), integer(t.dataLocation, 1)];
  }
  if (store.kind === "raw") {
    const bytes = elements instanceof Uint8Array && type !== "uint8" ? elements : elementBytes(type, elements);
    return [field(t.rawData, bytes)];
  }
  const { number, one } = typedOf(type);
  const each = Array.from(elements, one);
  if (store.kind === "unpacked") {
    const wire = number === t.floatData ? WireType.Bit32 : number === t.doubleData ? WireType.Bit64 : WireType.Varint;
    const tag = new BinaryWriter().tag(number, wire).finish();
    return each.map((element) => concat([tag, element]));
  }
  const length = store.kind === "pieces" ? Math.max(Math.ceil(each.length / store.pieces), 1) : each.length;
  const pieces = length === 0 ? 1 : Math.ceil(each.length / length);
  return Array.from({ length: pieces }, (_, i) => field(number, concat(each.slice(i * length, (i + 1) * length))));
}

/** The typed field that a type's elements go to, and an element as it stands there. */
function typedOf(type: TypeName): { readonly number: number; readonly one: (x: number) => Uint8Array } {
  const t = numbers.tensor;
  const varint = (x: number) => varints([x]);
  if (type === "float32") return { number: t.floatData, one: (x) => elementBytes("float32", [x]) };
  if (type === "float64") return { number: t.doubleData, one: (x) => elementBytes("float64", [x]) };
  if (type === "int64") return { number: t.int64Data, one: varint };
  if (type === "uint32" || type === "uint64") return { number: t.uint64Data, one: varint };
  return { number: t.int32Data, one: varint };
}

function varints(values: readonly (number | bigint)[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const value of values) writer.int64(BigInt(value));
  return writer.finish();
}

/** SparseTensorProto: values and the places they stand at. */
export function sparseTensor(values: Uint8Array, indices: Uint8Array, dims: readonly number[]): Uint8Array {
  return concat([field(1, values), field(2, indices), ...dims.map((dimension) => integer(3, dimension))]);
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
  readonly extra?: Extra;
}

export function functionOf({ name, domain, inputs, outputs, nodes, opsets, extra }: FunctionParts): Uint8Array {
  return concat([
    field(1, name),
    ...repeated(4, inputs, (text) => text),
    ...repeated(5, outputs, (text) => text),
    ...repeated(7, nodes, asIs),
    ...repeated(9, Object.entries(opsets), opsetOf),
    field(10, domain),
    ...optional(extra, asIs),
  ]);
}

/** A field of a message: all of its bytes, and what they carry. */
export interface Cut {
  readonly number: number;
  readonly wire: WireType;
  readonly bytes: Uint8Array;
  readonly payload: Uint8Array;
}

/** A message cut into its fields, in their order. */
export function cut(message: Uint8Array): Cut[] {
  const reader = new BinaryReader(message);
  const cuts: Cut[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wire] = reader.tag();
    const from = reader.pos;
    reader.skip(wire, number);
    const bytes = message.subarray(start, reader.pos);
    const after = message.subarray(from, reader.pos);
    cuts.push({
      number,
      wire,
      bytes,
      payload: wire === WireType.LengthDelimited ? new BinaryReader(after).bytes() : after,
    });
  }
  return cuts;
}

/** The payloads of one field. */
export function payloads(message: Uint8Array, number: number): Uint8Array[] {
  return cut(message)
    .filter((each) => each.number === number)
    .map(({ payload }) => payload);
}

export function texts(message: Uint8Array, number: number): string[] {
  return payloads(message, number).map((bytes) => Buffer.from(bytes).toString("utf8"));
}

/** Whole numbers, one by one or packed. */
export function integers(message: Uint8Array, number: number): number[] {
  return payloads(message, number).flatMap((payload) => {
    const reader = new BinaryReader(payload);
    const values: number[] = [];
    while (reader.pos < reader.len) values.push(Number(reader.int64()));
    return values;
  });
}

export interface ReadTensor {
  readonly name: string;
  readonly typeCode: number;
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
  readonly message: Uint8Array;
}

export interface ReadNode {
  readonly op: string;
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  readonly message: Uint8Array;
}

export interface ReadGraph {
  readonly nodes: readonly ReadNode[];
  readonly initializers: readonly ReadTensor[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export function graphIn(modelBytes: Uint8Array): Uint8Array {
  return payloads(modelBytes, numbers.model.graph)[0]!;
}

export function readGraph(message: Uint8Array): ReadGraph {
  const g = numbers.graph;
  const named = (number: number) => payloads(message, number).map((each) => texts(each, 1)[0] ?? "");
  return {
    nodes: payloads(message, g.node).map(readNode),
    initializers: payloads(message, g.initializer).map(readTensor),
    inputs: named(g.input),
    outputs: named(g.output),
  };
}

function readNode(message: Uint8Array): ReadNode {
  const n = numbers.node;
  const attributes = payloads(message, n.attribute).map((each) => [texts(each, 1)[0] ?? "", each] as const);
  return {
    op: texts(message, n.opType)[0] ?? "",
    name: texts(message, n.name)[0] ?? "",
    domain: texts(message, n.domain)[0] ?? "",
    inputs: texts(message, n.input),
    outputs: texts(message, n.output),
    attributes: new Map(attributes),
    message,
  };
}

function readTensor(message: Uint8Array): ReadTensor {
  const t = numbers.tensor;
  return {
    name: texts(message, t.name)[0] ?? "",
    typeCode: integers(message, t.dataType)[0] ?? 0,
    shape: integers(message, t.dims),
    raw: payloads(message, t.rawData)[0] ?? new Uint8Array(0),
    message,
  };
}

/** The graph of a model and those within it, outer ones first. */
export function graphsIn(modelBytes: Uint8Array): ReadGraph[] {
  const all: ReadGraph[] = [];
  const visit = (message: Uint8Array) => {
    const read = readGraph(message);
    all.push(read);
    const a = numbers.attribute;
    for (const { attributes } of read.nodes) {
      for (const each of attributes.values()) {
        for (const inner of [...payloads(each, a.g), ...payloads(each, a.graphs)]) visit(inner);
      }
    }
  };
  visit(graphIn(modelBytes));
  return all;
}
