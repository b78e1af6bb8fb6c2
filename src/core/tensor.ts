import { type ArrayOf, byteLengthOf, type DType, dtypes, type FloatDType, type IntegerDType } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";
import type { Axis } from "./granularity.ts";
import type { SchemeName } from "./schemes.ts";
import { elementsOf } from "./shape.ts";

/** A float tensor the caller owns, row-major (last dimension fastest). */
export interface Float32Tensor {
  readonly dtype?: "float32";
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** What errors call it. */
  readonly name?: string | undefined;
}

/** Half-precision floats as their bits; a Float16Array is taken as well, where there is one. */
export interface HalfTensor {
  readonly dtype: "float16" | "bfloat16";
  readonly shape: readonly number[];
  readonly data: Uint16Array;
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
  /** As many as scales. Under `minmax` it is the lowest code used. */
  readonly zeroPoint: Int32Array;
  readonly axis?: Axis | undefined;
  readonly blockSize?: number | undefined;
  readonly scheme: SchemeName;
  /** `minmax` only: the value of the lowest code, one for each group. */
  readonly min?: Float32Array | undefined;
}

/** The bytes of any typed array, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Holds `data` against its type and shape.
 *
 * @throws ArgumentError when it is another kind of array or has another length.
 */
export function checkData<T extends ArrayBufferView>(
  argument: string,
  data: T,
  dtype: DType,
  shape: readonly number[],
): T {
  const { array, bits } = dtypes[dtype];
  const elements = elementsOf(shape);
  const length = bits === 4 ? byteLengthOf(dtype, elements) : elements;
  const isHalf = dtype === "float16" && data?.constructor?.name === "Float16Array";
  if ((data instanceof array || isHalf) && (data as unknown as { length: number }).length === length) return data;

  const given = data as unknown as { constructor?: { name: string }; length?: number } | undefined;
  throw new ArgumentError(
    argument,
    `${given?.constructor?.name ?? typeof data} of length ${given?.length} given; ` +
      `${dtype} of shape [${shape.join(", ")}] takes a ${array.name} of length ${length}`,
  );
}

/** The dtype of a float tensor, which may leave "float32" unsaid. */
export function floatTypeOf(tensor: FloatTensor): FloatDType {
  const dtype = tensor.dtype ?? "float32";
  if (dtype === "float32" || dtype === "float16" || dtype === "bfloat16") return dtype;
  throw new ArgumentError("dtype", `${String(dtype)} given; float tensors are float32, float16 or bfloat16`);
}
