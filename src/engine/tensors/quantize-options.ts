import { type ArrayOf, type CodeDType, codeTypes, type IntegerType } from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import type { Words } from "../../messages.ts";
import { checkGranularity, type Granularity, type Layout, layoutOf } from "./granularity.ts";
import { type RangeMethod, type RangeRule, rangeRuleOf } from "./range-method.ts";
import {
  type Parameters,
  parametersOf,
  type SchemeName,
  type SchemeOptions,
  schemeNames,
  type ValueRange,
} from "./schemes.ts";

/** What to do with NaN and infinities when a range is sought: refuse the data, or leave them out. */
export type NonFinite = "error" | "ignore";

/** One value for each group; a number where there is one group. */
export type PerGroupValues = number | ArrayLike<number>;

export interface RangeOptions extends Granularity {
  /** `"error"` (the default) refuses NaN and infinities, `"ignore"` leaves them out. */
  readonly nonFinite?: NonFinite | undefined;
}

/** A range given by the caller. */
export interface GivenRange {
  readonly min: PerGroupValues;
  readonly max: PerGroupValues;
}

/** What decides the codes besides the range. */
export interface CodeOptions<D extends CodeDType = CodeDType> {
  /** Default: int8. */
  readonly dtype?: D | undefined;
  /** Default: `symmetric` for signed types, `asymmetric` for unsigned ones. */
  readonly scheme?: SchemeName | undefined;
  /** Leaves half of the codes unused, for runtimes whose 16-bit accumulators saturate. */
  readonly reduceRange?: boolean | undefined;
  /**
   * Of uint8 and uint16, `symmetric`: leaves out the lowest code, so that the codes are those of the signed type plus the
   * zero point, 128 or 32768. Without it the scale is `2 * absmax / 255`, as ONNX Runtime's tool has it, under which +absmax
   * saturates.
   */
  readonly narrowRange?: boolean | undefined;
}

/** `dtype`, `scheme` and the like matter to methods that look at the codes: `mse`, `entropy`, and `percentile` by its scheme. */
export interface FindRangeOptions extends RangeOptions, CodeOptions {
  /** How the range of each group is chosen. Default: `minmax`. */
  readonly method?: RangeMethod | undefined;
}

export interface QuantizeOptions<D extends CodeDType = CodeDType> extends RangeOptions, CodeOptions<D> {
  /** The scales to use: the data is not scanned. Negative ones are allowed, 0 is not. */
  readonly scale?: PerGroupValues | undefined;
  /** The zero points that go with `scale`. Default: 0. */
  readonly zeroPoint?: PerGroupValues | undefined;
  /**
   * How the range of each group is chosen. Default: `minmax`. Or the range to use, from calibration perhaps: the data is not
   * scanned then.
   */
  readonly range?: RangeMethod | GivenRange | undefined;
  /** Takes the codes, instead of a new array. */
  readonly out?: ArrayOf<D> | undefined;
}

/** The code types' names, for options that are checked against them. */
export const codeNames = Object.keys(codeTypes) as readonly CodeDType[];

const rangeOptions = ["axis", "blockSize", "nonFinite"] as const satisfies (keyof RangeOptions)[];
const codeOptions = ["dtype", "scheme", "reduceRange", "narrowRange"] as const satisfies (keyof CodeOptions)[];
const findRangeOptions = [...rangeOptions, ...codeOptions, "method"] as const satisfies (keyof FindRangeOptions)[];
const quantizeOptions = [
  ...rangeOptions,
  ...codeOptions,
  "scale",
  "zeroPoint",
  "range",
  "out",
] as const satisfies (keyof QuantizeOptions)[];

/** @throws ArgumentError for a key that is not one of `known`: a misspelt option would be ignored in silence. */
export function checkKeys(options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new ArgumentError("options", `${String(options)} given; an object is wanted`);
  }
  for (const key in options) {
    if (!known.includes(key))
      throw new ArgumentError(key, `no such option; there are ${known.join(", ")}`, { code: "unknown-option" });
  }
}

