import { type Bounds, clipTo } from "./bounds.ts";
import { BINS, type Histogram } from "./histogram.ts";

/** Values that are left out of so many, at one end or by magnitude: none where the share is less than one of them. */
function leftOut(count: number, percent: number): number {
  // 100 - 99.9 is not 0.1 in binary.
  return Math.floor((count * percent) / 100 + 1e-9);
}

/**
 * What holds `percentile` percent of the values that a histogram has counted, rounded outward to edges of bins and clipped to
 * the extremes.
 *
 * @param byMagnitude leaves out the largest magnitudes; otherwise half at either end
 */
export function percentileOfHistogram(
  histogram: Histogram,
  extremes: Bounds,
  percentile: number,
  byMagnitude: boolean,
): Bounds {
  const { counts, exponent } = histogram;
  const n = histogram.total;
  const width = 2 ** -exponent;
  if (byMagnitude) {
    const magnitudes = histogram.magnitudes;
    const most = (lastBin(magnitudes, leftOut(n, 100 - percentile)) + 1) * width;
    return clipTo({ min: -most, max: most }, extremes);
  }
  const out = leftOut(n, (100 - percentile) / 2);
  const high = (lastBin(counts, out) + 1 - BINS / 2) * width;
  const low = (BINS - 1 - lastBin(counts.slice().reverse(), out) - BINS / 2) * width;
  return clipTo({ min: low, max: high }, extremes);
}

/** The last bin that has a value once so many are left out behind it. */
function lastBin(counts: Float64Array, out: number): number {
  let seen = 0;
  for (let i = counts.length - 1; i > 0; i--) {
    seen += counts[i]!;
    if (seen > out) return i;
  }
  return 0;
}

/** The same of values at hand: exact. `values` are put in order. */
export function percentileOfValues(
  values: Float32Array,
  extremes: Bounds,
  percentile: number,
  byMagnitude: boolean,
): Bounds {
  const n = values.length;
  if (n === 0) return extremes;
  const out = leftOut(n, byMagnitude ? 100 - percentile : (100 - percentile) / 2);
  if (out === 0) return extremes;
  if (byMagnitude) {
    const most = values.map(Math.abs).sort()[n - 1 - out]!;
    return clipTo({ min: -most, max: most }, extremes);
  }
  values.sort();
  return clipTo({ min: values[out]!, max: values[n - 1 - out]! }, extremes);
}
