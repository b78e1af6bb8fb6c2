import { levelsOf } from "../../../engine/tensors/schemes.ts";
import type { WeightQuantization } from "../../weights/weight-granularity.ts";
import type { RowStatistics } from "./weight-rows.ts";

/** How weights are quantized. */
export interface WeightLevels extends Pick<WeightQuantization, "dtype" | "scheme" | "reduceRange"> {
  readonly perChannel: boolean;
}

/** Scale and bias of a norm, the largest bias where several share the scale. */
export interface Channels {
  readonly scale: Float32Array;
  readonly bias: Float32Array;
}

/** How far normalized values reach, in deviations: among a hundred thousand of them one is beyond 4. */
const REACH = 4;
/** Channels that reach less than the largest by this many powers of two are alike to codes of 8 bits. */
const MOST_POWERS = 16;
/** Codes of an activation. */
const STEPS = 255;

/** The power of two that bounds each channel. */
export function powersOf({ scale, bias }: Channels): number[] {
  const reach = Math.min(REACH, Math.sqrt(scale.length));
  const powers = Array.from(scale, (s, c) => Math.ceil(Math.log2(reach * Math.abs(s) + Math.abs(bias[c]!))));
  const least = powers.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY) - MOST_POWERS;
  return powers.map((power) => Math.max(power, least));
}

/** So many powers of two between the largest channel and the median are an outlier. */
const APART = 2;

/** Whether some channel reaches far beyond most others: tells without a look at weights where folding may be worth it. */
export function haveOutliers(powers: readonly number[]): boolean {
  const sorted = powers.toSorted((a, b) => a - b);
  return sorted.at(-1)! - sorted[sorted.length >> 1]! >= APART;
}

/** What each channel is divided by, and its row multiplied with, if none is to reach beyond a power of two. */
export function factorsFor(powers: readonly number[], bound: number): Float32Array {
  return Float32Array.from(powers, (power) => 2 ** Math.max(power - bound, 0));
}

/** What bound suits best, and what is won by it. */
export interface Gain {
  readonly bound: number;
  /** By how much the error of the products is expected to fall, in dB. */
  readonly decibels: number;
}

/** So much worse than the best is as good, if it changes less. */
const AS_GOOD = 0.5;

/**
 * Tells how far outlier channels should be folded into the weights behind a norm. An activation has one scale, by its
 * extremes, so a channel that reaches far takes the codes of all others; what it is divided by its rows are multiplied
 * with, which takes the codes of theirs. Both errors are estimated for normalized values of variance 1, without data:
 * each code is off by a uniform error, one step wide, unless the value itself is smaller. No channel ever reaches
 * farther than before, whatever the data.
 */
export function gainOf(
  channels: Channels,
  powers: readonly number[],
  weights: readonly RowStatistics[],
  levels: WeightLevels,
): Gain {
  const top = powers.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const bottom = powers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const errors: number[] = [];
  for (let bound = top; bound >= bottom; bound--) errors.push(errorAt(bound, channels, powers, weights, levels));
  const decibels = errors.map((error) => 10 * Math.log10(errors[0]! / error));
  const best = decibels.reduce((a, b) => (b > a ? b : a), 0);
  const chosen = decibels.findIndex((each) => each >= best - AS_GOOD);
  return { bound: top - Math.max(chosen, 0), decibels: decibels[chosen] ?? 0 };
}

/** The error of all products, each beside its size. */
function errorAt(
  bound: number,
  { scale, bias }: Channels,
  powers: readonly number[],
  weights: readonly RowStatistics[],
  levels: WeightLevels,
): number {
  const factors = factorsFor(powers, bound);
  const reach = Math.min(REACH, Math.sqrt(scale.length));
  let [above, below] = [0, 0];
  const energies = Float64Array.from(scale, (s, c) => {
    const [gain, offset] = [Math.abs(s) / factors[c]!, bias[c]! / factors[c]!];
    above = Math.max(above, reach * gain + offset);
    below = Math.max(below, reach * gain - offset);
    return gain * gain + offset * offset;
  });
  const noise = varianceOf((above + below) / STEPS);
  return weights.reduce((sum, weight) => {
    const steps = stepsOf(weight, bound, levels);
    const ofWeights = steps.reduce((total, step) => total + varianceOf(step), 0);
    // Rows that float32 would not hold.
    if (!Number.isFinite(ofWeights)) return Number.POSITIVE_INFINITY;
    let [error, size] = [0, 0];
    energies.forEach((energy, c) => {
      const squares = factors[c]! ** 2 * weight.squares[c]!;
      size += energy * squares;
      error += Math.min(noise, energy) * squares + energy * Math.min(ofWeights, squares);
    });
    return size === 0 ? sum : sum + error / size;
  }, 0);
}

/** Of an error that is uniform in one step. */
function varianceOf(step: number): number {
  return (step * step) / 12;
}

/** The step between the codes of each column. */
function stepsOf({ largest }: RowStatistics, bound: number, levels: WeightLevels): Float64Array {
  const { qmin, qmax } = levelsOf(levels);
  const [first] = largest.values();
  const steps = new Float64Array(first?.length ?? 0);
  for (const [power, maxima] of largest) {
    const factor = 2 ** Math.max(power - bound, 0);
    maxima.forEach((value, j) => {
      steps[j] = Math.max(steps[j]!, Math.fround(value * factor));
    });
  }
  if (!levels.perChannel) steps.fill(steps.reduce((a, b) => Math.max(a, b), 0));
  return steps.map((value) => (2 * value) / (qmax - qmin));
}
