import type { KernelShape, Layout } from "../tensors/granularity.ts";

/**
 * A stretch of a tensor that one kernel call takes: `length` elements that lie together from flat index `start`, the
 * shape the kernel is told, and the parameters it needs, `count` of the layout's from `first` on.
 */
export interface KernelSlice extends KernelShape {
  readonly start: number;
  readonly length: number;
  readonly first: number;
  readonly count: number;
}

/** The arguments by which a kernel is told a slice's shape. */
export function kernelArguments({ outer, groups, inner, last, step, columns }: KernelShape): number[] {
  return columns === 0 ? [outer, groups, inner, last, step] : [outer, groups, inner, last, step, columns];
}

/**
 * Cuts a layout into slices of at most `maxElements` elements and `maxParameters` parameters, in the order of the data:
 * several outers where they are small, else groups of one outer, else part of a group, else part of a row of columns.
 * Runs are cut at multiples of `maxElements` from their start.
 */
export function* slicesOf(layout: Layout, maxElements: number, maxParameters: number): Generator<KernelSlice> {
  const { outer, groups, inner, last, step, columns } = layout;
  const width = columns || 1;
  const elements = ((groups - 1) * inner + last) * width;
  let start = 0;

  if (elements > 0 && elements <= maxElements && groups * width <= maxParameters) {
    const byParameters = step === 0 ? outer : Math.floor(maxParameters / step);
    const most = Math.min(Math.floor(maxElements / elements), byParameters);
    for (let o = 0; o < outer; o += most) {
      const taken = Math.min(most, outer - o);
      const count = step === 0 ? groups * width : taken * step;
      const length = taken * elements;
      yield { start, length, outer: taken, groups, inner, last, step, columns, first: o * step, count };
      start += length;
    }
  } else if (elements > 0) {
    for (let o = 0; o < outer; o++) {
      for (const slice of piecesOfOuter(layout, start, o * step, maxElements, maxParameters)) yield slice;
      start += elements;
    }
  }
  if (layout.rest > 0) {
    const one = { outer: 1, groups: 1, inner: 1, last: 1, step: 0 };
    yield { start, length: layout.rest, ...one, columns: layout.rest, first: 0, count: layout.rest };
  }
}

function* piecesOfOuter(
  { groups, inner, last, columns }: Layout,
  from: number,
  first: number,
  maxElements: number,
  maxParameters: number,
): Generator<KernelSlice> {
  const width = columns || 1;
  let start = from;
  const whole = Math.min(Math.floor(maxElements / (inner * width)), Math.floor(maxParameters / width));
  for (let g = 0; g < groups; ) {
    const taken = Math.min(Math.max(whole, 1), groups - g);
    const short = g + taken === groups ? last : inner;
    const length = ((taken - 1) * inner + short) * width;
    const shape = { outer: 1, groups: taken, inner, last: short, step: 0, columns };
    const parameters = { first: first + g * width, count: taken * width };
    if (whole >= 1) yield { start, length, ...shape, ...parameters };
    else yield* piecesOfGroup({ start, length, ...shape, ...parameters }, maxElements, maxParameters);
    start += length;
    g += taken;
  }
}

/** One group too large for a call: rows of it, or parts of a row where even a row is too long. */
function* piecesOfGroup(group: KernelSlice, maxElements: number, maxParameters: number): Generator<KernelSlice> {
  const width = group.columns || 1;
  const end = group.start + group.length;
  if (width <= maxElements && width <= maxParameters) {
    const rows = Math.floor(maxElements / width);
    for (let start = group.start; start < end; start += rows * width) {
      const length = Math.min(rows * width, end - start);
      const inner = length / width;
      yield { ...group, start, length, inner, last: inner };
    }
    return;
  }
  const most = Math.min(maxElements, maxParameters);
  for (let row = group.start; row < end; row += width) {
    for (let c = 0; c < width; c += most) {
      const columns = Math.min(most, width - c);
      const parameters = { first: group.first + c, count: columns };
      yield { ...group, start: row + c, length: columns, inner: 1, last: 1, columns, ...parameters };
    }
  }
}
