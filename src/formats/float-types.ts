import type { FloatTensor } from "../engine/tensors/tensor.ts";
import { FormatError } from "../errors.ts";
import type { NpyDType } from "./npy.ts";
import type { SafetensorsDType } from "./safetensors.ts";

/** The float types of files that the engine takes. float64 is rounded to float32, far below any quantization step. */
export type SafetensorsFloat = "F64" | "F32" | "F16" | "BF16";

/** What the engine calls them; it has no float64. */
export const engineFloats = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** What safetensors calls the float types of the engine, of ONNX and of NumPy. */
export const safetensorsFloats = { float64: "F64", float32: "F32", float16: "F16", bfloat16: "BF16" } as const;

/** Bytes of each. */
export const floatWidths: Readonly<Record<SafetensorsFloat, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };

export function isFloatName(dtype: SafetensorsDType): dtype is SafetensorsFloat {
  return dtype === "F64" || dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/** What safetensors calls NumPy's types. */
export const safetensorsNames: Readonly<Record<NpyDType, SafetensorsDType>> = {
  "<f2": "F16",
  "<f4": "F32",
  "<f8": "F64",
  "|i1": "I8",
  "|u1": "U8",
  "<i2": "I16",
  "<u2": "U16",
  "<i4": "I32",
  "<u4": "U32",
  "<i8": "I64",
  "<u8": "U64",
  "|b1": "BOOL",
};

/** What NumPy calls a type of safetensors, if it has it. */
export function npyTypeOf(dtype: SafetensorsDType): NpyDType | undefined {
  return (Object.keys(safetensorsNames) as NpyDType[]).find((descr) => safetensorsNames[descr] === dtype);
}

/** A tensor of a file, or part of one. */
interface FloatPart {
  readonly name: string;
  readonly dtype: SafetensorsFloat;
  readonly shape: readonly number[];
  /** Flat index of its first value. Default: 0. */
  readonly start?: number;
}

/**
 * A tensor over bytes as they lie in a file: a view where they are aligned, else a copy.
 *
 * @throws FormatError for a float64 beyond float32
 */
export function floatTensorOf(
  file: string,
  bytes: Uint8Array,
  { name, dtype, shape, start = 0 }: FloatPart,
): FloatTensor {
  switch (dtype) {
    case "F64":
      return { name, shape, data: narrow(file, name, viewOf(Float64Array, bytes), start) };
    case "F32":
      return { name, shape, data: viewOf(Float32Array, bytes) };
    case "F16":
      return { name, shape, dtype: "float16", data: viewOf(Uint16Array, bytes) };
    case "BF16":
      return { name, shape, dtype: "bfloat16", data: viewOf(Uint16Array, bytes) };
  }
}

function narrow(file: string, name: string, values: Float64Array, start: number): Float32Array {
  const narrowed = new Float32Array(values.length);
  roundInto(file, name, values, narrowed, start);
  return narrowed;
}

/**
 * float64 to the nearest float32.
 *
 * @param start flat index of the first value
 * @throws FormatError for a value beyond float32
 */
export function roundInto(file: string, name: string, values: Float64Array, into: Float32Array, start: number): void {
  into.set(values);
  const i = into.findIndex((x, at) => !Number.isFinite(x) && Number.isFinite(values[at]!));
  if (i >= 0) throw new FormatError(file, `${values[i]} at flat index ${start + i} does not fit float32`, name);
}

export interface ArrayType<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
}

/** `bytes` as an array of another type; copied only where they do not lie on a multiple of its elements. */
export function viewOf<T>(Type: ArrayType<T>, bytes: Uint8Array): T {
  const { BYTES_PER_ELEMENT: size } = Type;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new Type(aligned.buffer, aligned.byteOffset, aligned.byteLength / size);
}
