import { NonFiniteError } from "../errors.ts";
import type { KernelName } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import { type Layout, parameterAt } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { type Operand, type Source, sourceOf } from "./operands.ts";
import { type Piece, piecesOf } from "./pieces.ts";
import type { Range } from "./schemes.ts";

/** What to do with NaN and infinities when a range is sought: refuse the data, or leave them out. */
export type NonFinite = "error" | "ignore";

export interface RangeRequest {
  readonly layout: Layout;
  readonly nonFinite: NonFinite;
  /** What errors call the tensor. */
  readonly name?: string | undefined;
}

/** The arguments by which a kernel is told a piece's shape. */
export function shapeOf({ outer, groups, inner, last, step, columns }: Piece): number[] {
  return columns === 0 ? [outer, groups, inner, last, step] : [outer, groups, inner, last, step, columns];
}

/**
 * Minimum and maximum of each group; 0 and 0 where a group has no (finite) element. A bound of zero is +0.
 *
 * @throws NonFiniteError
 */
export function findRange(machine: Machine, tensor: Operand, request: RangeRequest): Range {
  const { parameters } = request.layout;
  const min = new Float32Array(parameters).fill(Number.POSITIVE_INFINITY);
  const max = new Float32Array(parameters).fill(Number.NEGATIVE_INFINITY);
  const found = [
    { into: min, initial: Number.POSITIVE_INFINITY, better: Math.min },
    { into: max, initial: Number.NEGATIVE_INFINITY, better: Math.max },
  ];
  if (scan(machine, tensor, request.layout, "rangeF32", found) && request.nonFinite === "error") {
    throw firstNonFinite(machine, tensor, request.name);
  }
  if (min.some((x) => !Number.isFinite(x)) || max.some((x) => !Number.isFinite(x))) {
    min.fill(Number.POSITIVE_INFINITY);
    max.fill(Number.NEGATIVE_INFINITY);
    scan(machine, tensor, request.layout, "rangeFiniteF32", found);
  }
  for (let i = 0; i < parameters; i++) {
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
  const max = new Float32Array(request.layout.parameters);
  const found = [{ into: max, initial: 0, better: Math.max }];
  if (!scan(machine, tensor, request.layout, "absMaxF32", found)) return { min: max.map((x) => 0 - x), max };
  if (request.nonFinite === "error") throw firstNonFinite(machine, tensor, request.name);
  return findRange(machine, tensor, request);
}

interface Extreme {
  /** One result for each parameter. */
  readonly into: Float32Array;
  readonly initial: number;
  readonly better: (a: number, b: number) => number;
}

type Scan = "rangeF32" | "rangeFiniteF32" | "absMaxF32";

/** Runs a scan over the whole tensor, folding into `extremes`; whether it met NaN or an infinity. */
function scan(machine: Machine, tensor: Operand, layout: Layout, name: Scan, extremes: readonly Extreme[]): boolean {
  const { memory, kernels } = machine;
  const source = sourceOf(machine, tensor, "values");
  const tiles = [memory.tiles.first, memory.tiles.second].slice(0, extremes.length);
  const kernel = kernels[layout.columns ? (`${name}Columns` satisfies KernelName) : name] as (
    ...args: number[]
  ) => number | undefined;
  let bad = 0;
  let held: Piece | undefined;

  const flush = () => {
    if (!held) return;
    const { first, count } = held;
    extremes.forEach(({ into, better }, k) => {
      const view = memory.view(Float32Array, tiles[k]!, count);
      for (let i = 0; i < count; i++) {
        const p = parameterAt(layout, first + i);
        into[p] = better(into[p]!, view[i]!);
      }
    });
  };

  for (const piece of piecesOf(layout, source.limit, TILE)) {
    // Channels come round again: their extremes stay in the tile for as long as the same ones are wanted.
    if (!held || piece.first !== held.first || piece.count > held.count) {
      flush();
      held = piece;
      extremes.forEach(({ initial }, k) => {
        memory.view(Float32Array, tiles[k]!, piece.count).fill(initial);
      });
    }
    bad |= Number(kernel(source.address(piece.start, piece.length), ...tiles, ...shapeOf(piece)) ?? 0);
  }
  flush();
  return bad !== 0;
}

/** The error path looks again, for the place. */
function firstNonFinite(machine: Machine, tensor: Operand, name: string | undefined): NonFiniteError {
  const source: Source = sourceOf(machine, tensor, "values");
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
