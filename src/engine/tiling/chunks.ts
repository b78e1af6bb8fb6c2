import { type Granularity, type Layout, layoutOf } from "../tensors/granularity.ts";
import { elementsOf } from "../tensors/shape.ts";

/** The most elements of a chunk, unless one index of its last axis has more: 4 MiB of float32, which a cache holds. */
export const CHUNK = 1 << 20;

/**
 * A part of a tensor that lies together and is a tensor itself: one index of the axes before the one that is cut, some of
 * that, all of those behind.
 */
export interface Chunk {
  /** Flat index of its first element, and how many there are. */
  readonly start: number;
  readonly length: number;
  readonly shape: readonly number[];
  /** Where its parameters begin among those of the tensor, and how many there are. */
  readonly first: number;
  readonly count: number;
}

/** How a tensor falls into chunks: told by shape and granularity alone, so that it does so everywhere alike. */
export interface Chunking {
  readonly shape: readonly number[];
  readonly granularity: Granularity;
  /** The axis that is cut; -1 for a scalar. */
  readonly axis: number;
  /** Indices of that axis to a chunk; the last of a stretch may be fewer. */
  readonly size: number;
  /** Chunks begin anew after so many indices: a block larger than a chunk, or the whole axis. */
  readonly stretch: number;
  readonly perStretch: number;
  /** Chunks of one row, and of the tensor. */
  readonly perRow: number;
  readonly count: number;
  /** Whether no group of parameters reaches beyond a chunk. */
  readonly holdsGroups: boolean;
}

/** Cuts a tensor at the first axis whose indices fit a chunk; no chunk crosses the end of a block. */
export function chunkingOf(shape: readonly number[], granularity: Granularity, most = CHUNK): Chunking {
  const axis = shape.findIndex((_, i) => elementsOf(shape.slice(i + 1)) <= most);
  const scalar = {
    shape,
    granularity,
    axis,
    size: 1,
    stretch: 1,
    perStretch: 1,
    perRow: 1,
    count: 1,
    holdsGroups: true,
  };
  if (axis < 0) return scalar;
  const rows = elementsOf(shape.slice(0, axis));
  const length = shape[axis]!;
  const fits = Math.max(Math.floor(most / Math.max(elementsOf(shape.slice(axis + 1)), 1)), 1);
  const isAlong = granularity.blockSize !== undefined && granularity.axis === axis;
  const block = isAlong ? Math.min(granularity.blockSize!, length) : 1;
  // Of blocks that fit as many as do, in pairs if they are odd; of one that does not a part.
  const step = block % 2 === 1 && fits >= 2 * block ? 2 * block : block;
  const wanted = isAlong && fits >= block ? fits - (fits % step) : evened(fits);
  const size = Math.max(Math.min(wanted, length), 1);
  const stretch = size < block ? block : Math.max(length, 1);
  const perStretch = Math.ceil(stretch / size);
  const last = length - Math.floor(length / stretch) * stretch;
  const perRow = Math.floor(length / stretch) * perStretch + Math.ceil(last / size);
  const chunking = { ...scalar, size, stretch, perStretch, perRow, count: rows * perRow };
  return { ...chunking, holdsGroups: holdsGroups(chunking) };
}

/** Chunks of 4-bit codes had better begin where a byte does. */
function evened(size: number): number {
  return size > 1 ? size & ~1 : size;
}

function holdsGroups({ shape, granularity, axis, size, count }: Omit<Chunking, "holdsGroups">): boolean {
  if (count <= 1) return true;
  const { blockSize } = granularity;
  if (granularity.axis === undefined) return false;
  const isWhole = size >= shape[axis]!;
  const [first, last] = typeof granularity.axis === "number" ? [granularity.axis, granularity.axis] : granularity.axis;
  // Along an axis that is cut, or taken index by index, a group has to have one index alone, or whole chunks.
  return shape.every((dimension, i) => {
    const isAlong = i >= first && i <= last;
    const reach = isAlong ? Math.min(blockSize ?? 1, dimension) : blockSize === undefined ? dimension : 1;
    if (i > axis || reach <= 1) return true;
    return i === axis && (isWhole || (isAlong && blockSize !== undefined && size % blockSize === 0));
  });
}

/** Chunk `index` of a tensor, in the order of the data. */
export function chunkAt(chunking: Chunking, index: number): Chunk {
  const { shape, axis, size, stretch, perStretch, perRow } = chunking;
  if (axis < 0) return { start: 0, length: 1, shape, first: 0, count: 1 };
  const row = Math.floor(index / perRow);
  const place = index % perRow;
  const begin = Math.floor(place / perStretch) * stretch;
  const from = begin + (place % perStretch) * size;
  const taken = Math.min(size, begin + stretch - from, shape[axis]! - from);
  const inner = elementsOf(shape.slice(axis + 1));
  return {
    start: (row * shape[axis]! + from) * inner,
    length: taken * inner,
    shape: shape.map((dimension, i) => (i < axis ? 1 : i === axis ? taken : dimension)),
    ...parametersIn(chunking, row, from, taken),
  };
}

export function* chunksOf(chunking: Chunking): Generator<Chunk> {
  for (let i = 0; i < chunking.count; i++) yield chunkAt(chunking, i);
}

/** How kernels see a chunk. */
export function layoutIn({ granularity }: Chunking, { shape }: Chunk): Layout {
  return layoutOf(shape, granularity);
}

function parametersIn({ shape, granularity, axis }: Chunking, row: number, from: number, taken: number) {
  const { blockSize } = granularity;
  if (granularity.axis === undefined) return { first: 0, count: 1 };
  const [begin, end] = typeof granularity.axis === "number" ? [granularity.axis, granularity.axis] : granularity.axis;
  // Parameters are laid out as the tensor is: blocks in place of indices along their axis, channel axes alone otherwise.
  let first = 0;
  let count = 1;
  let left = row;
  const indices = shape.map(() => 0);
  for (let i = axis - 1; i >= 0; i--) {
    indices[i] = left % shape[i]!;
    left = Math.floor(left / shape[i]!);
  }
  shape.forEach((dimension, i) => {
    const isAlong = i >= begin && i <= end;
    if (!isAlong && blockSize === undefined) return;
    const step = isAlong ? (blockSize ?? 1) : 1;
    const places = Math.ceil(dimension / step);
    const [low, high] = i < axis ? [indices[i]!, indices[i]! + 1] : i === axis ? [from, from + taken] : [0, dimension];
    const [at, until] = [Math.floor(low / step), Math.ceil(high / step)];
    first = first * places + at;
    count *= until - at;
  });
  return { first, count };
}
