/** The range of one group. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** What of one range lies within another, which holds part of it. */
export function clipTo({ min, max }: Bounds, within: Bounds): Bounds {
  const low = Math.min(Math.max(min, within.min), within.max);
  return { min: low, max: Math.max(Math.min(max, within.max), low) };
}

/**
 * A range with its far end, or both ends, clipped to a share of the largest magnitude; of a range without 0 in it that share
 * of its width is kept, around its middle.
 */
export function clipShare({ min, max }: Bounds, share: number): Bounds {
  if (min > 0 || max < 0) {
    const [middle, half] = [min / 2 + max / 2, (max / 2 - min / 2) * share];
    return clipTo({ min: middle - half, max: middle + half }, { min, max });
  }
  const most = Math.max(-min, max) * share;
  return clipTo({ min: -most, max: most }, { min, max });
}
