import { NonFiniteError } from "../../errors.ts";
import type { KernelName } from "../../kernels/abi.ts";
import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import { type Layout, spreadOf } from "../tensors/granularity.ts";
import type { NonFinite } from "../tensors/quantize-options.ts";
import type { ValueRange } from "../tensors/schemes.ts";
import type { Operand } from "../tensors/tensor.ts";
import { accumulatorsOf, foldCopies } from "../tiling/accumulators.ts";
import { type KernelSlice, kernelArguments, slicesOf } from "../tiling/kernel-slices.ts";
import { countOf, type TileSource, tileSourceOf } from "../tiling/tile-io.ts";

export interface RangeRequest {
  readonly layout: Layout;
  readonly nonFinite: NonFinite;
  /** Whether the largest magnitude of each group is enough: the range is then that and its negative. */
  readonly magnitude?: boolean;
  /** What errors call the tensor. */
  readonly name?: string | undefined;
}

/**
 * Minimum and maximum of each group; 0 and 0 where a group has no (finite) element. A bound of zero is +0.
 *
 * @throws NonFiniteError
 */
export function findRange(context: KernelContext, tensor: Operand, request: RangeRequest): ValueRange {
  return boundsOf(findExtremes(context, tensor, request));
}

/**
 * The same as a scan leaves it: Infinity and -Infinity where a group has no element, so that the extremes of parts can be
 * put together.
 *
 * @throws NonFiniteError
 */
export function findExtremes(context: KernelContext, tensor: Operand, request: RangeRequest): readonly Float32Array[] {
  const { layout, nonFinite, name, magnitude = false } = request;
  const source = tileSourceOf(context, tensor, "values");
  const found = scan(context, source, layout, magnitude ? "absMaxF32" : "rangeF32");
  if (!found.bad) return found.extremes;
  if (nonFinite === "error") throw firstNonFinite(context, tensor, name);
  return scan(context, source, layout, "rangeFiniteF32").extremes;
}

/** The same of a slice of float32 at `address` that holds whole groups; undefined where nothing may be left out. */
export function rangeOfSlice(
  context: KernelContext,
  slice: KernelSlice,
  address: number,
  { nonFinite, magnitude = false }: Pick<RangeRequest, "nonFinite" | "magnitude">,
): ValueRange | undefined {
  const found = scanSlice(context, slice, address, magnitude ? "absMaxF32" : "rangeF32");
  if (!found.bad) return boundsOf(found.extremes);
  return nonFinite === "error" ? undefined : boundsOf(scanSlice(context, slice, address, "rangeFiniteF32").extremes);
}

/** Extremes as a range. */
export function boundsOf(extremes: readonly Float32Array[]): ValueRange {
  if (extremes.length === 1) return { min: extremes[0]!.map((x) => 0 - x), max: extremes[0]! };
  const [min, max] = extremes as [Float32Array, Float32Array];
  for (let i = 0; i < min.length; i++) {
    const empty = min[i]! > max[i]!;
    min[i] = empty ? 0 : min[i]! + 0; // -0 + 0 is +0
    max[i] = empty ? 0 : max[i]! + 0;
  }
  return { min, max };
}

type Scan = "rangeF32" | "rangeFiniteF32" | "absMaxF32";

/** Where each result of a scan starts. */
const initials: Readonly<Record<Scan, readonly number[]>> = {
  rangeF32: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  rangeFiniteF32: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  absMaxF32: [0],
};

interface Scanned {
  /** Whether NaN or an infinity was met. */
  readonly bad: boolean;
  /** Minima and maxima, or magnitudes alone: one of each for every parameter. */
  readonly extremes: readonly Float32Array[];
}

type ScanKernel = (...args: number[]) => number | undefined;

function kernelOf({ kernels }: KernelContext, name: Scan, columns: number): ScanKernel {
  return kernels[columns ? (`${name}Columns` satisfies KernelName) : name] as ScanKernel;
}

function scan(context: KernelContext, source: TileSource, layout: Layout, name: Scan): Scanned {
  const { memory } = context;
  const extremes = initials[name].map((initial) => new Float32Array(spreadOf(layout)).fill(initial));
  const tiles = [memory.tiles.first, memory.tiles.second].slice(0, extremes.length);
  const kernel = kernelOf(context, name, layout.columns);
  let bad = 0;
  const accumulators = accumulatorsOf(memory, extremes, (k) => tiles[k]!);
  for (const slice of slicesOf(layout, source.limit, TILE)) {
    accumulators.hold(slice);
    bad |= Number(kernel(source.address(slice.start, slice.length), ...tiles, ...kernelArguments(slice)) ?? 0);
  }
  accumulators.release();
  const fold = (all: Float32Array, k: number) => {
    const initial = initials[name][k]!;
    return foldCopies(all, layout, initial, initial > 0 ? Math.min : Math.max); // minima start high, maxima low
  };
  return { bad: bad !== 0, extremes: extremes.map(fold) };
}

/** The groups of one slice alone. */
function scanSlice(context: KernelContext, slice: KernelSlice, address: number, name: Scan): Scanned {
  const { first, second } = context.memory.tiles;
  const tiles = initials[name].map((initial, k) => {
    const tile = k === 0 ? first : second;
    context.memory.view(Float32Array, tile, slice.count).fill(initial);
    return tile;
  });
  const bad = Number(kernelOf(context, name, slice.columns)(address, ...tiles, ...kernelArguments(slice)) ?? 0);
  const extremes = tiles.map((tile) => context.memory.view(Float32Array, tile, slice.count).slice());
  return { bad: bad !== 0, extremes };
}

/** @throws NonFiniteError for the first value of a tensor that is known to hold one. */
export function refuseNonFinite(context: KernelContext, tensor: Operand, name: string | undefined): never {
  throw firstNonFinite(context, tensor, name);
}

/** The error path looks again, for the place. */
function firstNonFinite(context: KernelContext, tensor: Operand, name: string | undefined): NonFiniteError {
  const source = tileSourceOf(context, tensor, "values");
  const n = countOf(tensor);
  for (let start = 0; start < n; start += TILE) {
    const length = Math.min(TILE, n - start);
    const view = context.memory.view(Float32Array, source.address(start, length), length);
    const i = view.findIndex((x) => !Number.isFinite(x));
    if (i >= 0) return new NonFiniteError(view[i]!, start + i, name);
  }
  throw new Error("a scan met a value that is not finite, a second look did not");
}
