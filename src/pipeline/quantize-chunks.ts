import { type CodeDType, codeTypes } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { boundsOf } from "../engine/measure/find-range.ts";
import type { LossSums } from "../engine/measure/quantization-error.ts";
import { type Granularity, scaleShapeOf } from "../engine/tensors/granularity.ts";
import type { NonFinite } from "../engine/tensors/quantize-options.ts";
import { release } from "../engine/tensors/resident-tensor.ts";
import type { Range, SchemeName } from "../engine/tensors/schemes.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import type { QuantizedTensor } from "../engine/tensors/tensor.ts";
import { cutOf, type Window, windowAt } from "../engine/tiling/chunks.ts";
import { NonFiniteError } from "../errors.ts";
import { type Run, runsOf } from "./chunk-runs.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "./stored-tensor.ts";
import type { FileSpan, Files, Work } from "./work.ts";

/** How a tensor becomes codes with scales and zero points. */
export interface AffineRecipe {
  readonly dtype: CodeDType;
  readonly scheme: SchemeName;
  readonly granularity: Granularity;
  readonly reduceRange: boolean;
  readonly narrowRange?: boolean | undefined;
  readonly nonFinite: NonFinite;
}

/** Windows `from` to `until` of a tensor, one after the other; or all of it at once. */
export type Part = Run | "whole";

/** Part of a tensor to be quantized, on whatever thread. */
export interface AffineUnit {
  readonly tensor: StoredTensor;
  readonly recipe: AffineRecipe;
  readonly part: Part;
  /** The ranges of the part's groups, where they reach beyond it; others may be among them. */
  readonly range?: GroupRange | undefined;
}

/** Extremes of groups from number `first` on. */
export interface GroupRange extends Range {
  readonly first: number;
}

/** How a tensor is gone through. */
export interface Passes {
  /** Whether ranges are found in a pass of its own over the file. */
  readonly ranges: boolean;
  readonly parts: readonly Part[];
}

/**
 * Whether a tensor is taken window by window, at once, or in two passes: its groups within windows, or all of it within
 * `share` bytes, or neither.
 */
export function passesOver(tensor: StoredTensor, { dtype, granularity }: AffineRecipe, share: number): Passes {
  const cut = cutOf(tensor.shape, granularity);
  if (cut.count <= 1) return { ranges: false, parts: ["whole"] };
  const fits = roomFor(tensor, elementsOf(tensor.shape)) <= share;
  if (!cut.holdsGroups && fits) return { ranges: false, parts: ["whole"] };
  // No byte is shared by two parts.
  const mayBegin = (window: number) => codeTypes[dtype].bits !== 4 || windowAt(cut, window).start % 2 === 0;
  return { ranges: !cut.holdsGroups, parts: runsOf(cut.count, { sequential: tensor.sequential, mayBegin }) };
}

/** What a unit goes through: windows, or the tensor as one. */
function* windowsOfUnit(unit: AffineUnit): Generator<Window> {
  const { part, tensor, recipe } = unit;
  if (part === "whole") {
    const count = elementsOf(scaleShapeOf(tensor.shape, recipe.granularity));
    yield { start: 0, length: elementsOf(tensor.shape), shape: tensor.shape, first: 0, count };
    return;
  }
  const cut = cutOf(tensor.shape, recipe.granularity);
  for (let i = part.from; i < part.until; i++) yield windowAt(cut, i);
}

/** What a unit reads. */
export function readsOf(unit: AffineUnit): FileSpan[] {
  return Array.from(windowsOfUnit(unit), (window) => spanOf(unit.tensor, window));
}

/** How many elements a unit is for. */
export function elementsIn(unit: AffineUnit): number {
  return Array.from(windowsOfUnit(unit), ({ length }) => length).reduce((a, b) => a + b, 0);
}

export function roomOf(unit: AffineUnit): number {
  return Math.max(...Array.from(windowsOfUnit(unit), ({ length }) => roomFor(unit.tensor, length)));
}

/** What a unit gives back: the sums of each of its windows, or those of the tensor. */
export type UnitSums = readonly LossSums[];

/**
 * Quantizes what a unit is for; `visit` is given the codes of each window, which are valid until it is done.
 *
 * @throws FormatError, NonFiniteError with the index within the tensor
 */
