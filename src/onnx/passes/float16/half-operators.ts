import type { HalfDType } from "../../../dtypes.ts";
import type { Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";

/**
 * What operators take in half precision, from the type constraints of ONNX's changelog and of ONNX Runtime's own ops.
 * ONNX Runtime's CPU has few kernels in float16, and casts around all others by itself, wherever an input is float16: all
 * that is named here loads there. It cannot cast for nodes that make a float16 out of none.
 */

/** Ops of which every float may be float16 since they are there, by the opset that gave them bfloat16. */
const ops: Readonly<Record<number, string>> = {
  13: `Abs Add ArgMax ArgMin Ceil Clip Concat DepthToSpace Div Dropout Equal Erf Exp Expand Flatten Floor Gather
    GatherElements GatherND Gemm Greater Hardmax Identity IsNaN LRN Less Log LogSoftmax MatMul Max Mean
    MeanVarianceNormalization Min Mod Mul Neg NonZero Pad Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ScatterElements ScatterND
    Sigmoid Sign Slice Softmax SoftmaxCrossEntropyLoss SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile Transpose
    Unsqueeze`,
  14: "BatchNormalization CumSum Trilu",
  15: "CastLike Pow",
  16: "GreaterOrEqual If LeakyRelu LessOrEqual Loop PRelu Scan Where",
  17: "DFT LayerNormalization STFT",
  18: "CenterCropPad Col2Im GroupNormalization",
  20: "AffineGrid ConstantOfShape Gelu IsInf",
  22: `Acos Acosh Asin Asinh Atan Atanh AveragePool Bernoulli Conv ConvTranspose Cos Cosh DeformConv Det Elu GRU
    GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample HardSigmoid HardSwish InstanceNormalization LSTM
    LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool Mish Multinomial NegativeLogLikelihoodLoss RNN RandomNormalLike
    RandomUniformLike RoiAlign Round Selu Sin Sinh Softplus Softsign Tan ThresholdedRelu`,
  23: "Attention RMSNormalization RotaryEmbedding",
  24: "Swish TensorScatter TopK",
  26: "CumProd",
  27: "CausalConvWithState LinearAttention Range",
  28: "Celu SwiGLU",
  [Number.POSITIVE_INFINITY]: "Compress Einsum OneHot ReverseSequence Scatter Shrink Unique Upsample",
};

/** Those that got float16 later than they came. */
const lateHalves: Readonly<Record<string, number>> = { Celu: 28, CumSum: 14, IsInf: 20, Range: 27 };

/** ONNX Runtime's own, which have no opsets; SimplifiedLayerNormalization goes under ONNX's domain. */
const own = {
  bfloat16: `SimplifiedLayerNormalization com.microsoft.Attention com.microsoft.BiasGelu com.microsoft.FastGelu
    com.microsoft.FusedMatMul com.microsoft.GatherBlockQuantized com.microsoft.Gelu com.microsoft.GroupQueryAttention
    com.microsoft.MatMulBnb4 com.microsoft.MatMulNBits com.microsoft.MultiHeadAttention com.microsoft.QuickGelu
    com.microsoft.RotaryEmbedding com.microsoft.SkipLayerNormalization
    com.microsoft.SkipSimplifiedLayerNormalization`,
  float16: `com.microsoft.BiasAdd com.microsoft.BiasSplitGelu com.microsoft.EmbedLayerNormalization
    com.microsoft.FusedConv com.microsoft.FusedGemm com.microsoft.GemmFastGelu com.microsoft.GridSample
    com.microsoft.GroupNorm com.microsoft.NhwcFusedConv com.microsoft.Pad com.microsoft.SkipGroupNorm
    com.microsoft.TransposeMatMul com.microsoft.Trilu`,
};

interface Since {
  readonly float16: number;
  readonly bfloat16: number;
}

const never = Number.POSITIVE_INFINITY;
const words = (text: string) => text.split(/\s+/);

const since: ReadonlyMap<string, Since> = new Map<string, Since>([
  ...Object.entries(ops).flatMap(([opset, names]) =>
    words(names).map((op) => [op, { float16: lateHalves[op] ?? 1, bfloat16: Number(opset) }] as const),
  ),
  ...words(own.bfloat16).map((op) => [op, { float16: 0, bfloat16: 0 }] as const),
  ...words(own.float16).map((op) => [op, { float16: 0, bfloat16: never }] as const),
]);

/** Whether an op takes half precision in some opset. */
export function isKnown(node: Node): boolean {
  return since.has(opNameOf(node));
}

/** Take halves as ONNX has it, and do not load or run so in ONNX Runtime. */
const failing: ReadonlySet<string> = new Set(["AffineGrid", "MeanVarianceNormalization"]);

export function isFailing(node: Node): boolean {
  return failing.has(opNameOf(node));
}

/** The opset from which an op takes a type: 0 from the first on, Infinity never. */
export function halfSince(node: Node, dtype: HalfDType): number {
  return since.get(opNameOf(node))?.[dtype] ?? never;
}

/** Inputs and outputs that are float32 whatever the others are. */
interface Fixed {
  readonly inputs?: readonly number[];
  readonly outputs?: readonly number[];
}

const fixed: Readonly<Record<string, Fixed>> = {
  // roi may be of another type than what is resized, scales must.
  Resize: { inputs: [1, 2] },
  Upsample: { inputs: [1] },
  Dropout: { inputs: [1] },
  // Mean and inverse deviation, in the type that stash_type says.
  LayerNormalization: { outputs: [1, 2] },
  SimplifiedLayerNormalization: { outputs: [1] },
  "com.microsoft.SkipLayerNormalization": { outputs: [1, 2] },
  "com.microsoft.SkipSimplifiedLayerNormalization": { outputs: [1, 2] },
  "com.microsoft.GroupNorm": { inputs: [1, 2] },
  "com.microsoft.SkipGroupNorm": { inputs: [1, 2] },
  // Scales of a cache that is quantized.
  "com.microsoft.GroupQueryAttention": { inputs: [12, 13] },
};

export function fixedOf(node: Node): Fixed {
  return fixed[opNameOf(node)] ?? {};
}

/** Move numbers, and reckon with none. */
const movers = new Set(
  words(`Compress Concat ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape
    ReverseSequence Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Where`),
);

export function isMover(node: Node): boolean {
  return movers.has(opNameOf(node));
}

/** Take values of any type, for their shape or to make another of them. */
export function takesAny(node: Node): boolean {
  return node.domain === "" && (node.opType === "Cast" || node.opType === "Shape" || node.opType === "Size");
}

/** Run other graphs, to which values pass. */
export function isControl(node: Node): boolean {
  return node.domain === "" && (node.opType === "If" || node.opType === "Loop" || node.opType === "Scan");
}
