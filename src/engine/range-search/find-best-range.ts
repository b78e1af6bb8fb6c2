import { codeTypes } from "../../dtypes.ts";
import { findRange } from "../measure/find-range.ts";
import type { KernelContext } from "../tensors/context.ts";
import { elementsAt, type Granularity, layoutOf } from "../tensors/granularity.ts";
import type { NonFinite } from "../tensors/quantize-options.ts";
import type { RangeRule } from "../tensors/range-method.ts";
import type { SchemeOptions, ValueRange } from "../tensors/schemes.ts";
import type { NamedOperand, Operand } from "../tensors/tensor.ts";
import { type Chunk, type Chunking, chunkingOf, chunksOf, layoutIn } from "../tiling/chunks.ts";
import { type Bounds, clipShare } from "./bounds.ts";
import { clippedRange, clippingErrors, shares, sumOfErrors } from "./clipping-errors.ts";
import { entropyRange } from "./entropy.ts";
import { groupValues } from "./group-values.ts";
import { Histogram } from "./histogram.ts";
import { percentileOfHistogram, percentileOfValues } from "./percentile.ts";

/** How a range is to be searched for. */
export interface RangeSearch extends SchemeOptions {
  readonly rule: RangeRule;
  readonly granularity: Granularity;
  readonly nonFinite: NonFinite;
}

export interface FoundRange {
  readonly range: ValueRange;
  /** The squared error that the extremes would have had, over all groups; undefined unless it was asked for. */
  readonly extremesError?: number | undefined;
}

/**
 * Fewer values than this say little about a distribution: entropy keeps the extremes, and percentiles are exact in groups that
 * lie within a chunk.
 */
export const FEW = 2048;
/** What clipping has to gain, as a share of the error: more than float32 may feign, which tells places among 2^16 codes less well. */
function leastGain({ dtype }: SchemeOptions): number {
  return codeTypes[dtype].bits === 16 ? 2e-3 : 1e-5;
}

/**
 * Ranges of a tensor's groups by any method. Errors are summed chunk by chunk and histograms count exactly, so that ranges are
 * the same however a tensor is cut. What is not finite counts for nothing under `nonFinite: "ignore"`.
 *
 * @param measure whether to tell the error of the extremes, which takes another look unless errors are what is compared
 * @throws NonFiniteError
 */
export function findBestRange(
  context: KernelContext,
  tensor: NamedOperand,
  search: RangeSearch,
  measure = false,
): FoundRange {
  const { granularity, nonFinite, rule } = search;
  const layout = layoutOf(tensor.shape, granularity);
  const extremes = findRange(context, tensor, { layout, nonFinite, name: tensor.name });
  const chunking = chunkingOf(tensor.shape, granularity);
  if (rule.name === "mse") return leastErrors(context, tensor, extremes, chunking, search);
  const range = rangesOfValues(context, tensor, extremes, chunking, search);
  if (!measure) return { range };
  return { range, extremesError: errorsUnder(context, tensor, [extremes], chunking, search).first };
}

/** Under `mse` each group has the clipping of the least error. */
function leastErrors(
  context: KernelContext,
  tensor: NamedOperand,
  extremes: ValueRange,
  chunking: Chunking,
  search: RangeSearch,
): FoundRange {
  if (!chunking.holdsGroups) {
    const { totals, first } = errorsUnder(context, tensor, clippings(extremes, search), chunking, search);
    return { range: leastOf(extremes, totals, search), extremesError: first };
  }
  // Groups may be many: chunk by chunk, so that their sums take little room.
  const range = { min: extremes.min.slice(), max: extremes.max.slice() };
  let extremesError: number | undefined;
  for (const chunk of chunksOf(chunking)) {
    const own = rangeOfChunk(extremes, chunk);
    const tried = clippings(own, search);
    const errors = clippingErrors(context, tensor, chunk, layoutIn(chunking, chunk), tried, search);
    const found = leastOf(own, errors, search);
    range.min.set(found.min, chunk.first);
    range.max.set(found.max, chunk.first);
    extremesError = plus(extremesError, sumOfErrors(errors[0]!));
  }
  return { range, extremesError };
}

/**
 * The squared error of all groups of a tensor under each of some ranges, and that under the first over all groups, added chunk
 * by chunk as it is where a file is read so.
 */
function errorsUnder(
  context: KernelContext,
  tensor: NamedOperand,
  ranges: readonly ValueRange[],
  chunking: Chunking,
  search: RangeSearch,
): { readonly totals: readonly Float64Array[]; readonly first: number | undefined } {
  const totals = ranges.map(({ min }) => new Float64Array(min.length));
  let first: number | undefined;
  for (const chunk of chunksOf(chunking)) {
    const own = ranges.map((range) => rangeOfChunk(range, chunk));
    const errors = clippingErrors(context, tensor, chunk, layoutIn(chunking, chunk), own, search);
    addErrors(totals, chunk.first, errors);
    first = plus(first, sumOfErrors(errors[0]!));
  }
  return { totals, first };
}

