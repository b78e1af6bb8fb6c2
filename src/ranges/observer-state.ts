import { BINS, exponentFor, Histogram } from "../engine/range-search/histogram.ts";
import { ArgumentError } from "../errors.ts";
import { type AverageState, MovingAverage } from "./moving-average.ts";
import type { ObserverOptions } from "./observer-options.ts";

/** What an observer has seen, as plain data. */
export interface ObserverState {
  readonly version: 1;
  readonly options: ObserverOptions;
  /** The tensor, or one for each channel; none before the first tensor. */
  readonly groups: readonly GroupState[];
}

export interface GroupState {
  readonly min: number;
  readonly max: number;
  readonly histogram?: HistogramState | undefined;
  readonly averages?: readonly [min: AverageState, max: AverageState] | undefined;
}

/** Counts from bin `first` on; a bin is 2^-exponent wide. */
export interface HistogramState {
  readonly exponent: number;
  readonly first: number;
  readonly counts: readonly number[];
}

/** A histogram without the empty bins at its ends. */
export function stateOfHistogram({ counts, exponent }: Histogram): HistogramState {
  const first = counts.findIndex((count) => count > 0);
  const last = counts.findLastIndex((count) => count > 0);
  return first < 0
    ? { exponent, first: 0, counts: [] }
    : { exponent, first, counts: Array.from(counts.subarray(first, last + 1)) };
}

export function histogramOfState({ exponent, first, counts }: HistogramState): Histogram {
  return Histogram.from(exponent, first, counts);
}

/** @throws ArgumentError for what `Observer.toJSON` did not write */
export function checkState(state: unknown): ObserverState {
  const fail = (what: string): never => {
    throw new ArgumentError("state", `is not what Observer.toJSON() wrote: ${what}`);
  };
  if (!isRecord(state)) return fail("it is not an object");
  if (state.version !== 1) fail(`expected version 1; got ${String(state.version)}`);
  if (!isRecord(state.options)) return fail("it has no options");
  if (!Array.isArray(state.groups)) return fail("it has no groups");
  if (state.options.axis === undefined && state.groups.length > 1) fail("it has several groups, but no axis");
  for (const [i, group] of (state.groups as unknown[]).entries()) {
    if (!isRecord(group) || !isFloat32(group.min) || !isFloat32(group.max) || group.min > group.max) {
      return fail(`group ${i} has no range of finite float32 numbers, min <= max`);
    }
    const magnitude = Math.max(-group.min, group.max);
    if (group.histogram !== undefined && !isHistogram(group.histogram, magnitude)) {
      fail(`the histogram of group ${i} is damaged`);
    }
    if (group.averages !== undefined && !areAverages(group.averages)) fail(`the averages of group ${i} are damaged`);
  }
  return state as unknown as ObserverState;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isFloat32(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(Math.fround(value));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** @param magnitude the largest of its values: the width of bins follows from it */
function isHistogram(value: unknown, magnitude: number): value is HistogramState {
  if (!isRecord(value)) return false;
  const { exponent, first, counts } = value;
  return (
    exponent === exponentFor(magnitude) &&
    isCount(first) &&
    Array.isArray(counts) &&
    first + counts.length <= BINS &&
    counts.every(isCount)
  );
}

function areAverages(value: unknown): boolean {
  const isAverage = (each: unknown): each is AverageState =>
    isRecord(each) && isCount(each.count) && isFloat32(each.first) && isFloat32(each.sum);
  if (!Array.isArray(value) || value.length !== 2 || !value.every(isAverage)) return false;
  const [min, max] = value.map((each) => MovingAverage.from(each).value) as [number, number];
  return isFloat32(min) && isFloat32(max) && min <= max;
}
