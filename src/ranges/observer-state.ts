import { BINS, Histogram } from "../engine/range-search/histogram.ts";
import { ArgumentError } from "../errors.ts";
import type { AverageState } from "./moving-average.ts";
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
  if (!isRecord(state.options)) fail("it has no options");
  if (!Array.isArray(state.groups)) return fail("it has no groups");
  for (const [i, group] of (state.groups as unknown[]).entries()) {
    if (!isRecord(group) || !isFiniteNumber(group.min) || !isFiniteNumber(group.max) || group.min > group.max) {
      return fail(`group ${i} has no range of finite numbers, min <= max`);
    }
    if (group.histogram !== undefined && !isHistogram(group.histogram)) fail(`the histogram of group ${i} is damaged`);
    if (group.averages !== undefined && !areAverages(group.averages)) fail(`the averages of group ${i} are damaged`);
  }
  return state as unknown as ObserverState;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isHistogram(value: unknown): value is HistogramState {
  if (!isRecord(value)) return false;
  const { exponent, first, counts } = value;
  return (
    Number.isInteger(exponent) &&
    Math.abs(exponent as number) <= 126 &&
    isCount(first) &&
    Array.isArray(counts) &&
    first + counts.length <= BINS &&
    counts.every(isCount)
  );
}

function areAverages(value: unknown): boolean {
  const isAverage = (each: unknown) =>
    isRecord(each) && isCount(each.count) && isFiniteNumber(each.first) && isFiniteNumber(each.sum);
  return Array.isArray(value) && value.length === 2 && value.every(isAverage);
}
