import { FormatError } from "../../../errors.ts";
import { encodeFloat16 } from "../../../formats/half-arrays.ts";
import { type Words, words, wordsOf } from "../../../messages.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { makeTensor, type Tensor } from "../../ir/graph.ts";
import { toInt64 } from "../../proto/wire-format.ts";

/** The types of numbers that nodes are given as inputs where they had them as attributes. */
export type NumberType = "int64" | "float16" | "float32" | "float64";

const bytesPer = { int64: 8, float16: 2, float32: 4, float64: 8 } as const;

export function isNumberType(type: unknown): type is NumberType {
  return typeof type === "string" && type in bytesPer;
}

export function numbersTensor(
  name: string,
  type: NumberType,
  shape: readonly number[],
  values: readonly number[],
): Tensor {
  const width = bytesPer[type];
  const view = new DataView(new ArrayBuffer(values.length * width));
  values.forEach((value, i) => {
    const at = i * width;
    if (type === "int64") view.setBigInt64(at, toInt64(value), true);
    else if (type === "float16") view.setUint16(at, encodeFloat16(Float32Array.of(value))[0]!, true);
    else if (type === "float32") view.setFloat32(at, value, true);
    else view.setFloat64(at, value, true);
  });
  return makeTensor(name, type, shape, new Uint8Array(view.buffer));
}

/** Longer lists are no parameters of a node. */
const LONGEST = 1024;

/** The elements of a short tensor; undefined of one that is long, or of another kind of numbers. */
export async function numbersOf(tensor: Tensor, files: TensorFiles): Promise<readonly number[] | undefined> {
  const { type, shape, data } = tensor;
  if (data.kind === "pending" || data.kind === "placed" || data.kind === "opaque") return undefined;
  const read = readers[type as keyof typeof readers];
  const length = shape.reduce((product, dimension) => product * dimension, 1);
  if (!read || length > LONGEST) return undefined;
  const bytes = await files.read(tensor);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length }, (_, i) => read(view, i));
}

const readers = {
  int32: (view: DataView, i: number) => view.getInt32(i * 4, true),
  int64: (view: DataView, i: number) => Number(view.getBigInt64(i * 8, true)),
  float32: (view: DataView, i: number) => view.getFloat32(i * 4, true),
  float64: (view: DataView, i: number) => view.getFloat64(i * 8, true),
};

/** An error about a node, in one line: what it is, why it cannot be, what to do. */
export function nodeError(file: string, opType: string, name: string, why: string, cure: string | Words): FormatError {
  const message = words`${opType} ${JSON.stringify(name)} ${why}; ${wordsOf(cure)}`;
  return new FormatError(file, message, undefined, { code: "unsupported-operator" });
}
