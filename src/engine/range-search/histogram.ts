import type { KernelContext } from "../tensors/context.ts";
import type { Operand } from "../tensors/tensor.ts";
import { countOf, RESIDENT_LIMIT, tileSourceOf } from "../tiling/tile-io.ts";

/** Bins of a histogram, half of them for values below 0. */
export const BINS = 8192;
const HALF = BINS / 2;
/** Fewer values than this are counted one by one. */
const FEW = 1024;
/** The narrowest bins: their inverse is a normal float32. */
const MOST_EXPONENT = 126;

/**
 * Counts of values in bins of equal width, a power of two, with an edge at 0. Bins widen as larger values arrive: pairs of
 * them become one, which loses no count and is exact, so that any order and any split of the data gives the same counts.
 */
export class Histogram {
  /** Bin i has the values from (i - BINS / 2) * 2^-exponent up to the next. */
  readonly counts = new Float64Array(BINS);

  private constructor(
    private largest: number,
    private power: number,
  ) {}

  /** An empty one for values of at most this magnitude. */
  static upTo(magnitude: number): Histogram {
    return new Histogram(magnitude, exponentFor(magnitude));
  }

  /** One that was stored; `counts` from bin `first` on. */
  static from(exponent: number, first: number, counts: ArrayLike<number>): Histogram {
    const histogram = new Histogram(HALF * 2 ** -exponent, exponent);
    histogram.counts.set(counts, first);
    return histogram;
  }

  /** The width of a bin is 2^-exponent. */
  get exponent(): number {
    return this.power;
  }

  /** How many values were counted. */
  get total(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** Makes room for values of this magnitude. */
  widen(magnitude: number): void {
    if (magnitude <= this.largest) return;
    this.largest = magnitude;
    this.#widenTo(Math.min(exponentFor(magnitude), this.power));
  }

  #widenTo(exponent: number): void {
    const steps = 2 ** (this.power - exponent);
    this.power = exponent;
    if (steps === 1) return;
    const before = this.counts.slice();
    this.counts.fill(0);
    for (let i = 0; i < BINS; i++) {
      if (before[i] !== 0) this.counts[HALF + Math.floor((i - HALF) / steps)]! += before[i]!;
    }
  }

  /** Adds the counts of another. */
  merge(other: Histogram): void {
    this.largest = Math.max(this.largest, other.largest);
    const exponent = Math.min(this.power, other.power);
    const steps = 2 ** (other.power - exponent);
    this.#widenTo(exponent);
    for (let i = 0; i < BINS; i++) {
      if (other.counts[i] !== 0) this.counts[HALF + Math.floor((i - HALF) / steps)]! += other.counts[i]!;
    }
  }

  /** Counts the values of a tensor, none of which is larger than what it has room for. NaN counts as 0. */
  count({ kernels, memory }: KernelContext, tensor: Operand): void {
    if (tensor.data instanceof Float32Array && tensor.data.length < FEW) {
      this.#countFew(tensor.data);
      return;
    }
    const { first, others: table } = memory.tiles;
    const source = tileSourceOf({ kernels, memory }, tensor, "values");
    memory.view(Uint32Array, table, BINS).fill(0);
    memory.view(Float32Array, first, 1)[0] = 2 ** this.power;
    const n = countOf(tensor);
    const most = Math.min(source.limit, RESIDENT_LIMIT);
    for (let start = 0; start < n; start += most) {
      const length = Math.min(most, n - start);
      kernels.histogramF32(source.address(start, length), table, first, BINS, 1, 1, length, length, 0);
    }
    memory.view(Uint32Array, table, BINS).forEach((count, i) => {
      this.counts[i]! += count;
    });
  }

  /** The same where a table takes longer to clear and to add than they do to count. */
  #countFew(values: Float32Array): void {
    const inverse = 2 ** this.power;
    for (const value of values) {
      const bin = Math.min(Math.max(Math.floor(value * inverse), -HALF), HALF - 1);
      this.counts[Number.isNaN(bin) ? HALF : HALF + bin]!++;
    }
  }

  /** Counts by magnitude: bin i has those from i * 2^-exponent up to the next, of either sign. */
  get magnitudes(): Float64Array {
    return Float64Array.from({ length: HALF }, (_, i) => this.counts[HALF + i]! + this.counts[HALF - 1 - i]!);
  }
}

/** The most for which a magnitude is below BINS / 2 widths of 2^-exponent. */
export function exponentFor(magnitude: number): number {
  if (magnitude === 0) return MOST_EXPONENT;
  let exponent = Math.floor(Math.log2(HALF / magnitude));
  // Logarithms are rounded.
  while (magnitude * 2 ** exponent >= HALF) exponent--;
  while (magnitude * 2 ** (exponent + 1) < HALF) exponent++;
  return Math.max(Math.min(exponent, MOST_EXPONENT), -MOST_EXPONENT);
}
