import type { HalfDType } from "../../../dtypes.ts";
import type { BitWidth, BlockAlgorithm, BlockSize } from "../../../engine/blockwise/quantize-matrix.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";

/** What a product is computed in, by MatMulNBits' numbers: 0, the runtime decides; float32, float16, bfloat16, int8. */
export const accuracyLevels = [0, 1, 2, 3, 4] as const;
export type AccuracyLevel = (typeof accuracyLevels)[number];

export interface NbitsOptions extends WeightSelection {
  /** The op types that are taken if the options name none. */
  readonly usual: readonly string[];
  readonly bits: BitWidth;
  readonly blockSize: BlockSize;
  readonly scheme: "symmetric" | "asymmetric";
  readonly algorithm: BlockAlgorithm;
  /** Of `rtn`: the share of a block's values that its range holds, in percent. Default: 100. */
  readonly percentile?: number | undefined;
  readonly accuracyLevel: AccuracyLevel;
  /** What scales are stored as. Default: the type of the weights. */
  readonly scaleDtype?: HalfDType | undefined;
  /** The bits in which tables run where the model is to run. Default: all. */
  readonly gatherBits?: readonly BitWidth[] | undefined;
}