function plus(sum: number | undefined, more: number | undefined): number | undefined {
  return more === undefined ? sum : (sum ?? 0) + more;
}

/** Adds the errors of groups from number `first` on to those of all. */
export function addErrors(totals: readonly Float64Array[], first: number, errors: readonly Float64Array[]): void {
  errors.forEach((sums, k) => {
    const total = totals[k]!;
    for (let i = 0; i < sums.length; i++) total[first + i]! += sums[i]!;
  });
}

/** The ranges that `mse` tries, the extremes first. */
export function clippings(extremes: ValueRange, how: SchemeOptions): ValueRange[] {
  return shares.map((share) => clippedRange(extremes, share, how));
}

/** For each group the range of the least error, of those that `clippings` made of its extremes; on a tie the widest. */
export function leastOf(extremes: ValueRange, errors: readonly Float64Array[], how: SchemeOptions): ValueRange {
  const { scheme } = how;
  const [before] = errors;
  const least = 1 - leastGain(how);
  const range = { min: extremes.min.slice(), max: extremes.max.slice() };
  for (let i = 0; i < before!.length; i++) {
    let best = 0;
    for (let k = 1; k < errors.length; k++) if (errors[k]![i]! < errors[best]![i]!) best = k;
    if (!(errors[best]![i]! < before![i]! * least)) continue;
    const { min, max } = clipShare({ min: extremes.min[i]!, max: extremes.max[i]! }, shares[best]!, scheme);
    range.min[i] = min;
    range.max[i] = max;
  }
  return range;
}

/** By the distribution of values: percentiles, entropy. */
function rangesOfValues(
  context: KernelContext,
  tensor: NamedOperand,
  extremes: ValueRange,
  chunking: Chunking,
  search: RangeSearch,
): ValueRange {
  const range = { min: extremes.min.slice(), max: extremes.max.slice() };
  const set = (group: number, { min, max }: Bounds) => {
    range.min[group] = min;
    range.max[group] = max;
  };
  const boundsAt = (group: number): Bounds => ({ min: extremes.min[group]!, max: extremes.max[group]! });
  const layout = layoutOf(tensor.shape, search.granularity);
  const isCut = !chunking.holdsGroups;
  if (layout.parameters === 1 && (isCut || elementsAt(layout, 0) >= FEW) && search.nonFinite === "error") {
    set(0, boundsOfHistogram(histogramOf(context, tensor, boundsAt(0)), boundsAt(0), search));
    return range;
  }
  const parts = isCut
    ? [[{ start: 0, first: 0 }, layout] as const]
    : Array.from(chunksOf(chunking), (chunk) => [chunk, layoutIn(chunking, chunk)] as const);
  for (const [{ start, first }, own] of parts) {
    groupValues(context, tensor, { start }, own).forEach((values, i) => {
      set(first + i, boundsOfValues(context, values, boundsAt(first + i), search, isCut));
    });
  }
  return range;
}

/** @param isCut whether a file would be read in parts of the group, which a histogram is put together from */
function boundsOfValues(
  context: KernelContext,
  all: Float32Array,
  extremes: Bounds,
  search: RangeSearch,
  isCut: boolean,
): Bounds {
  const values = search.nonFinite === "ignore" ? all.filter(Number.isFinite) : all;
  if (isCut || values.length >= FEW) {
    const tensor = { dtype: "float32", shape: [values.length], data: values } as const;
    return boundsOfHistogram(histogramOf(context, tensor, extremes), extremes, search);
  }
  const { name, percentile } = search.rule;
  return name === "percentile" ? percentileOfValues(values, extremes, percentile!, isByMagnitude(search)) : extremes;
}

/** A range by a histogram of the values. */
export function boundsOfHistogram(
  histogram: Histogram,
  extremes: Bounds,
  search: Pick<RangeSearch, "rule"> & SchemeOptions,
): Bounds {
  const { name, percentile } = search.rule;
  if (name === "percentile") return percentileOfHistogram(histogram, extremes, percentile!, isByMagnitude(search));
  if (histogram.total < FEW) return extremes;
  return entropyRange(histogram, extremes, search);
}

function isByMagnitude({ scheme }: SchemeOptions): boolean {
  return scheme === "symmetric";
}

function histogramOf(context: KernelContext, tensor: Operand, { min, max }: Bounds): Histogram {
  const histogram = Histogram.upTo(Math.max(-min, max));
  histogram.count(context, tensor);
  return histogram;
}

function rangeOfChunk({ min, max }: ValueRange, { first, count }: Pick<Chunk, "first" | "count">): ValueRange {
  return { min: min.subarray(first, first + count), max: max.subarray(first, first + count) };
}
