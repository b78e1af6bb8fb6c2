import { type CodeDType, codeTypes } from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import { roundHalfToEven } from "../../kernels/rounding.ts";

/**
 * How a range becomes codes.
 *
 * - `asymmetric`, `symmetric`: scale and zero point as ONNX Runtime's quantization tool computes them.
 * - `float-offset`: the range as found, the offset kept in floating point.
 * - `dynamic`: ONNX DynamicQuantizeLinear; uint8 only.
 */
export type SchemeName = "asymmetric" | "symmetric" | "float-offset" | "dynamic";

export const schemeNames: readonly SchemeName[] = ["asymmetric", "symmetric", "float-offset", "dynamic"];

/** Extremes of each group. */
export interface ValueRange {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** What the kernels need for each group; `span` (max - min) and `min` under `float-offset` alone. */
export interface Parameters {
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
  readonly min?: Float32Array;
  readonly span?: Float32Array;
}

/** The codes a scheme uses of a type's range. */
export interface Levels {
  readonly qmin: number;
  readonly qmax: number;
}

export interface SchemeOptions {
  readonly dtype: CodeDType;
  readonly scheme: SchemeName;
  /** One bit less, against saturation in 16-bit accumulators. */
  readonly reduceRange: boolean;
  /** Leaves out the lowest unsigned code, so that `symmetric` gives the codes of the signed type plus the middle one. */
  readonly narrowRange?: boolean | undefined;
  /** Whether groups are blocks. */
  readonly blocks: boolean;
}

const SMALLEST_NORMAL = 1.1754943508222875e-38;
const { fround } = Math;

const signedTypes: Readonly<Record<CodeDType, CodeDType>> = {
  ...{ int8: "int8", uint8: "int8", int16: "int16", uint16: "int16", int4: "int4", uint4: "int4" },
};

/**
 * The lowest and highest code used: ONNX Runtime's table, where `reduceRange` wins over symmetry and 4 bits are used in
 * full.
 */
export function levelsOf({ dtype, scheme, reduceRange, narrowRange }: Omit<SchemeOptions, "blocks">): Levels {
  const { bits, signed, min, max } = codeTypes[dtype];
  if (narrowRange) {
    const { qmin, qmax } = levelsOf({ dtype: signedTypes[dtype], scheme: "symmetric", reduceRange });
    const middle = 2 ** (bits - 1);
    return { qmin: qmin + middle, qmax: qmax + middle };
  }
  if (reduceRange) {
    const half = 2 ** (bits - 2);
    if (!signed) return { qmin: 0, qmax: 2 * half - 1 };
    return bits === 4 ? { qmin: -half, qmax: half - 1 } : { qmin: -half, qmax: half };
  }
  return { qmin: scheme === "symmetric" && signed && bits > 4 ? -max : min, qmax: max };
}

/** Whether the scheme needs no more than the largest magnitude of each group. */
export function needsMagnitudeOnly({ dtype, scheme, blocks }: SchemeOptions): boolean {
  return scheme === "symmetric" && !(dtype === "int4" && blocks);
}

/** Whether zero points are 0 throughout: arrays of them then need not be written, and so take no memory. */
export function hasNoZeroPoints({ dtype, scheme }: Pick<SchemeOptions, "dtype" | "scheme">): boolean {
  return scheme === "symmetric" && codeTypes[dtype].signed;
}

/** Parameters from the range of each group. */
export function parametersOf(range: ValueRange, options: SchemeOptions): Parameters {
  const levels = levelsOf(options);
  if (options.scheme === "float-offset") return floatOffsetParameters(range, levels);
  const n = range.min.length;
  const parameters = { scale: new Float32Array(n), zeroPoint: new Int32Array(n) };
  ruleOf(options)(range, levels, parameters);
  return parameters;
}

/** Fills in scale and zero point of every group; the loop is the rule's own, since there may be millions. */
type Rule = (range: ValueRange, levels: Levels, into: Parameters) => void;

function ruleOf({ dtype, scheme, blocks }: SchemeOptions): Rule {
  if (scheme === "dynamic") return dynamic;
  if (scheme === "asymmetric") return asymmetric;
  return dtype === "int4" && blocks ? signedExtreme : symmetric;
}

/**
 * ONNX Runtime `compute_scale_zp`: range widened to hold 0, float32 span, float64 scale, zero point from the scale before
 * it is rounded to float32; a scale below the smallest normal float32 becomes 1 with zero point 0.
 */
const asymmetric: Rule = ({ min, max }, { qmin, qmax }, { scale, zeroPoint }) => {
  for (let i = 0; i < min.length; i++) {
    const low = Math.min(min[i]!, 0);
    const exact = spanOf(low, Math.max(max[i]!, 0)) / (qmax - qmin);
    const tiny = exact < SMALLEST_NORMAL;
    scale[i] = tiny ? 1 : exact;
    zeroPoint[i] = tiny ? 0 : roundHalfToEven(qmin - low / exact);
  }
};

/** The same over ±(largest magnitude), the zero point in the middle of the codes. */
const symmetric: Rule = ({ min, max }, { qmin, qmax }, { scale, zeroPoint }) => {
  const middle = roundHalfToEven((qmin + qmax) / 2);
  for (let i = 0; i < min.length; i++) {
    const magnitude = Math.max(-min[i]!, max[i]!, 0);
    const exact = spanOf(-magnitude, magnitude) / (qmax - qmin);
    const tiny = exact < SMALLEST_NORMAL;
    scale[i] = tiny ? 1 : exact;
    zeroPoint[i] = tiny ? 0 : middle;
  }
};

/**
 * int4 in blocks, as ONNX Runtime's MatMulNBits packer: the value of largest magnitude, sign and all, meets the lowest
 * code exactly, so that the scale is negative where that value is positive. Of two as large the negative one counts.
 */
const signedExtreme: Rule = ({ min, max }, { qmin }, { scale }) => {
  for (let i = 0; i < min.length; i++) {
    const exact = (-min[i]! >= max[i]! ? min[i]! : max[i]!) / qmin;
    scale[i] = Math.abs(exact) < SMALLEST_NORMAL ? 1 : exact;
  }
};

/**
 * ONNX DynamicQuantizeLinear as ONNX Runtime computes it, float32 at every step; but where the scale would underflow to
 * 0, which no code can be divided by, it is 1, as for all zeros.
 */
const dynamic: Rule = ({ min, max }, { qmin, qmax }, { scale, zeroPoint }) => {
  for (let i = 0; i < min.length; i++) {
    const low = Math.min(min[i]!, 0);
    const step = fround(spanOf(low, Math.max(max[i]!, 0)) / (qmax - qmin)) || 1;
    scale[i] = step;
    zeroPoint[i] = roundHalfToEven(Math.max(qmin, Math.min(qmax, fround(qmin - fround(low / step)))));
  }
};

/** max - min in float32, or in float64 where float32 has no number that large (the tool's scale is infinite then). */
function spanOf(min: number, max: number): number {
  const span = fround(max - min);
  return Number.isFinite(span) ? span : max - min;
}

/** span = max - min, scale = span / (qmax - qmin), each rounded to float32; no widening, no special cases. */
function floatOffsetParameters({ min, max }: ValueRange, { qmin, qmax }: Levels): Parameters {
  const span = min.map((low, i) => max[i]! - low);
  const large = span.findIndex((s) => !Number.isFinite(s));
  if (large >= 0) {
    throw new ArgumentError(
      "scheme",
      `float-offset: ${min[large]} to ${max[large]} is wider than float32; take "asymmetric"`,
    );
  }
  return {
    scale: span.map((s) => s / (qmax - qmin)),
    zeroPoint: new Int32Array(min.length).fill(qmin),
    min,
    span,
  };
}