/** @throws ArgumentError unless `value` is true, false or not said. */
export function checkBoolean(argument: string, value: boolean | undefined, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value === "boolean") return value;
  throw new ArgumentError(argument, `${String(value)} given; true and false are allowed`);
}

/** @throws ArgumentError for an option that is given where it means nothing */
export function refuseGiven<O extends object>(
  options: O,
  names: readonly (keyof O & string)[],
  why: string | Words,
): void {
  for (const name of names) if (options[name] !== undefined) throw new ArgumentError(name, why);
}

/** @throws ArgumentError unless `value` is a whole number from `least` on, or undefined */
export function checkWhole(
  argument: string,
  value: number | undefined,
  least = Number.MIN_SAFE_INTEGER,
): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  const allowed = least === 1 ? "whole numbers above 0" : least === 0 ? "whole numbers from 0 on" : "whole numbers";
  throw new ArgumentError(argument, `${String(value)} (${typeof value}) given; ${allowed} are allowed`);
}

/** @throws ArgumentError unless `value` is one of `allowed`. */
export function oneOf<const T extends string | number>(
  argument: string,
  value: string | number,
  allowed: readonly T[],
): T {
  const found = allowed.find((each) => each === value);
  if (found !== undefined) return found;
  const given = typeof value === "string" ? JSON.stringify(value) : String(value);
  throw new ArgumentError(argument, `${given} given; ${allowed.join(", ")} are allowed`);
}

export interface RangePlan {
  readonly granularity: Granularity;
  readonly layout: Layout;
  readonly nonFinite: NonFinite;
}

/** Range options made definite and checked against a shape. */
export function planRange(shape: readonly number[], options: RangeOptions): RangePlan {
  checkKeys(options, rangeOptions);
  return rangePlanOf(shape, options);
}

function rangePlanOf(shape: readonly number[], options: RangeOptions): RangePlan {
  const granularity = checkGranularity(shape, options);
  const nonFinite = oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]);
  return { granularity, layout: layoutOf(shape, granularity), nonFinite };
}

/** Options of a range by any method made definite. */
export interface FindRangePlan extends RangePlan, SchemeOptions {
  readonly rule: RangeRule;
}

/** @throws ArgumentError */
export function planFindRange(shape: readonly number[], options: FindRangeOptions): FindRangePlan {
  checkKeys(options, findRangeOptions);
  const how = planCodes(options);
  const plan = rangePlanOf(shape, options);
  const blocks = plan.granularity.blockSize !== undefined;
  return { ...plan, ...how, blocks, rule: rangeRuleOf("method", options.method ?? "minmax") };
}

/** @throws ArgumentError */
export function planCodes<D extends CodeDType>(options: QuantizeOptions<D>) {
  const dtype = oneOf("dtype", options.dtype ?? ("int8" as D), codeNames as readonly D[]);
  const { signed } = codeTypes[dtype];
  const given = options.scale !== undefined;
  const scheme = oneOf("scheme", options.scheme ?? (signed && !given ? "symmetric" : "asymmetric"), schemeNames);
  const reduceRange = checkBoolean("reduceRange", options.reduceRange, false);
  const narrowRange = checkBoolean("narrowRange", options.narrowRange, false);
  checkTogether(dtype, scheme, options);
  return { dtype, scheme, reduceRange, narrowRange };
}

export interface QuantizePlan<D extends CodeDType> extends RangePlan, SchemeOptions {
  readonly dtype: D;
  /** How ranges are chosen, where they are not given. */
  readonly rule: RangeRule;
  /** Known beforehand where the caller gave scales or a range. */
  readonly parameters: Parameters | undefined;
}