export async function quantizeUnit(
  engine: Engine,
  files: Files,
  unit: AffineUnit,
  visit: (q: QuantizedTensor<CodeDType>, window: Window) => Promise<void>,
  adjust?: (q: QuantizedTensor<CodeDType>) => { scale: Float32Array; zeroPoint: Int32Array } | undefined,
): Promise<UnitSums> {
  const sums: LossSums[] = [];
  const { granularity, reduceRange, narrowRange, ...how } = unit.recipe;
  const levels = { reduceRange, ...(narrowRange && { narrowRange }) };
  for (const window of windowsOfUnit(unit)) {
    await withPart(engine, files, unit.tensor, window, async (values) => {
      const range = unit.range && rangeIn(unit.range, window);
      let found = within(window, () =>
        engine.quantizeMeasured(values, { ...how, ...granularity, ...levels, ...(range && { range }) }),
      );
      try {
        const given = adjust?.(found.q);
        if (given) {
          release(found.q);
          found = engine.quantizeMeasured(values, { ...how, ...granularity, ...given });
        }
        sums.push(found.sums);
        await visit(found.q, window);
      } finally {
        release(found.q);
      }
    });
  }
  return sums;
}

function rangeIn({ first, min, max }: GroupRange, window: Window): Range {
  const from = window.first - first;
  return { min: min.subarray(from, from + window.count), max: max.subarray(from, from + window.count) };
}

/** An index within a window is one within the tensor to whoever reads of it. */
export function within<T>({ start }: Window, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (start > 0 && error instanceof NonFiniteError) {
      throw new NonFiniteError(error.value, start + error.index, error.tensor);
    }
    throw error;
  }
}

/** Tells what a part would lose. */
export const measureWork: Work<AffineUnit, UnitSums> = {
  name: "measure",
  reads: readsOf,
  room: roomOf,
  sent: withOwnRange,
  run: (engine, files, unit) => quantizeUnit(engine, files, unit, async () => {}),
};

/** Extremes of a part's groups, as `Engine.extremes` has them. */
export interface PartExtremes {
  readonly first: number;
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** Finds the extremes of a part's groups, or what of them lies in it. */
export const rangeWork: Work<AffineUnit, PartExtremes> = {
  name: "range",
  reads: readsOf,
  room: roomOf,
  async run(engine, files, unit) {
    const windows = [...windowsOfUnit(unit)];
    const first = Math.min(...windows.map((window) => window.first));
    const count = Math.max(...windows.map((window) => window.first + window.count)) - first;
    const into = new Extremes(first, count);
    const { granularity, nonFinite } = unit.recipe;
    for (const window of windows) {
      await withPart(engine, files, unit.tensor, window, async (values) => {
        const [min, max] = within(window, () => engine.extremes(values, { ...granularity, nonFinite }));
        into.take({ first: window.first, min: min!, max: max! });
      });
    }
    return into;
  },
};

/** Extremes put together from those of parts. */
export class Extremes implements PartExtremes {
  readonly min: Float32Array;
  readonly max: Float32Array;

  constructor(
    readonly first: number,
    count: number,
  ) {
    this.min = new Float32Array(count).fill(Number.POSITIVE_INFINITY);
    this.max = new Float32Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  take({ first, min, max }: PartExtremes): void {
    const at = first - this.first;
    for (let i = 0; i < min.length; i++) {
      this.min[at + i] = Math.min(this.min[at + i]!, min[i]!);
      this.max[at + i] = Math.max(this.max[at + i]!, max[i]!);
    }
  }

  get range(): GroupRange {
    return { first: this.first, ...boundsOf([this.min, this.max]) };
  }
}

/** A unit with the ranges of its own groups alone. */
export function withOwnRange<U extends AffineUnit>(unit: U): U {
  const { range } = unit;
  if (!range) return unit;
  const windows = [...windowsOfUnit(unit)];
  const first = Math.min(...windows.map((window) => window.first));
  const end = Math.max(...windows.map((window) => window.first + window.count));
  const own = (values: Float32Array) => values.slice(first - range.first, end - range.first);
  return { ...unit, range: { first, min: own(range.min), max: own(range.max) } };
}
