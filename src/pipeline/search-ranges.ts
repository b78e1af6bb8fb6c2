/** Ranges by the values of groups that reach beyond a chunk: a pass over the file after the one that finds their extremes. */
import { shares } from "../engine/range-search/clipping-errors.ts";
import { addErrors, boundsOfHistogram, clippings, leastOf } from "../engine/range-search/find-best-range.ts";
import { BINS, Histogram } from "../engine/range-search/histogram.ts";
import { rangeRuleOf } from "../engine/tensors/range-method.ts";
import type { SchemeOptions, ValueRange } from "../engine/tensors/schemes.ts";
import { FormatError } from "../errors.ts";
import { option, words } from "../messages.ts";
import {
  type ChunkQuantization,
  chunksOfUnit,
  type GroupRange,
  type QuantizeUnit,
  rangeIn,
  readsOf,
  roomOf,
  withOwnRange,
} from "./quantize-chunks.ts";
import { allInOrder, type Schedule } from "./schedule.ts";
import { withPart } from "./stored-tensor.ts";
import type { Files, Work } from "./work.ts";

/** Bytes of histograms that a tensor may take in any case: what a chunk takes. */
const HISTOGRAMS = 1 << 24;

/** What of a search lies in a unit, or in a chunk of it, of its groups from number `first` on. */
interface Findings {
  readonly first: number;
  /** `mse`, of a chunk: the squared error of each group under each range that is tried. */
  readonly errors?: readonly Float64Array[];
  /** Others, of a unit: the counts of each group's histogram, whose bins follow from its extremes. */
  readonly counts?: readonly Float64Array[];
}

/** Looks at the values of a unit whose `range` has the extremes of its groups. */
export const searchWork: Work<QuantizeUnit, readonly Findings[]> = {
  name: "range-search",
  reads: readsOf,
  room: roomOf,
  sent: withOwnRange,
  async run(engine, files, unit) {
    const { granularity, nonFinite, range: method } = unit.quantization;
    const isByError = rangeRuleOf("range", method).name === "mse";
    const how = { ...schemeOf(unit.quantization), granularity };
    const errors: Findings[] = [];
    const own = withOwnRange(unit).range!;
    const histograms = isByError ? [] : histogramsFor(own);
    for (const chunk of chunksOfUnit(unit)) {
      const { first, count } = chunk;
      await withPart(engine, files, unit.tensor, chunk, async (values) => {
        if (isByError) {
          const tried = clippings(rangeIn(own, chunk), how);
          errors.push({ first, errors: engine.clippingErrors(values, how, tried) });
          return;
        }
        const its = histograms.slice(first - own.first, first - own.first + count);
        engine.countValues(values, { ...granularity, nonFinite }, its);
      });
    }
    return isByError ? errors : [{ first: own.first, counts: histograms.map(({ counts }) => counts) }];
  },
};

/**
 * The ranges of a tensor's groups by the method of its quantization, of which the units have the extremes.
 *
 * @param share bytes that a worker may take for a tensor
 * @throws FormatError where so many histograms do not fit
 */
export async function searchRanges(
  schedule: Schedule,
  files: Files,
  units: readonly QuantizeUnit[],
  extremes: GroupRange,
  share: number,
): Promise<GroupRange> {
  const { tensor, quantization } = units[0]!;
  const rule = rangeRuleOf("range", quantization.range);
  const groups = extremes.min.length;
  const isByError = rule.name === "mse";
  if (!isByError && groups * BINS * 8 > Math.max(share, HISTOGRAMS)) {
    const message = words`${rule.name} takes a histogram for each of ${groups} channels, more than ${option("memory")} allows; raise it, or take mse`;
    throw new FormatError(files.sources[tensor.file]!.name, message, tensor.name);
  }
  const parts = units.map((unit) => schedule.run(tensor.name, 0, searchWork, files, { ...unit, range: extremes }));
  const how = schemeOf(quantization);
  if (isByError) {
    const totals = shares.map(() => new Float64Array(groups));
    await eachInOrder(parts, ({ first, errors }) => addErrors(totals, first, errors!));
    return { first: 0, ...leastOf(extremes, totals, how), extremes };
  }
  const histograms = histogramsFor(extremes);
  await eachInOrder(parts, ({ first, counts }) => {
    counts!.forEach((each, i) => {
      const total = histograms[first + i]!.counts;
      each.forEach((count, bin) => {
        total[bin]! += count;
      });
    });
  });
  const range = { min: extremes.min.slice(), max: extremes.max.slice() };
  for (const [i, histogram] of histograms.entries()) {
    const bounds = boundsOfHistogram(histogram, { min: range.min[i]!, max: range.max[i]! }, { ...how, rule });
    range.min[i] = bounds.min;
    range.max[i] = bounds.max;
  }
  return { first: 0, ...range, extremes };
}

/** Takes what was found as it comes, so that little of it waits; in order, on which sums of fractions depend. */
async function eachInOrder(
  parts: readonly Promise<readonly Findings[]>[],
  take: (findings: Findings) => void,
): Promise<void> {
  let before: Promise<unknown> = Promise.resolve();
  const taken = parts.map((part) => {
    before = Promise.all([part, before]).then(([found]) => found.forEach(take));
    return before;
  });
  await allInOrder<unknown>([...taken, ...parts.map((part) => part.then(() => undefined))]);
}

function histogramsFor({ min, max }: ValueRange): Histogram[] {
  return Array.from(min, (low, i) => Histogram.upTo(Math.max(-low, max[i]!)));
}

function schemeOf({ dtype, scheme, reduceRange, narrowRange, granularity }: ChunkQuantization): SchemeOptions {
  return { dtype, scheme, reduceRange, narrowRange, blocks: granularity.blockSize !== undefined };
}
