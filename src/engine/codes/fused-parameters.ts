import { TILE } from "../../kernels/memory.ts";
import { rangeOfSlice } from "../measure/find-range.ts";
import type { KernelContext } from "../tensors/context.ts";
import type { Layout } from "../tensors/granularity.ts";
import type { NonFinite } from "../tensors/quantize-options.ts";
import {
  hasNoZeroPoints,
  levelsOf,
  needsMagnitudeOnly,
  type Parameters,
  parametersOf,
  type SchemeOptions,
} from "../tensors/schemes.ts";
import { type Chunking, chunkAt, layoutIn } from "../tiling/chunks.ts";
import type { Find } from "./code-writer.ts";

/** Parameters of so many groups, all yet to be found. */
export function emptyParameters({ parameters: n }: Layout, how: SchemeOptions): Parameters {
  const found = { scale: new Float32Array(n), zeroPoint: new Int32Array(n) };
  if (how.scheme !== "float-offset") return found;
  found.zeroPoint.fill(levelsOf(how).qmin); // which is known
  return { ...found, min: new Float32Array(n), span: new Float32Array(n) };
}

/**
 * Whether slices of at most `limit` elements hold whole groups, so that a group can be scanned and quantized in turn, while
 * a cache has it.
 */
export function holdsGroups(layout: Layout, limit: number): boolean {
  const { outer, groups, inner, step, columns, each, times } = layout;
  const width = columns || 1;
  if (inner * width > limit || width > TILE || each > 1 || times > 1) return false;
  return step > 0 || (outer === 1 && columns === 0) || outer * groups === 1;
}

/** Whether all chunks of a tensor are such. */
export function eachHoldsGroups(chunking: Chunking): boolean {
  // All chunks are alike but for the last of a row.
  const ends = [0, chunking.perRow - 1].filter((index) => index < chunking.count);
  return (
    chunking.count > 0 &&
    chunking.holdsGroups &&
    ends.every((index) => holdsGroups(layoutIn(chunking, chunkAt(chunking, index)), TILE))
  );
}

/** Finds the parameters of each slice's groups as it comes by; `refuse` is called for what may not be left out. */
export function parameterFinderOf(
  context: KernelContext,
  how: SchemeOptions & { readonly nonFinite: NonFinite },
  into: Parameters,
  refuse: () => never,
): Find {
  const { nonFinite } = how;
  const magnitude = needsMagnitudeOnly(how);
  return (slice, address) => {
    const range = rangeOfSlice(context, slice, address, { nonFinite, magnitude }) ?? refuse();
    const found = parametersOf(range, how);
    into.scale.set(found.scale, slice.first);
    if (!hasNoZeroPoints(how)) into.zeroPoint.set(found.zeroPoint, slice.first);
    into.min?.set(found.min!, slice.first);
    into.span?.set(found.span!, slice.first);
  };
}
