import {
  type ArrayOf,
  byteLengthOf,
  type CodeDType,
  dtypes,
  type FloatDType,
  floatTypes,
  type IntegerDType,
  integerTypes,
} from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import { checkGranularity, type Layout, layoutOf } from "./granularity.ts";
import { oneOf } from "./quantize-options.ts";
import { isResident, type ResidentTensor } from "./resident-tensor.ts";
import { checkShape, elementsOf } from "./shape.ts";
import {
  checkArray,
  checkData,
  type FloatTensor,
  floatTypeOf,
  type NamedOperand,
  type QuantizedTensor,
} from "./tensor.ts";

export const floatNames = Object.keys(floatTypes) as readonly FloatDType[];
const integerNames = Object.keys(integerTypes) as readonly IntegerDType[];

/**
 * @throws ArgumentError unless dtype, shape and data fit together, MemoryError for a resident that is gone: before
 * anything is allocated for a result.
 */
export function checkFloat(tensor: FloatTensor | ResidentTensor): NamedOperand {
  checkIsTensor("tensor", tensor);
  if (isResident(tensor)) {
    void tensor.address; // throws
    return tensor as ResidentTensor;
  }
  const dtype = floatTypeOf(tensor);
  const shape = checkShape(tensor.shape);
  return { dtype, shape, data: checkData("data", tensor.data, dtype, shape), name: tensor.name };
}

/**
 * Holds what people pass instead of `{ data, shape }` against it: arrays, and tensors of other libraries.
 *
 * @throws ArgumentError that says what to write
 */
export function checkIsTensor(argument: string, tensor: unknown): void {
  const instead = (got: string, write: string) =>
    new ArgumentError(argument, `expected { data, shape }; got ${got}: write { ${write} }`);
  if (typeof tensor !== "object" || tensor === null) {
    throw new ArgumentError(argument, `expected { data, shape }; got ${String(tensor)}`);
  }
  if (ArrayBuffer.isView(tensor)) {
    const { length } = tensor as Float32Array;
    throw instead(`a ${tensor.constructor.name} without a shape`, `data, shape: [${length}]`);
  }
  if (Array.isArray(tensor)) {
    const dimensions: number[] = [];
    for (let each: unknown = tensor; Array.isArray(each); each = each[0]) dimensions.push(each.length);
    const flat = dimensions.length > 1 ? ".flat(Infinity)" : "";
    const shape = `shape: [${dimensions.join(", ")}]`;
    throw instead("nested arrays", `data: Float32Array.from(array${flat}), ${shape}`);
  }
  if (!("shape" in tensor) && "dims" in tensor) throw instead("dims", "data: tensor.data, shape: tensor.dims");
}

/** Holds the parts of a quantized tensor against each other; its layout. */
export function checkQuantized(q: QuantizedTensor): Layout {
  if (typeof q !== "object" || q === null) {
    throw new ArgumentError("tensor", `${String(q)} given; a quantized tensor is wanted`);
  }
  const shape = checkShape(q.shape);
  oneOf("dtype", q.dtype, integerNames);
  if (isResident(q))
    void q.address; // throws
  else checkData("data", q.data, q.dtype, shape);
  const layout = layoutOf(shape, checkGranularity(shape, q));
  const groups = `a tensor of ${layout.parameters} groups`;
  checkArray("scale", q.scale, "Float32Array", layout.parameters, groups);
  checkArray("zeroPoint", q.zeroPoint, "Int32Array", layout.parameters, groups);
  if ((q.scheme === "float-offset") !== (q.min !== undefined) || (q.dtype === "int32" && q.min)) {
    throw new ArgumentError("min", "goes with the scheme float-offset, and that with it");
  }
  if (q.min) checkArray("min", q.min, "Float32Array", layout.parameters, groups);
  return layout;
}

/** Zeros, as many as a shape has. */
export function newArray<D extends CodeDType | FloatDType>(dtype: D, shape: readonly number[]): ArrayOf<D> {
  const { array } = dtypes[dtype];
  return new array(byteLengthOf(dtype, elementsOf(shape)) / array.BYTES_PER_ELEMENT) as unknown as ArrayOf<D>;
}
