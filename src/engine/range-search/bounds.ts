import type { SchemeName } from "../tensors/schemes.ts";

/** The range of one group. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** What of one range lies within another, which holds part of it. */
export function clipTo({ min, max }: Bounds, within: Bounds): Bounds {
  const low = Math.min(Math.max(min, within.min), within.max);
  // A bound of zero is +0.
  return { min: low + 0, max: Math.max(Math.min(max, within.max), low) + 0 };
}

/**
 * A range with its far end, or both ends, clipped to a share of the largest magnitude. Of a range without 0 in it, where the
 * scheme does not widen it, that share of its width is kept, around its middle.
 */
export function clipShare({ min, max }: Bounds, share: number, scheme: SchemeName): Bounds {
  if (scheme === "float-offset" && (min > 0 || max < 0)) {
    const [middle, half] = [min / 2 + max / 2, (max / 2 - min / 2) * share];
    return clipTo({ min: middle - half, max: middle + half }, { min, max });
  }
  const most = Math.max(-min, max) * share;
  return clipTo({ min: -most, max: most }, { min, max });
}

/** What the codes of a scheme are spread over. */
export function spreadBy(scheme: SchemeName, { min, max }: Bounds): Bounds {
  if (scheme === "float-offset") return { min, max };
  if (scheme !== "symmetric") return { min: Math.min(min, 0), max: Math.max(max, 0) };
  const most = Math.max(-min, max);
  return { min: -most, max: most };
}
