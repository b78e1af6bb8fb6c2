import type { CodeOptions } from "../engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../engine/tensors/range-method.ts";

export interface ObserverOptions extends CodeOptions {
  /**
   * How the range is chosen. Default: `minmax`. `moving-average` averages the extremes of the tensors, each new one with a
   * weight of 0.01.
   */
  readonly method?: RangeMethod | "moving-average" | undefined;
  /** The channel axis, for a range per channel. Default: one range for all. */
  readonly axis?: number | undefined;
}
