import type { CodeDType } from "../../dtypes.ts";
import type { Axis, Granularity } from "../../engine/tensors/granularity.ts";
import { scaleShapeOf } from "../../engine/tensors/granularity.ts";
import type { RangeMethod } from "../../engine/tensors/range-method.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import type { AxisRange } from "../ir/operators.ts";
import type { FloatConstant } from "./find-weights.ts";

/** How quantized weights are restored in the graph. */
export const weightForms = ["cast", "qdq"] as const;
export type RestoredFormat = (typeof weightForms)[number];

/** How one constant is quantized. */
export interface WeightQuantization {
  readonly dtype: CodeDType;
  readonly scheme: "symmetric" | "asymmetric";
  readonly granularity: Granularity;
  /** How many scales that makes. */
  readonly groups: number;
  readonly reduceRange: boolean;
  /** Unsigned symmetric codes as the signed ones plus the zero point, which is one for all groups. */
  readonly narrowRange?: boolean | undefined;
  /** How ranges are chosen. Default: `minmax`. */
  readonly range?: RangeMethod | undefined;
}

export interface WeightOnlyOptions {
  readonly dtype: CodeDType;
  readonly scheme: "symmetric" | "asymmetric";
  readonly perChannel: boolean;
  readonly blockSize?: number | undefined;
  readonly reduceRange: boolean;
  /** How ranges are chosen. Default: `minmax`. */
  readonly range?: RangeMethod | undefined;
  /** The tool whose codes are wanted, where it is another one. */
  readonly like?: "onnxruntime" | undefined;
  readonly form: RestoredFormat;
  /** The type of tables whose codes are looked up, where it is not that of the others. */
  readonly tableDtype?: "int8" | "uint8" | undefined;
}

/** Chooses the granularity that suits the nodes that use a constant. */
export function weightQuantizationFor(constant: FloatConstant, options: WeightOnlyOptions): WeightQuantization {
  const { dtype, scheme, reduceRange, range } = options;
  const granularity = granularityFor(constant, options);
  const groups = elementsOf(scaleShapeOf(constant.tensor.shape, granularity));
  return { dtype, scheme, granularity, groups, reduceRange, narrowRange: isNarrow(options), range };
}

/**
 * Whether unsigned codes are the signed ones plus the zero point: symmetric ones are, unless they are to be as ONNX Runtime's
 * tool has them. Undefined where they are not, so that quantizations of one kind are written in one way.
 */
export function isNarrow({
  dtype,
  scheme,
  like,
}: Pick<WeightOnlyOptions, "dtype" | "scheme" | "like">): true | undefined {
  return scheme === "symmetric" && (dtype === "uint8" || dtype === "uint16") && like === undefined ? true : undefined;
}

/** Groups that suit the nodes that use a constant. */
export function granularityFor(
  { uses, tensor: { shape } }: FloatConstant,
  { perChannel, blockSize, form }: WeightOnlyOptions,
): Granularity {
  const block = uses.find(({ axes }) => axes?.block !== undefined)?.axes?.block;
  // Where the axis that is summed over is none of the weight's own, channels have to do.
  if (blockSize !== undefined && block !== undefined) return { axis: block, blockSize };
  if (!perChannel || shape.length < 2) return {};
  if (form === "qdq") return { axis: singleChannel(uses, shape) };
  const channel = uses.find(({ axes }) => axes?.channel)?.axes?.channel;
  return { axis: channel && axisOf(channel) };
}

/**
 * DequantizeLinear has one axis for its scales. Where a table's rows are gathered before they are restored, scales for
 * its rows would have to be gathered with them, which DequantizeLinear has no form for: its columns get them.
 */
function singleChannel(uses: FloatConstant["uses"], shape: readonly number[]): number | undefined {
  for (const { node, axes, direct } of uses) {
    if (!axes?.channel) continue;
    if (node.opType === "Gather" && direct && axes.block !== undefined) return axes.block;
    const [first, last] = axes.channel;
    const many = shape.slice(first, last + 1).flatMap((dimension, i) => (dimension > 1 ? [first + i] : []));
    if (many.length <= 1) return many[0] ?? first;
    if (node.opType !== "Gather") return many.at(-1);
  }
  return undefined;
}

function axisOf([first, last]: AxisRange): Axis {
  return first === last ? first : [first, last];
}
