import type { ElementType } from "../proto/schema.ts";

/**
 * What ONNX Runtime's WebGPU kernels take, as seen with onnxruntime-web/webgpu 1.30.0 in Node: sessions over models of one
 * node each, for every op of ONNX, types and opsets 11 to 23, on a device that accepts everything, and where the log said
 * each node was placed. (The registrations are in onnxruntime/core/providers/webgpu/webgpu_execution_provider.cc and
 * onnxruntime/contrib_ops/webgpu/webgpu_contrib_kernels.cc; type lists there are spread over the kernels' files.) That a
 * kernel takes a node does not mean that it gives the right numbers on every GPU.
 */
const floats = ["float32", "float16"] as const;
const signed = [...floats, "int32"] as const;
const numbers = [...signed, "uint32"] as const;
const stored = [...numbers, "bool", "uint8"] as const;

/** Ops that run on the GPU and, of their main input, the types with which they do. */
export const gpuTypes: ReadonlyMap<string, readonly ElementType[]> = new Map([
  ...each(floats, [
    ...["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "BatchNormalization", "Ceil", "Conv"],
    ...[
      "ConvTranspose",
      "Cos",
      "Cosh",
      "DFT",
      "DepthToSpace",
      "Einsum",
      "Elu",
      "Erf",
      "Exp",
      "Floor",
      "GatherElements",
    ],
    ...["Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish"],
    ...[
      "InstanceNormalization",
      "LayerNormalization",
      "LeakyRelu",
      "Log",
      "LpNormalization",
      "MatMul",
      "MaxPool",
      "Mish",
    ],
    ...["Neg", "PRelu", "RMSNormalization", "Reciprocal", "Relu", "RotaryEmbedding", "Sigmoid", "Sin", "Sinh", "Slice"],
    ...[
      "SimplifiedLayerNormalization",
      "Softmax",
      "Softplus",
      "Sqrt",
      "Swish",
      "Tan",
      "Tanh",
      "ThresholdedRelu",
      "TopK",
    ],
  ]),
  ...each(signed, ["ArgMax", "ArgMin", "CumSum", "Pow", "Range", "Resize", "Trilu"]),
  ...each(signed, ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"]),
  ...each(signed, ["ReduceProd", "ReduceSum", "ReduceSumSquare"]),
  ...each(numbers, [
    ...["Add", "CenterCropPad", "Clip", "Concat", "Div", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less"],
    ...["LessOrEqual", "Max", "Min", "Mul", "Pad", "ScatterElements", "ScatterND", "Split", "Squeeze", "Sub", "Tile"],
    ...["Equal", "Transpose"],
  ]),
  ...each([...numbers, "bool"], ["Flatten", "Unsqueeze", "Where"]),
  ...each(stored, ["Cast", "CastLike", "Expand", "Gather", "Reshape"]),
  ...each(["bool"], ["And", "If", "Not"]),
  ...each(["float32"], ["GRU", "LSTM"]),
  // Goes when a model is loaded.
  ...each([...floats, "float64"], ["Dropout"]),
  ...each(["float16"], ["LogSoftmax"]),
  ...each(["int8", "uint8", "int4", "uint4", "int32"], ["DequantizeLinear"]),
  ...each(
    floats,
    [
      ...["Attention", "BiasAdd", "BiasGelu", "BiasSplitGelu", "FastGelu", "FusedConv", "Gelu", "GroupQueryAttention"],
      ...["MatMulBnb4", "MatMulNBits", "MultiHeadAttention", "QMoE", "QuickGelu", "RotaryEmbedding"],
      ...["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"],
    ].map((op) => `com.microsoft.${op}`),
  ),
  ...each(["uint8", "int4", "uint4"], ["com.microsoft.GatherBlockQuantized"]),
]);

/** Ops of ONNX Runtime's own that it runs on the CPU only. Of those in neither list nothing is said. */
export const cpuOnly: ReadonlySet<string> = new Set(
  [
    ...["CDist", "DecoderMaskedMultiHeadAttention", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"],
    ...["EmbedLayerNormalization", "ExpandDims", "FusedGemm", "FusedMatMul", "Inverse", "MatMulIntegerToFloat", "MoE"],
    ...["QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool"],
    ...[
      "QLinearLeakyRelu",
      "QLinearMul",
      "QLinearSigmoid",
      "QLinearSoftmax",
      "QLinearWhere",
      "QuantizeLinear",
      "Trilu",
    ],
  ].map((op) => `com.microsoft.${op}`),
);

/** The opsets from which on ONNX has a version of an op that no kernel is registered for. */
export const outgrown: ReadonlyMap<string, number> = new Map([
  ...["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "ConvTranspose", "Cos", "Cosh", "Elu", "GRU"].map(at22),
  ...["GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "LSTM", "MaxPool", "Sin", "Sinh", "Tan"].map(at22),
  ...["HardSwish", "ThresholdedRelu"].map(at22),
  ["Flatten", 23],
  ["If", 23],
]);

/** Types that the CPU kernels of this build leave out, to make it smaller, where an op is not among `everyType`. */
export const leftOut: ReadonlySet<ElementType> = new Set([
  "float64",
  "int16",
  "uint16",
  "int4",
  "uint4",
  "bfloat16",
] as const);

/** Ops whose CPU kernels take those, too. */
export const everyType: Readonly<Record<string, readonly ElementType[]>> = {
  ...moving(["Compress", "Concat", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Shape"]),
  ...moving(["Size", "Squeeze", "Tile", "Unsqueeze"]),
  Transpose: ["float64", "int16", "uint16", "int4", "uint4"],
  DepthToSpace: ["float64"],
  SpaceToDepth: ["float64"],
  DFT: ["float64"],
  STFT: ["float64"],
  Einsum: ["float64"],
  GRU: ["float64"],
  LSTM: ["float64"],
  Trilu: ["float64"],
  Clip: ["float64", "int16", "uint16"],
  Dropout: ["float64"],
  QuantizeLinear: ["int16", "uint16"],
  DequantizeLinear: ["int16", "uint16", "int4", "uint4"],
  "com.microsoft.QuantizeLinear": ["int16", "uint16", "int4", "uint4"],
  "com.microsoft.DequantizeLinear": ["int16", "uint16", "int4", "uint4"],
  "com.microsoft.GatherBlockQuantized": ["int4", "uint4"],
};

/** Ops that this build has no kernel for at all; the builds for the CPU do. */
export const missing: ReadonlySet<string> = new Set(["TfIdfVectorizer", "OptionalGetElement", "OptionalHasElement"]);

function each(types: readonly ElementType[], ops: readonly string[]): (readonly [string, readonly ElementType[]])[] {
  return ops.map((op) => [op, types] as const);
}

function moving(ops: readonly string[]): Record<string, readonly ElementType[]> {
  return Object.fromEntries(ops.map((op) => [op, ["float64", "int16", "uint16"]]));
}

function at22(op: string): [string, number] {
  return [op, 22];
}