/** Quantize options made definite and checked against a shape and against each other. */
export function planQuantize<D extends CodeDType>(
  shape: readonly number[],
  options: QuantizeOptions<D>,
): QuantizePlan<D> {
  checkKeys(options, quantizeOptions);
  const { dtype, scheme, reduceRange, narrowRange } = planCodes(options);
  const { granularity, layout, nonFinite } = rangePlanOf(shape, options);
  const blocks = granularity.blockSize !== undefined;
  const { range } = options;
  const isGiven = typeof range === "object" && range !== null;
  const rule = range === undefined || isGiven ? minmax : rangeRuleOf("range", range);
  let parameters: Parameters | undefined;
  if (options.scale !== undefined) parameters = givenParameters(options, layout, codeTypes[dtype]);
  else if (isGiven) {
    parameters = parametersOf(givenRange(range, layout), { dtype, scheme, reduceRange, narrowRange, blocks });
  }
  // Written out: a spread costs a small tensor more than its codes do.
  return { dtype, scheme, reduceRange, narrowRange, blocks, granularity, layout, nonFinite, rule, parameters };
}

const minmax: RangeRule = { name: "minmax" };

function checkTogether(dtype: CodeDType, scheme: SchemeName, options: QuantizeOptions): void {
  const { scale, zeroPoint, range, reduceRange, narrowRange } = options;
  if (narrowRange && (scheme !== "symmetric" || (dtype !== "uint8" && dtype !== "uint16"))) {
    throw new ArgumentError("narrowRange", `${dtype}, ${scheme} given; it is for uint8 and uint16, symmetric`);
  }
  if (scale === undefined && zeroPoint !== undefined) throw new ArgumentError("zeroPoint", "goes with scale");
  if (scale !== undefined && range !== undefined) throw new ArgumentError("range", "scale says it already; give one");
  if (scale !== undefined && (scheme === "float-offset" || scheme === "dynamic")) {
    throw new ArgumentError("scale", `${scheme} makes its own from a range; give range, or take "asymmetric"`);
  }
  if (scheme === "dynamic" && (dtype !== "uint8" || reduceRange)) {
    throw new ArgumentError("scheme", "dynamic is ONNX DynamicQuantizeLinear: uint8, its full range");
  }
}

/** @throws ArgumentError unless every scale is finite and not 0 and every zero point one of the type's codes. */
export function givenParameters(
  given: { readonly scale?: PerGroupValues | undefined; readonly zeroPoint?: PerGroupValues | undefined },
  { parameters }: Layout,
  { min, max }: IntegerType,
): Parameters {
  const scale = new Float32Array(perGroup("scale", given.scale, parameters));
  for (const s of scale) {
    if (s !== 0 && Number.isFinite(s)) continue;
    throw new ArgumentError("scale", `${s} given; scales are finite float32 numbers other than 0`);
  }
  const zeroPoint = new Int32Array(parameters);
  if (given.zeroPoint === undefined) return { scale, zeroPoint };
  const values = perGroup("zeroPoint", given.zeroPoint, parameters);
  for (let i = 0; i < parameters; i++) {
    const z = values[i]!;
    if (!(Number.isInteger(z) && z >= min && z <= max)) {
      throw new ArgumentError("zeroPoint", `${z} given; whole numbers ${min} to ${max} are allowed`);
    }
    zeroPoint[i] = z;
  }
  return { scale, zeroPoint };
}

/** @throws ArgumentError unless every bound is finite in float32 and no minimum above its maximum. */
function givenRange(given: GivenRange, { parameters }: Layout): ValueRange {
  const min = new Float32Array(perGroup("range.min", given.min, parameters));
  const max = new Float32Array(perGroup("range.max", given.max, parameters));
  for (let i = 0; i < parameters; i++) {
    const [low, high] = [min[i]!, max[i]!];
    if (!(low <= high && Number.isFinite(low) && Number.isFinite(high))) {
      throw new ArgumentError(
        "range",
        `${low} to ${high} given for group ${i}; finite numbers, min <= max, are allowed`,
      );
    }
  }
  return { min, max };
}

function perGroup(argument: string, values: PerGroupValues | undefined, groups: number): ArrayLike<number> {
  if (typeof values === "number" && groups === 1) return [values];
  if (typeof values === "object" && values !== null && values.length === groups) return values;
  const given = typeof values === "number" ? "one number" : `${values?.length} values`;
  throw new ArgumentError(argument, `${given} given; this axis and block size make ${groups} groups`);
}
