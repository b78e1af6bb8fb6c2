import { elementsOf } from "../../../engine/tensors/shape.ts";
import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { attributeOf, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import { type FloatType, isHalf, narrowed, widened } from "./float-types.ts";

/** The types that constants are computed in; integers are held as float64, which is exact up to 2^53. */
export type ValueType = FloatType | "int64" | "int32" | "bool";

/** The value of a constant or of a node whose inputs are all constant. */
export interface ConstantValue {
  readonly type: ValueType;
  readonly shape: readonly number[];
  readonly data: ValueData;
}

export type ValueData = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** Most elements of a value: 64 MB of float32. */
const MOST_ELEMENTS = 1 << 24;

/** Why a node is not computed. */
export class NotComputed extends Error {}

/** A node is not computed as its result is not a weight: numbers of rows, say, that a Gather looks up. */
export class NoFloats extends NotComputed {}

/** @throws NotComputed where the shape is none, or too large */
export function newValue(type: ValueType, shape: readonly number[]): ConstantValue {
  const elements = elementsOf(shape);
  if (!shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0))
    throw new NotComputed("a shape that cannot be");
  if (!(elements <= MOST_ELEMENTS)) throw new NotComputed(`more than ${MOST_ELEMENTS} values`);
  return { type, shape, data: new arrays[type](elements) };
}

const arrays = {
  ...{ float32: Float32Array, float64: Float64Array, float16: Float32Array, bfloat16: Float32Array },
  ...{ int64: Float64Array, int32: Float64Array, bool: Uint8Array },
} as const;

export function isValueType(type: unknown): type is ValueType {
  return typeof type === "string" && Object.hasOwn(arrays, type);
}

export function numbersValue(type: ValueType, shape: readonly number[], numbers: Iterable<number>): ConstantValue {
  const value = newValue(type, shape);
  value.data.set(Array.from(numbers));
  return value;
}

/**
 * The whole numbers of a value that is a list of them: axes, shapes. Those beyond 2^53, as bounds of "to the end" are, are
 * not exact.
 */
export function integersOf(value: ConstantValue | undefined): readonly number[] | undefined {
  return value && (value.type === "int64" || value.type === "int32") ? Array.from(value.data) : undefined;
}

/** @throws NotComputed for a type or size that is not computed with, FormatError where the data are damaged */
export async function loadValue(tensor: Tensor, files: TensorFiles): Promise<ConstantValue> {
  const { type, shape, data } = tensor;
  if (!isValueType(type)) throw new NotComputed(`constants of ${type ?? "an unknown type"}`);
  if (data.kind === "pending" || data.kind === "placed" || data.kind === "opaque")
    throw new NotComputed("constants that are not in the file");
  const value = newValue(type, shape);
  const bytes = (await files.read(tensor)).slice().buffer;
  if (type === "float32") return { ...value, data: new Float32Array(bytes) };
  if (type === "float64") return { ...value, data: new Float64Array(bytes) };
  if (isHalf(type)) return { ...value, data: widened(bytes, type) };
  if (type === "bool") return { ...value, data: new Uint8Array(bytes) };
  if (type === "int32") return { ...value, data: Float64Array.from(new Int32Array(bytes)) };
  return { ...value, data: Float64Array.from(new BigInt64Array(bytes), Number) };
}

/** What a Constant node gives by an attribute other than `value`. */
export function valueOfAttribute(node: Node): ConstantValue | undefined {
  const float = attributeOf(node, "value_float", "float");
  if (float !== undefined) return numbersValue("float32", [], [float]);
  const floats = attributeOf(node, "value_floats", "floats");
  if (floats) return numbersValue("float32", [floats.length], floats);
  const int = attributeOf(node, "value_int", "int");
  if (int !== undefined) return numbersValue("int64", [], [int]);
  const ints = attributeOf(node, "value_ints", "ints");
  return ints && numbersValue("int64", [ints.length], ints);
}

/** A value as an initializer of its type, which is float32 or half of that. */
export function tensorOf(name: string, { type, shape, data }: ConstantValue): Tensor {
  if (!isHalf(type)) return makeTensor(name, "float32", shape, bytesOf(data));
  return makeTensor(name, type, shape, narrowed(data as Float32Array<ArrayBuffer>, type));
}
