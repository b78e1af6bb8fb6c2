import { floatTypes, type HalfDType } from "../dtypes.ts";
import type { ConvertedToHalf } from "../engine/convert-half.ts";
import type { Engine } from "../engine/engine.ts";
import { addSums, type LossSums } from "../engine/measure/quantization-error.ts";
import type { ResidentTensor } from "../engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../engine/tensors/tensor.ts";
import { ArgumentError } from "../errors.ts";
import { decodeHalf } from "../formats/half-arrays.ts";
import { option, words } from "../messages.ts";

/** Numbers beyond the largest half that become it: all, those that stand for something endless, none. */
export type Clamping = "all" | "endless" | "none";

/** How floats become halves. */
export interface HalfConversion {
  readonly dtype: HalfDType;
  /** Which values beyond the largest half become it; the others are an error. */
  readonly clamps: Clamping;
  /** Those that would be 0 become the smallest half: what is divided by, or added so that it is never 0. */
  readonly raises: boolean;
  /** What `exclude` does about a value that is refused, for the error: "leaves it as it is". */
  readonly spared: string;
}

/** From here on a number may stand for something endless. */
const ENDLESS = 1e9;

/** Numbers of this size stand for nothing else. */
const UNREACHED = 1e30;

/**
 * Whether a number stands for something endless, what is masked or what no sum reaches: the lowest float, or one digit and
 * zeros, as people write them. Such numbers become the largest half, and not infinite, since 0 times that is not a number.
 */
export function isEndless(value: number): boolean {
  const size = Math.abs(value);
  if (size < ENDLESS) return false;
  if (size >= UNREACHED) return true;
  const power = 10 ** Math.floor(Math.log10(size) + 1e-6);
  return Math.fround(Math.round(size / power) * power) === Math.fround(size);
}

/** What a half does not hold of a tensor's values, and what became of them. */
export interface HalfLosses extends Pick<ConvertedToHalf, "first" | "zeros" | "subnormals" | "nonFinite"> {
  /** Values beyond the largest half that became it; `first` is one of them. */
  readonly clamped: number;
  /** Values that became the smallest half, and would have become 0. */
  readonly raised: number;
}

/** What is lost of a tensor or of a chunk of it. */
export interface HalfSums {
  readonly sums: LossSums;
  readonly halves: HalfLosses;
}

/** Where values come from, for who reads of them. */
export interface Origin {
  /** Flat index of the first value. */
  readonly base?: number;
  /** What they were before they were rounded to float32. */
  readonly exact?: Float64Array | undefined;
}

/**
 * Writes halves to `bytes`.
 *
 * @throws ArgumentError for a value beyond the largest half
 */
export function convertInto(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  conversion: HalfConversion,
  bytes: Uint8Array,
  { base = 0, exact }: Origin = {},
): HalfSums {
  const { dtype } = conversion;
  const out = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const narrowed = engine.convertToHalf(values, { dtype, out });
  const { sums, overflows, zeros, subnormals, nonFinite } = narrowed;
  const raises = zeros > 0 && conversion.raises;
  if (overflows === 0 && nonFinite === 0 && !raises) {
    return { sums, halves: { first: undefined, zeros, subnormals, nonFinite, clamped: 0, raised: 0 } };
  }
  const floats = floatsOf(values);
  const clamped = overflows > 0 ? clamp(floats, out, conversion, { base, exact }) : 0;
  const raised = raises ? raise(floats, out) : 0;
  const at = narrowed.first?.index;
  const first = at === undefined ? undefined : { index: base + at, value: (exact ?? floats)[at]! };
  const within = lossWithin(engine, dtype, floats, out);
  return { sums: within, halves: { first, zeros: zeros - raised, subnormals, nonFinite, clamped, raised } };
}

/** Values as float32, which halves are widened to. */
function floatsOf({ dtype = "float32", data }: FloatTensor | ResidentTensor): Float32Array {
  if (dtype === "float32") return data as Float32Array;
  return decodeHalf(new Uint16Array(data.buffer, data.byteOffset, data.length), dtype);
}

/** Of a tensor from those of its chunks. */
export function addHalfSums(chunks: readonly HalfSums[]): HalfSums {
  const count = (of: (halves: HalfLosses) => number) => chunks.reduce((sum, each) => sum + of(each.halves), 0);
  return {
    sums: addSums(chunks.map(({ sums }) => sums)),
    halves: {
      first: chunks.find(({ halves }) => halves.first)?.halves.first,
      zeros: count(({ zeros }) => zeros),
      subnormals: count(({ subnormals }) => subnormals),
      nonFinite: count(({ nonFinite }) => nonFinite),
      clamped: count(({ clamped }) => clamped),
      raised: count(({ raised }) => raised),
    },
  };
}

function clamp(
  values: Float32Array,
  out: Uint16Array,
  conversion: HalfConversion,
  { base = 0, exact }: Origin,
): number {
  const { infinity } = floatTypes[conversion.dtype];
  let clamped = 0;
  for (let i = 0; i < out.length; i++) {
    if ((out[i]! & 0x7fff) !== infinity || !Number.isFinite(values[i]!)) continue;
    const value = (exact ?? values)[i]!;
    if (isRefused(value, conversion)) throw beyond(value, base + i, conversion);
    // One below infinity, the sign as it is.
    out[i] = out[i]! - 1;
    clamped++;
  }
  return clamped;
}

/** Of a value that would become infinite. */
function isRefused(value: number, { dtype, clamps }: HalfConversion): boolean {
  if (clamps === "all") return false;
  // The last of float32 are half a step beyond bfloat16, and meant for its largest.
  if (dtype === "bfloat16") return Math.abs(value) > floatTypes.float32.largest;
  return clamps === "none" || !isEndless(value);
}

/** Over all but NaN, infinities and what stands for something endless, as masks do: one of them would outweigh all else. */
function lossWithin(engine: Engine, dtype: HalfDType, values: Float32Array, out: Uint16Array): LossSums {
  const most = Math.max(floatTypes[dtype].largest, ENDLESS);
  const isWithin = (i: number) => Math.abs(values[i]!) < most;
  const data = values.map((value, i) => (isWithin(i) ? value : 0));
  const bits = out.map((half, i) => (isWithin(i) ? half : 0));
  const shape = [out.length];
  return engine.lossSums({ shape, data }, { dtype, shape, data: bits });
}

function raise(values: Float32Array, out: Uint16Array): number {
  let raised = 0;
  for (let i = 0; i < out.length; i++) {
    if ((out[i]! & 0x7fff) !== 0 || values[i] === 0) continue;
    out[i] = out[i]! | 1;
    raised++;
  }
  return raised;
}

function beyond(value: number, index: number, { dtype, spared }: HalfConversion): ArgumentError {
  const cures = words`${option("clamp", true)} makes it that, ${option("exclude")} ${spared}`;
  const limit = `${dtype} (up to ${floatTypes[dtype].largest})`;
  const message = words`${value} at flat index ${index} is beyond ${limit}; ${cures}`;
  return new ArgumentError("data", message, { code: "out-of-range" });
}
