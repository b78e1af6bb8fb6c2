import type { CodeDType } from "../../dtypes.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../../engine/tensors/range-method.ts";
import type { SchemeName } from "../../engine/tensors/schemes.ts";
import type { NameGlobs } from "../../pipeline/name-globs.ts";
import type { TaskOptions } from "../../pipeline/progress.ts";

export interface QuantizeCheckpointOptions extends Selection, TaskOptions {
  readonly reduceRange: boolean;
  /** How ranges are chosen. Default: `minmax`. */
  readonly weightRange?: RangeMethod | undefined;
  readonly nonFinite: NonFinite;
  readonly allowUnchanged: boolean;
}

/** Which tensors to quantize, and how. */
export interface Selection extends NameGlobs {
  readonly dtype: CodeDType;
  readonly scheme: SchemeName;
  /** A scale for each slice along `axis`, or one for the tensor. */
  readonly perChannel: boolean;
  /** The channel axis (default: 0); with `blockSize` the axis that blocks run along (default: 1). */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
}
