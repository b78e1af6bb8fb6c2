import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { entryOf } from "./onnx-build.ts";
import {
  asIs,
  concat,
  type Extra,
  field,
  integer,
  numbers,
  optional,
  repeated,
  type TypeName,
  typeCodes,
} from "./wire-fields.ts";

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
