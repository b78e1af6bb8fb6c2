/** Quantization of one unit: some chunks of a tensor, as any worker does it. `quantize-stored.ts` makes units of a tensor. */
import { type CodeDType, codeTypes } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { boundsOf } from "../engine/measure/find-range.ts";
import type { LossSums } from "../engine/measure/quantization-error.ts";
import { sumOfErrors } from "../engine/range-search/clipping-errors.ts";
import { type Granularity, scaleShapeOf } from "../engine/tensors/granularity.ts";
import type { NonFinite } from "../engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../engine/tensors/range-method.ts";
import { type ResidentTensor, release } from "../engine/tensors/resident-tensor.ts";
import type { SchemeName, ValueRange } from "../engine/tensors/schemes.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import type { FloatTensor, QuantizedTensor } from "../engine/tensors/tensor.ts";
import { type Chunk, chunkAt, chunkingOf } from "../engine/tiling/chunks.ts";
import { NonFiniteError } from "../errors.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "./stored-tensor.ts";
import type { FileSpan, Files, Work } from "./work.ts";

/** How a tensor becomes codes with scales and zero points. */
export interface ChunkQuantization {
  readonly dtype: CodeDType;
  readonly scheme: SchemeName;
  readonly granularity: Granularity;
  readonly reduceRange: boolean;
  readonly narrowRange?: boolean | undefined;
  readonly nonFinite: NonFinite;
  /** How ranges are chosen. Default: `minmax`. */
  readonly range?: RangeMethod | undefined;
}

/** Chunks `from` to `until` of a tensor, one after the other; or all of it at once. */
export type Part = ChunkRun | "whole";

/** Part of a tensor to be quantized, on whatever thread. */
export interface QuantizeUnit {
  readonly tensor: StoredTensor;
  readonly quantization: ChunkQuantization;
  readonly part: Part;
  /** The ranges of the part's groups, where they reach beyond it; others may be among them. */
  readonly range?: GroupRange | undefined;
}

/** The ranges of groups from number `first` on. */
export interface GroupRange extends ValueRange {
  readonly first: number;
  /** Their extremes, where the ranges are others. */
  readonly extremes?: ValueRange | undefined;
}

/** How a tensor is gone through. */
export interface Passes {
  /** Whether ranges are found in a pass of its own over the file. */
  readonly ranges: boolean;
  readonly parts: readonly Part[];
}

/**
 * Whether a tensor is taken chunk by chunk, at once, or in two passes: its groups within chunks, or all of it within
 * `share` bytes, or neither.
 */
export function passesOver(tensor: StoredTensor, { dtype, granularity }: ChunkQuantization, share: number): Passes {
  const chunking = chunkingOf(tensor.shape, granularity);
  if (chunking.count <= 1) return { ranges: false, parts: ["whole"] };
  const fits = roomFor(tensor, elementsOf(tensor.shape)) <= share;
  if (!chunking.holdsGroups && fits) return { ranges: false, parts: ["whole"] };
  // No byte is shared by two parts.
  const mayBegin = (chunk: number) => codeTypes[dtype].bits !== 4 || chunkAt(chunking, chunk).start % 2 === 0;
  return {
    ranges: !chunking.holdsGroups,
    parts: chunkRunsOf(chunking.count, { sequential: tensor.sequential, mayBegin }),
  };
}

/** What a unit goes through: chunks, or the tensor as one. */
export function* chunksOfUnit(unit: QuantizeUnit): Generator<Chunk> {
  const { part, tensor, quantization } = unit;
  if (part === "whole") {
    const count = elementsOf(scaleShapeOf(tensor.shape, quantization.granularity));
    yield { start: 0, length: elementsOf(tensor.shape), shape: tensor.shape, first: 0, count };
    return;
  }
  const chunking = chunkingOf(tensor.shape, quantization.granularity);
  for (let i = part.from; i < part.until; i++) yield chunkAt(chunking, i);
}

