import { NonFiniteError } from "../errors.ts";
import type { KernelName } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import { accumulatorsOf, foldCopies } from "./accumulate.ts";
import { type Layout, spreadOf } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { type Operand, sourceOf } from "./operands.ts";
import type { NonFinite } from "./options.ts";
import { piecesOf, shapeOf } from "./pieces.ts";
import type { Range } from "./schemes.ts";

export interface RangeRequest {
  readonly layout: Layout;
  readonly nonFinite: NonFinite;
  /** What errors call the tensor. */
  readonly name?: string | undefined;
}

/**
 * Minimum and maximum of each group; 0 and 0 where a group has no (finite) element. A bound of zero is +0.
 *
 * @throws NonFiniteError
 */
export function findRange(machine: Machine, tensor: Operand, request: RangeRequest): Range {
  const { layout, nonFinite, name } = request;
  let found = scan(machine, tensor, layout, "rangeF32");
  if (found.bad) {
    if (nonFinite === "error") throw firstNonFinite(machine, tensor, name);
    found = scan(machine, tensor, layout, "rangeFiniteF32");
  }
  const [min, max] = found.extremes as [Float32Array, Float32Array];
  for (let i = 0; i < min.length; i++) {
    const empty = min[i]! > max[i]!;
    min[i] = empty ? 0 : min[i]! + 0; // -0 + 0 is +0
    max[i] = empty ? 0 : max[i]! + 0;
  }
  return { min, max };
}

/**
 * The largest magnitude of each group, as the range that holds it and its negative; 0 for an empty group.
 *
 * @throws NonFiniteError
 */
export function findMagnitude(machine: Machine, tensor: Operand, request: RangeRequest): Range {
  const { bad, extremes } = scan(machine, tensor, request.layout, "absMaxF32");
  if (bad) {
    if (request.nonFinite === "error") throw firstNonFinite(machine, tensor, request.name);
    return findRange(machine, tensor, request);
  }
  const [max] = extremes as [Float32Array];
  return { min: max.map((x) => 0 - x), max };
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

function scan(machine: Machine, tensor: Operand, layout: Layout, name: Scan): Scanned {
  const { memory, kernels } = machine;
  const source = sourceOf(machine, tensor, "values");
  const extremes = initials[name].map((initial) => new Float32Array(spreadOf(layout)).fill(initial));
  const tiles = [memory.tiles.first, memory.tiles.second].slice(0, extremes.length);
  const kernel = kernels[layout.columns ? (`${name}Columns` satisfies KernelName) : name] as (
    ...args: number[]
  ) => number | undefined;
  let bad = 0;
  const accumulators = accumulatorsOf(memory, extremes, (k) => tiles[k]!);
  for (const piece of piecesOf(layout, source.limit, TILE)) {
    accumulators.hold(piece);
    bad |= Number(kernel(source.address(piece.start, piece.length), ...tiles, ...shapeOf(piece)) ?? 0);
  }
  accumulators.release();
  const fold = (all: Float32Array, k: number) => {
    const initial = initials[name][k]!;
    return foldCopies(all, layout, initial, initial > 0 ? Math.min : Math.max); // minima start high, maxima low
  };
  return { bad: bad !== 0, extremes: extremes.map(fold) };
}

/** @throws NonFiniteError for the first value of a tensor that is known to hold one. */
export function refuseNonFinite(machine: Machine, tensor: Operand, name: string | undefined): never {
  throw firstNonFinite(machine, tensor, name);
}

/** The error path looks again, for the place. */
function firstNonFinite(machine: Machine, tensor: Operand, name: string | undefined): NonFiniteError {
  const source = sourceOf(machine, tensor, "values");
  const n = countOf(tensor);
  for (let start = 0; start < n; start += TILE) {
    const length = Math.min(TILE, n - start);
    const view = machine.memory.view(Float32Array, source.address(start, length), length);
    const i = view.findIndex((x) => !Number.isFinite(x));
    if (i >= 0) return new NonFiniteError(view[i]!, start + i, name);
  }
  throw new Error("a scan met a value that is not finite, a second look did not");
}

function countOf({ data }: Operand): number {
  return (data as Float32Array | Uint16Array).length;
}
