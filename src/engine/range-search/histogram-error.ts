import { codeTypes } from "../../dtypes.ts";
import { roundHalfToEven } from "../../kernels/rounding.ts";
import { levelsOf, parametersOf, type SchemeOptions } from "../tensors/schemes.ts";
import { type Bounds, clipShare } from "./bounds.ts";
import { shares } from "./clipping-errors.ts";
import { BINS, type Histogram } from "./histogram.ts";

/** The clipping of least squared error, of those that a search over values tries, each bin's values taken for its middle. */
export function leastErrorOfHistogram(histogram: Histogram, extremes: Bounds, how: SchemeOptions): Bounds {
  let best = extremes;
  let least = Number.POSITIVE_INFINITY;
  for (const share of shares) {
    const range = share === 1 ? extremes : clipShare(extremes, share, how.scheme);
    const error = errorUnder(histogram, range, how);
    if (error < least) [best, least] = [range, error];
  }
  return best;
}

function errorUnder({ counts, exponent }: Histogram, { min, max }: Bounds, how: SchemeOptions): number {
  const found = parametersOf({ min: Float32Array.of(min), max: Float32Array.of(max) }, how);
  const [scale, zeroPoint, offset] = [found.scale[0]!, found.zeroPoint[0]!, found.min?.[0] ?? 0];
  const { qmin, qmax } = how.scheme === "float-offset" ? levelsOf(how) : limitsOf(how);
  const width = 2 ** -exponent;
  let error = 0;
  for (let i = 0; i < BINS; i++) {
    if (counts[i] === 0) continue;
    const x = (i - BINS / 2 + 0.5) * width - offset;
    const code = Math.min(Math.max(roundHalfToEven(x / scale), qmin - zeroPoint), qmax - zeroPoint);
    error += counts[i]! * (x - code * scale) ** 2;
  }
  return error;
}

function limitsOf({ dtype }: SchemeOptions) {
  return { qmin: codeTypes[dtype].min, qmax: codeTypes[dtype].max };
}