/** What a unit reads. */
export function readsOf(unit: QuantizeUnit): FileSpan[] {
  return Array.from(chunksOfUnit(unit), (chunk) => spanOf(unit.tensor, chunk));
}

/** How many elements a unit is for. */
export function elementsIn(unit: QuantizeUnit): number {
  return Array.from(chunksOfUnit(unit), ({ length }) => length).reduce((a, b) => a + b, 0);
}

export function roomOf(unit: QuantizeUnit): number {
  return Math.max(...Array.from(chunksOfUnit(unit), ({ length }) => roomFor(unit.tensor, length)));
}

/** What a unit gives back: the sums of each of its chunks, or those of the tensor. */
export type UnitSums = readonly LossSums[];

/**
 * Quantizes what a unit is for; `visit` is given the codes of each chunk, which are valid until it is done.
 *
 * @throws FormatError, NonFiniteError with the index within the tensor
 */
export async function quantizeChunks(
  engine: Engine,
  files: Files,
  unit: QuantizeUnit,
  visit: (q: QuantizedTensor<CodeDType>, chunk: Chunk) => Promise<void>,
): Promise<UnitSums> {
  const all: LossSums[] = [];
  for (const chunk of chunksOfUnit(unit)) {
    await withPart(engine, files, unit.tensor, chunk, async (values) => {
      const range = unit.range && rangeIn(unit.range, chunk);
      const { q, sums } = within(chunk, () => quantizeValues(engine, values, unit.quantization, { range }));
      try {
        all.push(sums);
        await visit(q, chunk);
      } finally {
        release(q);
      }
    });
  }
  return all;
}

interface ValueOptions {
  /** The ranges of the values' groups, where they are known, and the extremes if those are others. */
  readonly range?: (ValueRange & Pick<GroupRange, "extremes">) | undefined;
  /** Parameters to take instead of those that were found; undefined where these will do. */
  readonly adjust?: (q: QuantizedTensor<CodeDType>) => { scale: Float32Array; zeroPoint: Int32Array } | undefined;
}

/** Codes of some values, which are the caller's to release, and the sums of what that cost. @throws NonFiniteError */
export function quantizeValues(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  { granularity, reduceRange, narrowRange, ...how }: ChunkQuantization,
  { range, adjust }: ValueOptions = {},
): { readonly q: QuantizedTensor<CodeDType>; readonly sums: LossSums } {
  const levels = { reduceRange, ...(narrowRange && { narrowRange }) };
  const given = range && { range: { min: range.min, max: range.max } };
  const first = engine.quantizeWithError(values, { ...how, ...granularity, ...levels, ...given });
  const extremesError = range?.extremes
    ? extremesErrorOf(engine, values, { granularity, ...levels, ...how }, range.extremes)
    : first.sums.extremesError;
  const adjusted = adjust?.(first.q);
  if (!adjusted && extremesError === undefined) return first;
  if (!adjusted) return { q: first.q, sums: { ...first.sums, extremesError } };
  release(first.q);
  const { dtype, scheme, nonFinite } = how;
  const second = engine.quantizeWithError(values, { dtype, scheme, nonFinite, ...granularity, ...adjusted });
  return extremesError === undefined ? second : { q: second.q, sums: { ...second.sums, extremesError } };
}

/** The squared error that values would have under their extremes. */
function extremesErrorOf(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  { dtype, scheme, reduceRange, narrowRange, granularity }: Omit<ChunkQuantization, "nonFinite">,
  extremes: ValueRange,
): number | undefined {
  const how = { dtype, scheme, reduceRange, narrowRange, blocks: granularity.blockSize !== undefined, granularity };
  const [errors] = engine.clippingErrors(values, how, [extremes]);
  return sumOfErrors(errors!);
}

