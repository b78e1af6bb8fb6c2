import type { Engine } from "../engine/engine.ts";
import { decodeHalf } from "../formats/half-arrays.ts";
import { type FeedTensor, isFloat, numbersOf } from "./tensor-values.ts";

/** How alike two models' values for one output are, over all that was added. */
export type OutputComparison = FloatComparison | ExactComparison | UncomparedOutput;

export interface FloatComparison {
  readonly kind: "float";
  readonly elements: number;
  /** Signal-to-noise ratio in dB, the first model's values over the difference: Infinity where there is none. */
  readonly sqnr: number;
  /** Cosine similarity. */
  readonly cosine: number;
  /** Largest difference. */
  readonly maxAbs: number;
  /**
   * Elements of which one model makes NaN or ±Infinity and the other something else. If there are any, `sqnr` is
   * -Infinity, `maxAbs` Infinity and `cosine` NaN. Where both models make the same, as with masked scores, they agree.
   */
  readonly nonFinite: number;
  /** The share of rows whose largest value is at the same place, if the output is class scores: [N, C], [N, C, 1, 1]. */
  readonly top1?: number;
}

/** Of integers and booleans. */
export interface ExactComparison {
  readonly kind: "exact";
  readonly elements: number;
  /** The share of equal elements. */
  readonly equal: number;
}

export interface UncomparedOutput {
  readonly kind: "incomparable";
  readonly reason: string;
}

/** Adds up how two models' values for one output differ, set of inputs by set of inputs. */
export interface OutputMeter {
  add(a: FeedTensor, b: FeedTensor): void;
  /** What has been added so far. */
  result(): OutputComparison;
}

/**
 * A meter for one output. float16 is widened and float64 narrowed to float32. Sums are over all elements of all sets, as
 * if they were one tensor; values of other types or shapes make the output incomparable for good.
 */
export function createOutputMeter(engine: Engine): OutputMeter {
  let meter: OutputMeter | undefined;
  let reason: string | undefined;
  return {
    add(a, b) {
      reason ??= mismatchOf(a, b);
      if (reason !== undefined) return;
      meter ??= isFloat(a.dtype) ? floatMeter(engine) : exactMeter();
      meter.add(a, b);
    },
    result() {
      if (reason !== undefined) return { kind: "incomparable", reason };
      return meter?.result() ?? { kind: "incomparable", reason: "no values" };
    },
  };
}

function mismatchOf(a: FeedTensor, b: FeedTensor): string | undefined {
  if (a.dtype !== b.dtype && !(isFloat(a.dtype) && isFloat(b.dtype))) return `${a.dtype} against ${b.dtype}`;
  const [shape, other] = [a.shape, b.shape].map((sizes) => `[${sizes.join(", ")}]`);
  return shape === other ? undefined : `shape ${shape} against ${other}`;
}

function floatMeter(engine: Engine): OutputMeter {
  const sums = { elements: 0, squared: 0, aa: 0, bb: 0, dot: 0, maxAbs: 0, nonFinite: 0 };
  const top = { rows: 0, agreeing: 0 };
  return {
    add(a, b) {
      const [x, y] = [floatsOf(a), floatsOf(b)];
      const { nonFinite, ...pair } = settle(x, y);
      const added = sumsOf(engine, pair.x, pair.y);
      sums.elements += x.length;
      sums.squared += added.squared;
      sums.aa += added.aa;
      sums.bb += added.bb;
      sums.dot += added.dot;
      sums.maxAbs = Math.max(sums.maxAbs, added.maxAbs);
      sums.nonFinite += nonFinite;
      if (!areScores(a.shape)) return;
      top.rows += a.shape[0]!;
      top.agreeing += agreeingRows(x, y, a.shape[1]!);
    },
    result() {
      const { elements, squared, aa, bb, dot, nonFinite } = sums;
      const top1 = top.rows === 0 ? {} : { top1: top.agreeing / top.rows };
      const ratio = squared === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(aa / squared);
      const angle = squared === 0 ? 1 : dot / Math.sqrt(aa * bb) || 0;
      const apart = nonFinite > 0;
      return {
        kind: "float",
        elements,
        sqnr: apart ? Number.NEGATIVE_INFINITY : ratio,
        cosine: apart ? Number.NaN : angle,
        maxAbs: apart ? Number.POSITIVE_INFINITY : sums.maxAbs,
        nonFinite,
        ...top1,
      };
    },
  };
}

function floatsOf(feed: FeedTensor): Float32Array {
  if (feed.dtype === "float32") return feed.data;
  return feed.dtype === "float16" ? decodeHalf(feed.data) : Float32Array.from(numbersOf(feed));
}

/** Zeros wherever either is not finite, so that the sums over the rest stay numbers, and how many of them differ. */
function settle(x: Float32Array, y: Float32Array): { x: Float32Array; y: Float32Array; nonFinite: number } {
  if (x.every(Number.isFinite) && y.every(Number.isFinite)) return { x, y, nonFinite: 0 };
  const settled = { x: x.slice(), y: y.slice(), nonFinite: 0 };
  for (let i = 0; i < x.length; i++) {
    if (Number.isFinite(x[i]) && Number.isFinite(y[i])) continue;
    if (!Object.is(x[i], y[i])) settled.nonFinite++;
    settled.x[i] = settled.y[i] = 0;
  }
  return settled;
}

/** What the engine's figures are made of. They come as means and ratios, which cannot be added. */
function sumsOf(engine: Engine, x: Float32Array, y: Float32Array) {
  const tensorOf = (data: Float32Array) => ({ data, shape: [data.length] });
  const zeros = tensorOf(new Float32Array(x.length));
  const squaresOf = (data: Float32Array) => engine.error(tensorOf(data), zeros).mse * data.length;
  const { mse, cosine, maxAbs } = engine.error(tensorOf(x), tensorOf(y));
  const [aa, bb] = [squaresOf(x), squaresOf(y)];
  return { squared: mse * x.length, aa, bb, dot: cosine * Math.sqrt(aa * bb), maxAbs };
}

/** Whether each row holds the scores of two classes or more. */
function areScores([, classes = 0, ...more]: readonly number[]): boolean {
  return classes >= 2 && more.every((size) => size === 1);
}

function agreeingRows(x: Float32Array, y: Float32Array, classes: number): number {
  let agreeing = 0;
  for (let at = 0; at < x.length; at += classes) {
    if (largestAt(x, at, classes) === largestAt(y, at, classes)) agreeing++;
  }
  return agreeing;
}

/** Where the largest value of a row is, the first of equal ones; NaN is passed over, and a row of nothing else has none. */
function largestAt(values: Float32Array, start: number, length: number): number {
  let best = -1;
  for (let i = 0; i < length; i++) {
    const value = values[start + i]!;
    if (best < 0 ? !Number.isNaN(value) : value > values[start + best]!) best = i;
  }
  return best;
}

function exactMeter(): OutputMeter {
  let elements = 0;
  let equal = 0;
  return {
    add(a, b) {
      elements += a.data.length;
      for (let i = 0; i < a.data.length; i++) if (a.data[i] === b.data[i]) equal++;
    },
    result: () => ({ kind: "exact", elements, equal: elements === 0 ? 1 : equal / elements }),
  };
}
