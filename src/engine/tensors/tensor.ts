import { type ArrayOf, byteLengthOf, type DType, dtypes, type FloatDType, type IntegerDType } from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import type { Axis } from "./granularity.ts";
import type { SchemeName } from "./schemes.ts";
import { elementsOf } from "./shape.ts";

/** A float tensor the caller owns, row-major (last dimension fastest). */
export interface Float32Tensor {
  readonly dtype?: "float32" | undefined;
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** What errors call it. */
  readonly name?: string | undefined;
}

/** A Float16Array, for engines and compilers that know it and those that do not. */
export interface Float16ArrayLike extends ArrayBufferView {
  readonly length: number;
  readonly [Symbol.toStringTag]: "Float16Array";
}

/** Half-precision floats: their bits, or for float16 a Float16Array where there is one. */
export interface HalfTensor {
  readonly dtype: "float16" | "bfloat16";
  readonly shape: readonly number[];
  readonly data: Uint16Array | Float16ArrayLike;
  readonly name?: string | undefined;
}

export type FloatTensor = Float32Tensor | HalfTensor;

/** Codes with all that is needed to read them back. */
export interface QuantizedTensor<D extends IntegerDType = IntegerDType> {
  readonly dtype: D;
  /** The shape of what was quantized, also where two 4-bit codes share a byte of `data`. */
  readonly shape: readonly number[];
  readonly data: ArrayOf<D>;
  /** One for each group: the whole tensor, a channel or a block; in the order of the groups, row-major. */
  readonly scale: Float32Array;
  /** As many as scales. Under `float-offset` it is the lowest code used. */
  readonly zeroPoint: Int32Array;
  /** The channel axis, or that of the blocks; undefined where there is one scale for all. */
  readonly axis?: Axis | undefined;
  /** Elements that share a scale along `axis`; the last block of a row may be shorter. */
  readonly blockSize?: number | undefined;
  readonly scheme: SchemeName;
  /** `float-offset` only: the value of the lowest code, one for each group. */
  readonly min?: Float32Array | undefined;
}

/** What an operation needs of a tensor of any kind. */
export interface Operand {
  readonly dtype: DType;
  readonly data: ArrayBufferView;
}

/** An operand with its shape and the name that errors give it. */
export type NamedOperand = Operand & { readonly shape: readonly number[]; readonly name?: string | undefined };

/** The bytes of any typed array, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** What kind of array `data` is, told by its tag: that holds across realms and for subclasses. */
function kindOf(data: unknown): string {
  const tag = (data as { readonly [Symbol.toStringTag]?: string } | null | undefined)?.[Symbol.toStringTag];
  return ArrayBuffer.isView(data) && tag !== undefined ? tag : Array.isArray(data) ? "Array" : typeof data;
}

/**
 * Holds an array against the kind and length it should have.
 *
 * @throws ArgumentError when it is another kind of array or has another length.
 */
export function checkArray<T>(argument: string, data: T, kind: string, length: number, what: string): T {
  const given = { kind: kindOf(data), length: (data as { readonly length?: number } | null | undefined)?.length };
  if (given.kind === kind && given.length === length) return data;
  const article = /^[AEIO]/.test(kind) ? "an" : "a";
  throw new ArgumentError(
    argument,
    `${given.kind} of length ${given.length} given; ${what} takes ${article} ${kind} of length ${length}`,
  );
}

/**
 * Holds `data` against its type and shape.
 *
 * @throws ArgumentError when it is another kind of array or has another length.
 */
export function checkData<T>(argument: string, data: T, dtype: DType, shape: readonly number[]): T {
  const { array, bits } = dtypes[dtype];
  const elements = elementsOf(shape);
  const length = bits === 4 ? byteLengthOf(dtype, elements) : elements;
  const kind = dtype === "float16" && kindOf(data) === "Float16Array" ? "Float16Array" : array.name;
  return checkArray(argument, data, kind, length, `${dtype} of shape [${shape.join(", ")}]`);
}

/** The dtype of a float tensor, which may leave "float32" unsaid. */
export function floatTypeOf(tensor: FloatTensor): FloatDType {
  const dtype = tensor.dtype ?? "float32";
  if (dtype === "float32" || dtype === "float16" || dtype === "bfloat16") return dtype;
  throw new ArgumentError("dtype", `${String(dtype)} given; float tensors are float32, float16 or bfloat16`);
}