/** The ranges of a chunk's groups. */
export function rangeIn(
  { first, min, max, extremes }: GroupRange,
  chunk: Pick<Chunk, "first" | "count">,
): ValueRange & Pick<GroupRange, "extremes"> {
  const from = chunk.first - first;
  const own = (values: Float32Array) => values.subarray(from, from + chunk.count);
  const range = { min: own(min), max: own(max) };
  return extremes ? { ...range, extremes: { min: own(extremes.min), max: own(extremes.max) } } : range;
}

/** An index within a chunk is one within the tensor to whoever reads of it. */
export function within<T>({ start }: Chunk, run: () => T): T {
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
export const measureWork: Work<QuantizeUnit, UnitSums> = {
  name: "measure",
  reads: readsOf,
  room: roomOf,
  sent: withOwnRange,
  run: (engine, files, unit) => quantizeChunks(engine, files, unit, async () => {}),
};

/** Extremes of a part's groups, as `Engine.extremes` has them. */
export interface UnitExtremes {
  readonly first: number;
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** Finds the extremes of a part's groups, or what of them lies in it. */
export const rangeWork: Work<QuantizeUnit, UnitExtremes> = {
  name: "range",
  reads: readsOf,
  room: roomOf,
  async run(engine, files, unit) {
    const chunks = [...chunksOfUnit(unit)];
    const first = Math.min(...chunks.map((chunk) => chunk.first));
    const count = Math.max(...chunks.map((chunk) => chunk.first + chunk.count)) - first;
    const into = new Extremes(first, count);
    const { granularity, nonFinite } = unit.quantization;
    for (const chunk of chunks) {
      await withPart(engine, files, unit.tensor, chunk, async (values) => {
        const [min, max] = within(chunk, () => engine.extremes(values, { ...granularity, nonFinite }));
        into.take({ first: chunk.first, min: min!, max: max! });
      });
    }
    return into;
  },
};

/** Extremes put together from those of parts. */
export class Extremes implements UnitExtremes {
  readonly min: Float32Array;
  readonly max: Float32Array;

  constructor(
    readonly first: number,
    count: number,
  ) {
    this.min = new Float32Array(count).fill(Number.POSITIVE_INFINITY);
    this.max = new Float32Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  take({ first, min, max }: UnitExtremes): void {
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
export function withOwnRange<U extends QuantizeUnit>(unit: U): U {
  const { range } = unit;
  if (!range) return unit;
  const chunks = [...chunksOfUnit(unit)];
  const first = Math.min(...chunks.map((chunk) => chunk.first));
  const end = Math.max(...chunks.map((chunk) => chunk.first + chunk.count));
  const own = (values: Float32Array) => values.slice(first - range.first, end - range.first);
  const extremes = range.extremes && { min: own(range.extremes.min), max: own(range.extremes.max) };
  return { ...unit, range: { first, min: own(range.min), max: own(range.max), extremes } };
}

/** Chunks of a unit at the most: 16 MiB of float32, enough that to send it costs nothing. */
const MOST_CHUNKS = 4;
/** Chunks `from` to `until` (exclusive) of a tensor, one after the other. */
export interface ChunkRun {
  readonly from: number;
  readonly until: number;
}

export interface RunOptions {
  /** Whether they are read front to back at the best: all in one run then. */
  readonly sequential?: boolean | undefined;
  /** Whether a run may begin with a chunk. Default: with any of them. */
  readonly mayBegin?: (chunk: number) => boolean;
}

/** `count` chunks in runs of a few, in order: a unit each. */
export function chunkRunsOf(count: number, { sequential = false, mayBegin = () => true }: RunOptions = {}): ChunkRun[] {
  const runs: ChunkRun[] = [];
  for (let from = 0; from < count; ) {
    let until = sequential ? count : Math.min(from + MOST_CHUNKS, count);
    while (until < count && !mayBegin(until)) until++;
    runs.push({ from, until });
    from = until;
  }
  return runs;
}
