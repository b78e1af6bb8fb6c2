import type { Rewrite } from "../opset-step.ts";
import * as parameters from "./attributes-to-inputs.ts";
import * as layers from "./layer-rewrites.ts";
import * as early from "./opset-2-to-9.ts";
import * as resize from "./resize.ts";
import { softmaxAxis } from "./softmax.ts";

/** A rewrite by operators and opset: what the stars in operator-versions.ts stand for. */
const rewrites = new Map<string, Rewrite>();

function register(opset: number, ops: string, rewrite: Rewrite): void {
  for (const op of ops.split(/\s+/)) rewrites.set(`${op} ${opset}`, rewrite);
}

register(2, "Pad", early.padNames);
register(2, "Split", early.splitAttributes);
register(2, "LpPool GlobalLpPool", early.wholeNorm);
register(4, "Concat", early.concatAxis);
register(5, "Reshape", parameters.reshapeToInput);
register(
  6,
  `Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Max
  Mean Min Mul Neg PRelu Reciprocal Relu Sigmoid Sqrt Sub Sum Tanh`,
  early.dropConsumed,
);
register(6, "Selu", early.seluDefaults);
register(6, "Cast", early.castByNumber);
register(6, "Tile", early.tileRepeats);
register(7, "Add Sub Mul Div Pow And Or Xor Equal Greater Less", early.broadcastFromEnd);
register(7, "Gemm", early.gemmBroadcast);
register(7, "PRelu", early.slopeOfChannels);
register(7, "RNN GRU LSTM", early.dropOutputSequence);
register(7, "BatchNormalization Dropout", early.dropIsTest);
register(7, "Upsample", resize.upsampleScales);
register(9, "BatchNormalization", layers.spatialOnly);
register(9, "Upsample", resize.upsampleToInput);
register(9, "Scan", layers.scanWithoutBatch);
register(10, "Upsample", resize.upsampleToResize);
register(10, "Dropout", parameters.dropMask);
register(10, "Slice", parameters.sliceToInputs);
register(10, "TopK", parameters.topKToInput);
register(11, "Clip", parameters.clipToInputs);
register(11, "Pad", parameters.padToInputs);
register(11, "Resize", resize.resizeAsBefore);
register(11, "Scatter", layers.scatterElements);
register(12, "Dropout", parameters.dropoutToInput);
register(13, "Softmax LogSoftmax Hardmax", softmaxAxis);
register(13, "Squeeze Unsqueeze ReduceSum", parameters.axesToInput);
register(13, "Split", parameters.splitToInput);
register(13, "Resize", resize.resizeOptions);
register(13, "Erf", layers.floatsOnly);
register(14, "BatchNormalization", layers.noTraining);
register(16, "RoiAlign", resize.roiAlignPixel);
register(
  18,
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare",
  parameters.axesToInput,
);
register(18, "Split", parameters.splitCount);
register(20, "DFT", parameters.dftAxisToInput);
register(20, "GridSample", resize.gridSampleMode);
register(21, "GroupNormalization", layers.groupToChannels);

export function rewriteOf(op: string, opset: number): Rewrite | undefined {
  return rewrites.get(`${op} ${opset}`);
}

/** As `op opset`, for whoever holds them against the table. */
export const rewriteNames: readonly string[] = [...rewrites.keys()];
