import { InferenceSession, type Tensor } from "onnxruntime-node";
import type { CodeDType, IntegerDType } from "../../src/dtypes.ts";
import { checkGranularity, type Granularity, scaleShapeOf } from "../../src/engine/tensors/granularity.ts";
import { bytesOf, type FloatTensor, type QuantizedTensor } from "../../src/engine/tensors/tensor.ts";
import { type ElementType, elementTypes, type OnnxGraph, type OnnxNode, type OnnxTensor } from "./onnx.ts";
import { storedCodes } from "./onnx-values.ts";
import { writeModel } from "./onnx-writer.ts";

/** Without inputs: all that nodes work on are initializers, which may be int4, as JavaScript tensors may not. */
type ClosedGraph = Omit<OnnxGraph, "inputs">;

/** Runs a graph in ONNX Runtime as it stands: no optimization replaces or folds a node. Its outputs by name. */
async function runGraph(graph: ClosedGraph): Promise<Readonly<Record<string, Tensor>>> {
  const model = writeModel({ irVersion: 10, opset: 21, inputs: [], ...graph });
  const session = await InferenceSession.create(model, { graphOptimizationLevel: "disabled", intraOpNumThreads: 1 });
  try {
    return await session.run({});
  } finally {
    await session.release();
  }
}

export interface GivenParameters extends Granularity {
  readonly dtype: CodeDType;
  /** Of the type of what is quantized. */
  readonly scale: Float32Array | Uint16Array;
  readonly zeroPoint: ArrayLike<number>;
}

/** The codes that QuantizeLinear gives, one by one. */
export async function quantizeLinear(x: FloatTensor, how: GivenParameters): Promise<ArrayLike<number>> {
  const { shape } = x;
  const { dtype } = how;
  const { attributes, parameterShape } = onnxOf(shape, how);
  const float = x.dtype ?? "float32";
  const wide = { int4: "int8", uint4: "uint8" } as const;
  const readable = dtype === "int4" || dtype === "uint4" ? wide[dtype] : dtype;
  const cast = node("Cast", ["codes"], ["y"], { to: elementTypes[readable].code });
  const { y } = await runGraph({
    nodes: [
      node("QuantizeLinear", ["x", "scale", "zero"], [readable === dtype ? "y" : "codes"], attributes),
      ...(readable === dtype ? [] : [cast]),
    ],
    initializers: [
      tensor("x", float, shape, x.data),
      tensor("scale", float, parameterShape, how.scale),
      tensor("zero", dtype, parameterShape, storedCodes(dtype, how.zeroPoint)),
    ],
    outputs: [{ name: "y", type: readable, shape }],
  });
  return y!.data as ArrayLike<number>;
}

/** The bytes of the values that DequantizeLinear gives, in the type of the scales; those of `q` are not looked at. */
export async function dequantizeLinear(
  q: QuantizedTensor<IntegerDType>,
  type: "float32" | "float16",
  scale: Float32Array | Uint16Array,
): Promise<Uint8Array> {
  const { shape } = q;
  const { attributes, parameterShape } = onnxOf(shape, q);
  const { y } = await runGraph({
    nodes: [node("DequantizeLinear", ["x", "scale", "zero"], ["y"], attributes)],
    initializers: [
      tensor("x", q.dtype, shape, q.data),
      tensor("scale", type, parameterShape, scale),
      tensor("zero", q.dtype, parameterShape, storedCodes(q.dtype, q.zeroPoint)),
    ],
    outputs: [{ name: "y", type, shape }],
  });
  return bytesOf(y!.data as ArrayBufferView);
}

export interface DynamicallyQuantized {
  readonly data: Uint8Array;
  readonly scale: number;
  readonly zeroPoint: number;
}

export async function dynamicQuantizeLinear({ data, shape }: FloatTensor): Promise<DynamicallyQuantized> {
  const { y, scale, zero } = await runGraph({
    nodes: [node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])],
    initializers: [tensor("x", "float32", shape, data)],
    outputs: [
      { name: "y", type: "uint8", shape },
      { name: "scale", type: "float32", shape: [] },
      { name: "zero", type: "uint8", shape: [] },
    ],
  });
  return { data: y!.data as Uint8Array, scale: Number(scale!.data[0]), zeroPoint: Number(zero!.data[0]) };
}

function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: OnnxNode["attributes"] = {},
): OnnxNode {
  return { op, inputs, outputs, attributes };
}

function tensor(name: string, type: ElementType, shape: readonly number[], data: ArrayBufferView): OnnxTensor {
  return { name, type, shape, bytes: bytesOf(data) };
}

/** Attributes, and the shape of scales and zero points. */
function onnxOf(shape: readonly number[], given: Granularity) {
  const granularity = checkGranularity(shape, given);
  const { axis, blockSize } = granularity;
  if (axis !== undefined && typeof axis !== "number") throw new Error("ONNX has one axis, not a range of them");
  const attributes = { ...(axis !== undefined && { axis }), ...(blockSize !== undefined && { block_size: blockSize }) };
  return { attributes, parameterShape: scaleShapeOf(shape, granularity) };
}
