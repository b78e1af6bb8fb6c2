import { decodeHalf, encodeFloat16 } from "../formats/half-arrays.ts";

/** What goes into a model and comes out of it: element types, and the typed arrays that hold them. */
export interface ValueArrays {
  float32: Float32Array;
  /** Its bits. */
  float16: Uint16Array;
  float64: Float64Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  /** 0 and 1. */
  bool: Uint8Array;
}

export type ValueDType = keyof ValueArrays;

type NumberArrays = Omit<ValueArrays, "int64" | "uint64">;

const numberArrays: { readonly [D in keyof NumberArrays]: new (values: ArrayLike<number>) => NumberArrays[D] } = {
  float32: Float32Array,
  float16: Uint16Array,
  float64: Float64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/** A tensor of a type that typed arrays hold. */
export interface FeedOf<D extends ValueDType> {
  readonly dtype: D;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  readonly data: ValueArrays[D];
}

export type FeedTensor = { [D in ValueDType]: FeedOf<D> }[ValueDType];

/** The inputs of one run, or its outputs, by name. */
export type Feeds = Readonly<Record<string, FeedTensor>>;

export type FloatValueDType = "float32" | "float16" | "float64";
export type IntegerValueDType = Exclude<ValueDType, FloatValueDType | "bool">;

export function isFloat(dtype: string): dtype is FloatValueDType {
  return dtype === "float32" || dtype === "float16" || dtype === "float64";
}

export function isInteger(dtype: string): dtype is IntegerValueDType {
  return isValueDType(dtype) && !isFloat(dtype) && dtype !== "bool";
}

/** Whether typed arrays hold tensors of that type. */
export function isValueDType(dtype: string): dtype is ValueDType {
  return Object.hasOwn(numberArrays, dtype) || dtype === "int64" || dtype === "uint64";
}

/** The smallest and the largest value of an integer type; those of 64 bits to the precision of a number. */
export function rangeOf(dtype: IntegerValueDType): { min: number; max: number } {
  const bits = Number(dtype.replace(/\D/g, ""));
  return dtype.startsWith("u") ? { min: 0, max: 2 ** bits - 1 } : { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 };
}

/** A tensor of `values`, which fit its type. */
/** The values of a tensor as numbers: those of 64-bit integers to the precision of one. */
export function numbersOf({ dtype, data }: FeedTensor): Float64Array {
  return Float64Array.from(dtype === "float16" ? decodeHalf(data) : (data as ArrayLike<number | bigint>), Number);
}

export function feedOf(dtype: ValueDType, shape: readonly number[], values: Float64Array): FeedTensor {
  return { dtype, shape, data: dataOf(dtype, values) } as FeedTensor;
}

function dataOf(dtype: ValueDType, values: Float64Array): FeedTensor["data"] {
  if (dtype === "int64") return BigInt64Array.from(values as ArrayLike<number>, BigInt);
  if (dtype === "uint64") return BigUint64Array.from(values as ArrayLike<number>, BigInt);
  return dtype === "float16" ? encodeFloat16(Float32Array.from(values)) : new numberArrays[dtype](values);
}
