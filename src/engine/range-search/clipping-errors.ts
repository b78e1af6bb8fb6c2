import { codeTypes } from "../../dtypes.ts";
import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import { type Layout, parameterAt, spreadOf } from "../tensors/granularity.ts";
import { levelsOf, parametersOf, type SchemeOptions, type ValueRange } from "../tensors/schemes.ts";
import type { NamedOperand } from "../tensors/tensor.ts";
import { foldCopies } from "../tiling/accumulators.ts";
import type { Chunk } from "../tiling/chunks.ts";
import { type KernelSlice, kernelArguments, slicesOf } from "../tiling/kernel-slices.ts";
import { tileSourceOf } from "../tiling/tile-io.ts";
import { clipShare } from "./bounds.ts";

/** Shares of the largest magnitude that a search clips to, the first none: finer where weights of layers gain most. */
export const shares: readonly number[] = [
  ...Array.from({ length: 21 }, (_, i) => 1 - i / 40),
  ...[0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03],
];

/** The ranges that a search tries for groups of these extremes, all groups clipped to one share in each. */
export function clippedRange({ min, max }: ValueRange, share: number, { scheme }: SchemeOptions): ValueRange {
  const clipped = { min: new Float32Array(min.length), max: new Float32Array(min.length) };
  for (let i = 0; i < min.length; i++) {
    const bounds =
      share === 1 ? { min: min[i]!, max: max[i]! } : clipShare({ min: min[i]!, max: max[i]! }, share, scheme);
    clipped.min[i] = bounds.min;
    clipped.max[i] = bounds.max;
  }
  return clipped;
}

/** Values that are smaller in multiples of the scale may have squares that vanish. */
const LEAST_PLACE = 2 ** -40;
/** Groups of a slice at the most: their sums have room in a tile. */
const MOST_GROUPS = TILE / 8;

/**
 * The squared error of each group of a chunk under each of some ranges: float64, in the order of groups; of its finite values
 * alone. Infinity where float32 cannot tell it: of scales below its normal numbers, and of the 1 that stands for them. Slices
 * of the chunk are taken under all ranges while a cache has them.
 */
export function clippingErrors(
  context: KernelContext,
  tensor: NamedOperand,
  { start }: Pick<Chunk, "start">,
  layout: Layout,
  ranges: readonly ValueRange[],
  how: SchemeOptions,
): Float64Array[] {
  const source = tileSourceOf(context, tensor, "values");
  const errors = ranges.map((range) => new ErrorSums(context, layout, range, how));
  for (const slice of slicesOf(layout, Math.min(source.limit, TILE), MOST_GROUPS)) {
    const address = source.address(start + slice.start, slice.length);
    for (const error of errors) error.add(slice, address);
  }
  return errors.map((error) => error.folded);
}

/** The sums under one range, each slice's added to those before. */
class ErrorSums {
  readonly #all: Float64Array;
  readonly #parameters: readonly (Float32Array | Int32Array)[];
  readonly #kernel: (...args: number[]) => void;

  constructor(
    private readonly context: KernelContext,
    private readonly layout: Layout,
    private readonly range: ValueRange,
    private readonly how: SchemeOptions,
  ) {
    const { kernels } = context;
    const { scale, zeroPoint, min = new Float32Array(scale.length) } = parametersOf(range, how);
    this.#all = new Float64Array(spreadOf(layout));
    this.#parameters = [scale, min, zeroPoint];
    this.#kernel = layout.columns > 0 ? kernels.roundingErrorF32Columns : kernels.roundingErrorF32;
  }

  add(slice: KernelSlice, address: number): void {
    const { memory } = this.context;
    const { first, second, third, sums } = memory.tiles;
    const tiles = [first, second, third];
    for (const [k, values] of this.#parameters.entries()) this.#put(values, tiles[k]!, slice);
    const { qmin, qmax } = codesOf(this.how);
    const out = memory.view(Float64Array, sums, slice.count);
    out.set(this.#all.subarray(slice.first, slice.first + slice.count));
    this.#kernel(address, sums, ...tiles, qmin, qmax, ...kernelArguments(slice));
    this.#all.set(out, slice.first);
  }

  #put(values: Float32Array | Int32Array, tile: number, { first, count }: KernelSlice): void {
    const { layout } = this;
    const Type = values instanceof Float32Array ? Float32Array : Int32Array;
    const view = this.context.memory.view<Float32Array | Int32Array>(Type, tile, count);
    if (layout.each === 1 && layout.times === 1) view.set(values.subarray(first, first + count));
    else for (let i = 0; i < count; i++) view[i] = values[parameterAt(layout, first + i)]!;
  }

  get folded(): Float64Array {
    const scale = this.#parameters[0]!;
    const { min, max } = this.range;
    return foldCopies(this.#all, this.layout, 0, (a, b) => a + b).map((sum, p) => {
      const inverse = Math.fround(1 / scale[p]!);
      const isTold = Number.isFinite(inverse) && Math.max(-min[p]!, max[p]!) * Math.abs(inverse) > LEAST_PLACE;
      return isTold ? sum * scale[p]! ** 2 : Number.POSITIVE_INFINITY;
    });
  }
}

/** The error of all groups, but for those of which it cannot be told; undefined where it can be told of none. */
export function sumOfErrors(errors: Float64Array): number | undefined {
  const told = errors.filter(Number.isFinite);
  return told.length === 0 ? undefined : told.reduce((sum, error) => sum + error, 0);
}

/** The codes that values saturate at: all of a type, but for float-offset, which uses what the scheme does. */
function codesOf(how: SchemeOptions) {
  if (how.scheme === "float-offset") return levelsOf(how);
  const { min, max } = codeTypes[how.dtype];
  return { qmin: min, qmax: max };
}
