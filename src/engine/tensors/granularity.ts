import { ArgumentError } from "../../errors.ts";
import { TILE } from "../../kernels/memory.ts";
import { elementsOf } from "./shape.ts";

/**
 * A channel axis, counted from the end if negative; or the first and last of adjacent axes that together number the
 * channels, as the last two of a depthwise [H, W, C, M] do.
 */
export type Axis = number | readonly [first: number, last: number];

/** Which elements share a scale: all of them; those of one channel of `axis`; a block of `blockSize` along `axis`. */
export interface Granularity {
  /** The channel axis or axes; with `blockSize` the one axis that blocks run along (default: the last). */
  readonly axis?: Axis | undefined;
  /** Elements to a block; the last of a row may be shorter. */
  readonly blockSize?: number | undefined;
}

/** The shape a kernel is told (src/kernels/abi.ts); `columns` is 0 where parameters go with runs. */
export interface KernelShape {
  readonly outer: number;
  readonly groups: number;
  readonly inner: number;
  readonly last: number;
  readonly step: number;
  readonly columns: number;
}

/**
 * A granularity over a shape, as the kernels take it. Parameters may stand several times in a row of columns, so that
 * narrow data still fills the lanes: the row holds `times` copies of each parameter `each` times over. `rest` columns,
 * fewer than a row, come last.
 */
export interface Layout extends KernelShape {
  readonly each: number;
  readonly times: number;
  readonly rest: number;
  /** How many scales there are. */
  readonly parameters: number;
}

/**
 * Runs shorter than this are better taken as columns, if rows enough share their parameters to pay for laying these out,
 * and a row of them fits a tile.
 */
const SHORT_RUN = 16;
const ENOUGH_ROWS = 8;
/** Rows of columns are made at least this wide. */
const WIDE_ROW = 64;

/**
 * Checks a granularity against a shape; axes come back counted from the front.
 *
 * @throws ArgumentError for an axis the shape does not have and for block sizes other than whole numbers above 0.
 */
export function checkGranularity(shape: readonly number[], { axis, blockSize }: Granularity): Granularity {
  if (blockSize !== undefined && !(Number.isSafeInteger(blockSize) && blockSize > 0)) {
    throw new ArgumentError("blockSize", `${String(blockSize)} given; whole numbers above 0 are allowed`);
  }
  if (axis === undefined) {
    if (blockSize === undefined) return {};
    if (shape.length === 0) throw new ArgumentError("blockSize", "a scalar has no axis to block along");
    return { axis: shape.length - 1, blockSize };
  }
  if (typeof axis === "number") return { axis: checkAxis(shape, axis), blockSize };
  const [first, last] = Array.isArray(axis) && axis.length === 2 ? axis.map((a) => checkAxis(shape, a)) : [];
  if (first === undefined || last === undefined || first > last) {
    throw new ArgumentError("axis", `[${String(axis)}] given; a range is [first, last] with first <= last`);
  }
  if (first === last) return { axis: first, blockSize };
  if (blockSize !== undefined) throw new ArgumentError("axis", "blocks run along one axis, not a range of axes");
  return { axis: [first, last] };
}

function checkAxis(shape: readonly number[], axis: number): number {
  const rank = shape.length;
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  const allowed = rank === 0 ? "a scalar has none" : `-${rank} to ${rank - 1} are allowed`;
  throw new ArgumentError("axis", `${String(axis)} given for shape [${shape.join(", ")}]; ${allowed}`);
}

/** The shape that scales have: [] per tensor, [C] per channel, the tensor's shape with blocks for elements per block. */
export function scaleShapeOf(shape: readonly number[], { axis, blockSize }: Granularity): readonly number[] {
  if (axis === undefined) return [];
  if (typeof axis !== "number") return [elementsOf(shape.slice(axis[0], axis[1] + 1))];
  if (blockSize === undefined) return [shape[axis]!];
  return shape.map((dimension, i) => (i === axis ? Math.ceil(dimension / blockSize) : dimension));
}

/** Lays a checked granularity out over a shape. */
export function layoutOf(shape: readonly number[], { axis, blockSize }: Granularity): Layout {
  const n = elementsOf(shape);
  if (n === 0) return { ...runs(0, 0, 0, 0, 0), parameters: elementsOf(scaleShapeOf(shape, { axis, blockSize })) };
  if (axis === undefined) return runs(1, 1, n, n, 0);

  const [first, last] = typeof axis === "number" ? [axis, axis] : axis;
  const outer = elementsOf(shape.slice(0, first));
  const channels = elementsOf(shape.slice(first, last + 1));
  const inner = elementsOf(shape.slice(last + 1));

  if (blockSize !== undefined) {
    const blocks = Math.ceil(channels / blockSize);
    const short = channels - (blocks - 1) * blockSize;
    if (inner === 1) return runs(outer, blocks, Math.min(blockSize, channels), short, blocks);
    return {
      ...runs(outer, blocks, Math.min(blockSize, channels), short, blocks * inner),
      columns: inner,
      parameters: outer * blocks * inner,
    };
  }
  const short = inner < SHORT_RUN && outer >= ENOUGH_ROWS && channels * inner <= TILE;
  if (inner === 1 || short) return columnsOf(outer, channels, inner);
  return runs(outer, channels, inner, inner, 0);
}

function runs(outer: number, groups: number, inner: number, last: number, step: number): Layout {
  const parameters = step === 0 ? groups : outer * groups;
  return { outer, groups, inner, last, step, columns: 0, each: 1, times: 1, rest: 0, parameters };
}

function columnsOf(rows: number, channels: number, each: number): Layout {
  const width = channels * each;
  const times = Math.min(Math.ceil(WIDE_ROW / width), rows);
  const inner = Math.floor(rows / times);
  return {
    outer: 1,
    groups: 1,
    inner,
    last: inner,
    step: 0,
    columns: width * times,
    each,
    times,
    rest: (rows % times) * width,
    parameters: channels,
  };
}

/** The parameter that stands at place `i` of those the kernels see, copies included. */
export function parameterAt({ parameters, each, times }: Layout, i: number): number {
  return each === 1 && times === 1 ? i : Math.floor((i % (parameters * each)) / each);
}

/** How many parameters the kernels see, copies included. */
export function spreadOf({ parameters, each, times }: Layout): number {
  return parameters * each * times;
}

/** How many elements share parameter `p`. */
export function elementsAt(layout: Layout, p: number): number {
  const { outer, groups, inner, last, step, columns, rest, parameters } = layout;
  const width = columns || 1;
  if (step === 0) return (outer * ((groups - 1) * inner + last) * width + rest) / parameters; // channels are alike
  return Math.floor(p / width) % groups === groups - 1 ? last : inner;
}
