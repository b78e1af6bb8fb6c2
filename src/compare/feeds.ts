import { ArgumentError, FormatError } from "../errors.ts";
import { show } from "../formats/json.ts";
import type { NpyArray, NpzArray } from "../formats/npz.ts";
import { castTo } from "./cast-feeds.ts";
import { shapesOf } from "./input-shapes.ts";
import type { ModelValueInfo } from "./model-runtime.ts";
import { type Random, randomOf } from "./random-numbers.ts";
import {
  type Feeds,
  type FeedTensor,
  feedOf,
  isFloat,
  isValueDType,
  rangeOf,
  type ValueDType,
} from "./tensor-values.ts";

/** The inputs of one run, made or read when they are asked for: memory need not hold those of all runs. */
export interface FeedSet {
  read(): Promise<Feeds>;
}

export interface RandomOptions {
  /** 32 bits; the same seed gives the same inputs on every machine. */
  readonly seed: number;
  /** How many sets of inputs; the first ones are the same however many follow. */
  readonly sets: number;
  /** For integer inputs, by name: codes are drawn below it. That of ids is the length of the table they look up. */
  readonly limits: ReadonlyMap<string, number>;
}

/**
 * Inputs where nobody gave any.
 *
 * Open dimensions take a size by their name, the same name the same size everywhere: past and cache 0, batch and N 1,
 * channels 3, height and width 224, sequences, lengths and times 16, sums such as `past_sequence_length + 1` the sum. The
 * samples of a waveform (a float input of one or two dimensions, the last a sequence) are 16000. Other names, and none,
 * are 1 in front and 8 elsewhere.
 *
 * Values are:
 * - ones for masks (`attention_mask`; of floats only attention masks) and booleans;
 * - standard normal for floats;
 * - zeros for `token_type_ids`;
 * - 0, 1, ... along the last axis for `position_ids`, starting over at a limit;
 * - 16000 for a sampling rate;
 * - for other integers whole numbers below their limit: 2 if none is given, 8-bit integers the whole range.
 *
 * @throws ArgumentError for an input of a type that cannot be fed.
 */
export function randomFeeds(inputs: readonly ModelValueInfo[], { seed, sets, limits }: RandomOptions): FeedSet[] {
  const shapes = shapesOf(inputs);
  const makers = inputs.map((spec, i) => {
    const { name, dtype } = spec;
    if (!isValueDType(dtype)) throw new ArgumentError("inputs", `${show(name)} is ${dtype}, which cannot be made up`);
    return (random: Random): [string, FeedTensor] => {
      const shape = shapes[i]!;
      const values = Float64Array.from({ length: elementsOf(shape) }, drawerOf(spec, dtype, shape, random, limits));
      return [name, feedOf(dtype, shape, values)];
    };
  });
  return Array.from({ length: sets }, (_, set) => ({
    async read() {
      const random = randomOf(seed, set);
      return Object.fromEntries(makers.map((make) => make(random)));
    },
  }));
}

const SAMPLING_RATE = 16_000;

/** What gives the element at a flat index. */
function drawerOf(
  { name }: ModelValueInfo,
  dtype: ValueDType,
  shape: readonly number[],
  random: Random,
  limits: ReadonlyMap<string, number>,
): (_: unknown, index: number) => number {
  if (dtype === "bool" || (isFloat(dtype) ? /attention_?mask/i : /mask/i).test(name)) return () => 1;
  if (isFloat(dtype)) return () => random.normal();
  const limit = limits.get(name);
  if (/token_?type|segment_?ids/i.test(name)) return () => 0;
  if (/position/i.test(name)) {
    const row = shape.at(-1) ?? 1;
    return (_, index) => (index % row) % (limit ?? row);
  }
  if (/^(sr|sampl(e|ing)_?rate)$/i.test(name)) return () => SAMPLING_RATE;
  if (limit === undefined && (dtype === "uint8" || dtype === "int8")) {
    const { min } = rangeOf(dtype);
    return () => min + random.below(256);
  }
  return () => random.below(limit ?? 2);
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((elements, size) => elements * size, 1);
}

/**
 * Inputs as a .npz file has them. An array called as an input belongs to it; arrays called `input::0`, `input::1` and so
 * on are one set each, and all of a set run together. An array without a number serves every set. Numbers are converted
 * where the model wants them in another type and they fit.
 *
 * @throws FormatError naming `file`, when arrays are missing or superfluous; from `read`, when one is of another shape or
 * type than the model wants.
 */
export function feedsFromNpz(arrays: readonly NpzArray[], inputs: readonly ModelValueInfo[], file: string): FeedSet[] {
  const { shared, numbered } = groupArrays(arrays, inputs, file);
  const sets = numbered.size === 0 ? [undefined] : [...numbered.keys()].sort((a, b) => a - b);
  return sets.map((set) => {
    const parts = inputs.map((spec) => {
      const array = (set === undefined ? undefined : numbered.get(set)?.get(spec.name)) ?? shared.get(spec.name);
      if (array) return { spec, array };
      const wanted = set === undefined ? spec.name : `${spec.name}::${set}`;
      throw new FormatError(file, `no array for the input ${show(spec.name)}; save one as ${show(wanted)}`);
    });
    return { read: () => readSet(parts, file) };
  });
}

type Arrays = Map<string, NpzArray>;

/** Which array is for which input, and of which set. */
function groupArrays(arrays: readonly NpzArray[], inputs: readonly ModelValueInfo[], file: string) {
  const names = new Set(inputs.map(({ name }) => name));
  const shared: Arrays = new Map();
  const numbered = new Map<number, Arrays>();
  for (const array of arrays) {
    const [, input = "", digits = ""] = /^(.*)::(0|[1-9]\d*)$/s.exec(array.name) ?? [];
    if (names.has(array.name)) shared.set(array.name, array);
    else if (names.has(input)) {
      const set = Number(digits);
      numbered.set(set, (numbered.get(set) ?? new Map()).set(input, array));
    } else {
      throw new FormatError(
        file,
        `not an input of the model, which has ${[...names].map(show).join(", ")}`,
        array.name,
      );
    }
  }
  for (const [set, group] of numbered) {
    const both = [...group.keys()].find((name) => shared.has(name));
    if (both !== undefined) throw new FormatError(file, `is there with the number ${set} and without one`, both);
  }
  return { shared, numbered };
}

async function readSet(parts: readonly { spec: ModelValueInfo; array: NpzArray }[], file: string): Promise<Feeds> {
  const feeds: [string, FeedTensor][] = [];
  for (const { spec, array } of parts) {
    const values = await array.read();
    checkShape(values, spec, (message) => new FormatError(file, message, array.name));
    feeds.push([spec.name, castTo(values, spec.dtype, (message) => new FormatError(file, message, array.name))]);
  }
  return Object.fromEntries(feeds);
}

function checkShape({ shape }: NpyArray, spec: ModelValueInfo, fail: (message: string) => Error): void {
  const wanted = spec.shape;
  if (wanted.length === 0) return; // a scalar, or anything at all
  const fits =
    shape.length === wanted.length && wanted.every((size, i) => typeof size === "string" || size === shape[i]);
  if (fits) return;
  const sizes = wanted.map((size) => (size === "" ? "?" : size)).join(", ");
  throw fail(`shape [${shape.join(", ")}]; the input ${show(spec.name)} takes [${sizes}]`);
}
