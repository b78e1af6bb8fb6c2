import type { Node } from "./graph.ts";
import { opNameOf } from "./operators.ts";

/** Where operators that normalize along the last axis have their scale and bias. */
export const channelNorms: Readonly<Record<string, { readonly scale: number; readonly bias?: number }>> = {
  LayerNormalization: { scale: 1, bias: 2 },
  RMSNormalization: { scale: 1 },
  SimplifiedLayerNormalization: { scale: 1 },
  "com.microsoft.SimplifiedLayerNormalization": { scale: 1 },
  "com.microsoft.SkipLayerNormalization": { scale: 2, bias: 3 },
  "com.microsoft.SkipSimplifiedLayerNormalization": { scale: 2 },
};

/** Inputs of other operators, whatever they are fed. */
const others: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  BatchNormalization: { scale: 1, bias: 2, mean: 3, variance: 4 },
  InstanceNormalization: { scale: 1, bias: 2 },
  GroupNormalization: { scale: 1, bias: 2 },
  "com.microsoft.GroupNorm": { scale: 1, bias: 2 },
  "com.microsoft.EmbedLayerNormalization": { scale: 5, bias: 6 },
  Conv: { bias: 2 },
  ConvTranspose: { bias: 2 },
  "com.microsoft.FusedConv": { bias: 2 },
  Gemm: { bias: 2 },
  "com.microsoft.FusedGemm": { bias: 2 },
  "com.microsoft.Attention": { bias: 2 },
  LSTM: { bias: 3, "initial state": 5, "initial cell": 6, "set of peepholes": 7 },
  GRU: { bias: 3, "initial state": 5 },
  RNN: { bias: 3, "initial state": 5 },
  PRelu: { slope: 1 },
};

/** What a vector is to operators that take two values of any shape. */
const ofVectors: Readonly<Record<string, string>> = { Add: "bias", Sub: "bias", Mul: "scale", Div: "scale" };

/** What a constant is to a node to which it is not a weight: "scale", "bias"; undefined where it has no such name. */
export function roleOf(node: Node, input: number, shape: readonly number[]): string | undefined {
  const op = opNameOf(node);
  const named: Readonly<Record<string, number>> = { ...others[op], ...channelNorms[op] };
  const role = Object.keys(named).find((name) => named[name] === input);
  const isVector = shape.filter((size) => size !== 1).length <= 1;
  return role ?? (isVector ? ofVectors[op] : undefined);
}
