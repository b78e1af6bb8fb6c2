import type { Rewrite } from "../opset-step.ts";
import * as parameters from "./attributes-to-inputs.ts";
import * as layers from "./layer-rewrites.ts";
import * as early from "./opset-2-to-9.ts";
import * as resize from "./resize.ts";
import { softmaxAxis } from "./softmax.ts";

/** A rewrite by operators and opset: what the stars in operator-versions.ts stand for. */
const rewrites = new Map<string, Rewrite>();

/** Rewrites that lead to an opset, by the operators they are for. */
function register(opset: number, byOperators: Readonly<Record<string, Rewrite>>): void {
  for (const [ops, rewrite] of Object.entries(byOperators)) {
    for (const op of ops.split(/\s+/)) rewrites.set(`${op} ${opset}`, rewrite);
  }
}

register(2, { Pad: early.padNames, Split: early.splitAttributes, "LpPool GlobalLpPool": early.wholeNorm });
register(4, { Concat: early.concatAxis });
register(5, { Reshape: parameters.reshapeToInput });
register(6, {
  [`Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Max
  Mean Min Mul Neg PRelu Reciprocal Relu Sigmoid Sqrt Sub Sum Tanh`]: early.dropConsumed,
  Selu: early.seluDefaults,
  Cast: early.castByNumber,
  Tile: early.tileRepeats,
});
register(7, {
  "Add Sub Mul Div Pow And Or Xor Equal Greater Less": early.broadcastFromEnd,
  Gemm: early.gemmBroadcast,
  PRelu: early.slopeOfChannels,
  "RNN GRU LSTM": early.dropOutputSequence,
  "BatchNormalization Dropout": early.dropIsTest,
  Upsample: resize.upsampleScales,
});
register(9, {
  BatchNormalization: layers.spatialOnly,
  Upsample: resize.upsampleToInput,
  Scan: layers.scanWithoutBatch,
});
register(10, {
  Upsample: resize.upsampleToResize,
  Dropout: parameters.dropMask,
  Slice: parameters.sliceToInputs,
  TopK: parameters.topKToInput,
});
register(11, {
  Clip: parameters.clipToInputs,
  Pad: parameters.padToInputs,
  Resize: resize.resizeAsBefore,
  Scatter: layers.scatterElements,
});
register(12, { Dropout: parameters.dropoutToInput });
register(13, {
  "Softmax LogSoftmax Hardmax": softmaxAxis,
  "Squeeze Unsqueeze ReduceSum": parameters.axesToInput,
  Split: parameters.splitToInput,
  Resize: resize.resizeOptions,
  Erf: layers.floatsOnly,
});
register(14, { BatchNormalization: layers.noTraining });
register(16, { RoiAlign: resize.roiAlignPixel });
register(18, {
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare":
    parameters.axesToInput,
  Split: parameters.splitCount,
});
register(20, { DFT: parameters.dftAxisToInput, GridSample: resize.gridSampleMode });
register(21, { GroupNormalization: layers.groupToChannels });

export function rewriteOf(op: string, opset: number): Rewrite | undefined {
  return rewrites.get(`${op} ${opset}`);
}

/** As `op opset`, for whoever holds them against the table. */
export const rewriteNames: readonly string[] = [...rewrites.keys()];
