import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

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

export function repeated<T>(number: number, items: readonly T[] | undefined, encode: (item: T) => Uint8Array | string) {
  return (items ?? []).map((item) => field(number, encode(item)));
}

export function optional<T>(value: T | undefined, encode: (value: T) => Uint8Array): Uint8Array[] {
  return value === undefined ? [] : [encode(value)];
}

export const asIs = (message: Uint8Array) => message;
