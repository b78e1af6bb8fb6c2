import { floatTypes } from "../dtypes.ts";
import type { NpyDType } from "../formats/npy.ts";
import type { NpyArray } from "../formats/npz.ts";
import {
  type FeedTensor,
  feedOf,
  isFloat,
  isInteger,
  isValueDType,
  numbersOf,
  rangeOf,
  type ValueDType,
} from "./tensor-values.ts";

const dtypesOf: Readonly<Record<NpyDType, ValueDType>> = {
  "<f2": "float16",
  "<f4": "float32",
  "<f8": "float64",
  "|i1": "int8",
  "|u1": "uint8",
  "<i2": "int16",
  "<u2": "uint16",
  "<i4": "int32",
  "<u4": "uint32",
  "<i8": "int64",
  "<u8": "uint64",
  "|b1": "bool",
};

/** Half of the step beyond float16's largest value, 65504: from there on rounding gives infinity. */
const FLOAT16_END = floatTypes.float16.largest + 16;

/**
 * An array in the type that a model wants: floats become floats, integers integers, bytes floats too, as long as all of
 * them fit. Throws what `fail` makes.
 */
export function castTo(array: NpyArray, wanted: string, fail: (message: string) => Error): FeedTensor {
  const { descr, shape, data } = array;
  const given = dtypesOf[descr];
  if (given === wanted) return { dtype: given, shape, data } as FeedTensor;
  if (!isValueDType(wanted)) throw fail(`the model wants ${wanted}, which cannot be fed`);
  if (!isCastable(given, wanted)) throw fail(`${given}; the model wants ${wanted}: save a.astype('${wanted}')`);
  const values = numbersOf({ dtype: given, shape, data } as FeedTensor);
  const fits = fitsOf(wanted);
  const index = values.findIndex((x) => !fits(x));
  if (index >= 0) throw fail(`${values[index]} at flat index ${index} does not fit ${wanted}, which the model wants`);
  return feedOf(wanted, shape, values);
}

function isCastable(given: ValueDType, wanted: ValueDType): boolean {
  if (isFloat(wanted)) return isFloat(given) || given === "uint8" || given === "int8";
  // what passes through numbers keeps no more than 53 bits
  return isInteger(given) && isInteger(wanted) && given !== "uint64" && !(given === "int64" && wanted === "uint64");
}

function fitsOf(wanted: ValueDType): (x: number) => boolean {
  if (wanted === "float32") return (x) => Number.isFinite(Math.fround(x)) || !Number.isFinite(x);
  if (wanted === "float16") return (x) => Math.abs(Math.fround(x)) < FLOAT16_END || !Number.isFinite(x);
  if (!isInteger(wanted)) return () => true;
  const { min, max } = rangeOf(wanted);
  return (x) => x >= min && x <= max;
}
