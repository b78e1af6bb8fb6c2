import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

// Just enough of onnx.proto to read conformance vectors, and in onnx-writer.ts to make models of a few nodes. Types and
// attributes it does not know it refuses: passed over in silence they would make a test check less than it says.

/** TensorProto.DataType: its number, and the bits of an element in raw_data. */
export const elementTypes = {
  float32: { code: 1, bits: 32 },
  uint8: { code: 2, bits: 8 },
  int8: { code: 3, bits: 8 },
  uint16: { code: 4, bits: 16 },
  int16: { code: 5, bits: 16 },
  int32: { code: 6, bits: 32 },
  float16: { code: 10, bits: 16 },
  bfloat16: { code: 16, bits: 16 },
  float8e4m3fn: { code: 17, bits: 8 },
  float8e4m3fnuz: { code: 18, bits: 8 },
  float8e5m2: { code: 19, bits: 8 },
  float8e5m2fnuz: { code: 20, bits: 8 },
  uint4: { code: 21, bits: 4 },
  int4: { code: 22, bits: 4 },
  float4e2m1: { code: 23, bits: 4 },
  uint2: { code: 25, bits: 2 },
  int2: { code: 26, bits: 2 },
} as const;

export type ElementType = keyof typeof elementTypes;

export interface OnnxTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** As raw_data has them: little-endian, elements below a byte packed low bits first. */
  readonly bytes: Uint8Array;
}

export interface OnnxNode {
  readonly op: string;
  /** "" stands for an optional input left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, number>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

export interface OnnxModel extends OnnxGraph {
  readonly irVersion: number;
  readonly opset: number;
}

/** AttributeProto.Type INT, the only kind that the quantization operators have. */
export const attributeInt = 2;

export function readModel(bytes: Uint8Array): OnnxModel {
  const model = fieldsOf(bytes);
  const [graph] = model.messages(7);
  const [opset, ...more] = model.messages(8);
  if (!graph || !opset || more.length > 0) throw new Error("a model of one graph and one opset was expected");
  return {
    irVersion: model.int(1),
    opset: opset.int(2),
    nodes: graph.messages(1).map(nodeFrom),
    initializers: graph.messages(5).map(tensorFrom),
    inputs: graph.messages(11).map(valueFrom),
    outputs: graph.messages(12).map(valueFrom),
  };
}

export function readTensor(bytes: Uint8Array): OnnxTensor {
  return tensorFrom(fieldsOf(bytes));
}

function nodeFrom(node: Fields): OnnxNode {
  return {
    op: node.string(4),
    inputs: node.strings(1),
    outputs: node.strings(2),
    attributes: Object.fromEntries(node.messages(5).map(attributeFrom)),
  };
}

function attributeFrom(attribute: Fields): [string, number] {
  const name = attribute.string(1);
  if (attribute.int(20) !== attributeInt) throw new Error(`attribute ${name} is not an int`);
  return [name, attribute.int(3)];
}

function valueFrom(value: Fields): OnnxValue {
  const [tensor] = value.messages(2).flatMap((type) => type.messages(1));
  if (!tensor) throw new Error(`${value.string(1)} is not a tensor`);
  const dimensions = tensor.messages(2).flatMap((shape) => shape.messages(1));
  return { name: value.string(1), type: typeNamed(tensor.int(1)), shape: dimensions.map((d) => d.int(1)) };
}

function tensorFrom(tensor: Fields): OnnxTensor {
  const name = tensor.string(8);
  const type = typeNamed(tensor.int(2));
  const shape = tensor.ints(1);
  const bytes = tensor.has(9) ? tensor.bytes(9) : bytesOfTyped(tensor, type);
  const elements = shape.reduce((a, b) => a * b, 1);
  const length = Math.ceil((elements * elementTypes[type].bits) / 8);
  if (bytes.length !== length) throw new Error(`${name}: ${bytes.length} bytes where ${length} were expected`);
  return { name, type, shape, bytes };
}

/** float_data, or int32_data: an element each, narrow ones too, but a byte each where several elements share one. */
function bytesOfTyped(tensor: Fields, type: ElementType): Uint8Array {
  const { bits } = elementTypes[type];
  const values = type === "float32" ? tensor.floats(4) : tensor.ints(5);
  const narrowest = bits <= 8 ? Uint8Array : bits === 16 ? Uint16Array : Int32Array;
  const data = type === "float32" ? Float32Array.from(values) : narrowest.from(values);
  return new Uint8Array(data.buffer);
}

function typeNamed(code: number): ElementType {
  const names = Object.keys(elementTypes) as ElementType[];
  const name = names.find((n) => elementTypes[n].code === code);
  if (name === undefined) throw new Error(`element type ${code} is not one this reader knows`);
  return name;
}

type Fields = ReturnType<typeof fieldsOf>;

/** A message cut into its fields; what they mean is said by who asks for them. */
function fieldsOf(bytes: Uint8Array) {
  const found: { readonly field: number; readonly wire: WireType; readonly bytes: Uint8Array }[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    found.push({ field, wire, bytes: reader.skip(wire, field) });
  }
  const all = (field: number) => found.filter((f) => f.field === field);
  const delimited = (field: number) => all(field).map((f) => new BinaryReader(f.bytes).bytes());

  /** Repeated numbers, packed or one by one; an int64 of a test is small enough for a number. */
  const numbers = (field: number, read: (from: BinaryReader) => number): number[] =>
    all(field).flatMap((f) => {
      const from = new BinaryReader(f.wire === WireType.LengthDelimited ? new BinaryReader(f.bytes).bytes() : f.bytes);
      const values: number[] = [];
      while (from.pos < from.len) values.push(read(from));
      return values;
    });
  const ints = (field: number) => numbers(field, (from) => Number(from.int64()));
  const strings = (field: number) => delimited(field).map((b) => new TextDecoder().decode(b));

  return {
    has: (field: number) => all(field).length > 0,
    bytes: (field: number) => delimited(field)[0] ?? new Uint8Array(0),
    messages: (field: number) => delimited(field).map(fieldsOf),
    strings,
    string: (field: number) => strings(field)[0] ?? "",
    ints,
    int: (field: number) => ints(field)[0] ?? 0,
    floats: (field: number) => numbers(field, (from) => from.float()),
  };
}
