import { levelsOf, type SchemeOptions } from "../tensors/schemes.ts";
import { type Bounds, clipShare, spreadBy } from "./bounds.ts";
import { BINS, type Histogram } from "./histogram.ts";

/** Thresholds that are tried, from the extremes down to the fewest bins that codes can be told apart in. */
const CANDIDATES = 96;

/**
 * The clipping after which codes change the distribution of the values least: of the thresholds tried the one with the
 * smallest Kullback-Leibler divergence between the histogram, what is clipped counted in its outer bins, and the same with
 * bins that share a code made alike (S. Migacz, 8-bit Inference with TensorRT, 2017). Codes are spread evenly over the
 * range as the scheme widens it.
 */
export function entropyRange(histogram: Histogram, extremes: Bounds, how: SchemeOptions): Bounds {
  const { qmin, qmax } = levelsOf(how);
  const levels = qmax - qmin + 1;
  const width = 2 ** -histogram.exponent;
  let best = extremes;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < CANDIDATES; i++) {
    const range = clipShare(extremes, 1 - i / CANDIDATES, how.scheme);
    const { min, max } = spreadBy(how.scheme, range);
    const first = Math.floor(min / width) + BINS / 2;
    const end = Math.min(Math.ceil(max / width) + BINS / 2, BINS);
    // With no more bins than codes nothing is made alike, and clipping all that is lost.
    if (end - first <= levels) break;
    const divergence = divergenceOf(histogram.counts, first, end, levels);
    if (divergence < least) [best, least] = [range, divergence];
  }
  return best;
}

/** KL divergence, in nats, between bins `first` to `end` with all else at their ends, and the same in `levels` codes. */
function divergenceOf(counts: Float64Array, first: number, end: number, levels: number): number {
  const bins = end - first;
  const kept = counts.slice(first, end);
  const clipped = kept.slice();
  clipped[0]! += sumOf(counts, 0, first);
  clipped[bins - 1]! += sumOf(counts, end, counts.length);
  const total = sumOf(clipped, 0, bins);
  const inside = sumOf(kept, 0, bins);
  if (inside === 0) return Number.POSITIVE_INFINITY;
  let divergence = 0;
  for (let code = 0; code < levels; code++) {
    const from = Math.floor((code * bins) / levels);
    const until = Math.floor(((code + 1) * bins) / levels);
    let [sum, filled] = [0, 0];
    for (let i = from; i < until; i++) {
      sum += kept[i]!;
      if (clipped[i]! > 0) filled++;
    }
    if (filled === 0) continue;
    // A bin that holds nothing but what was clipped has no share of its own: half a count keeps the logarithm finite.
    const q = Math.max(sum, 0.5) / filled / inside;
    for (let i = from; i < until; i++) {
      const p = clipped[i]! / total;
      if (p > 0) divergence += p * Math.log(p / q);
    }
  }
  return divergence;
}

function sumOf(values: Float64Array, from: number, until: number): number {
  let sum = 0;
  for (let i = from; i < until; i++) sum += values[i]!;
  return sum;
}
