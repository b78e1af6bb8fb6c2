/** The work that peers are compared at. */
export const works = ["QuantizeLinear", "DynamicQuantizeLinear", "range"] as const;

export type Work = (typeof works)[number];

/** What everybody is given: an array of JavaScript's, and the scale of QuantizeLinear's int8 codes, which have no zero point. */
export interface Given {
  readonly x: Float32Array;
  readonly scale: number;
}

export interface Job {
  readonly run: () => number | Promise<number>;
  /** What the last run found: codes, or the range's width alone. */
  readonly result: () => ArrayLike<number>;
}

/** A peer with its data in place. */
export interface Prepared {
  readonly jobs: Readonly<Partial<Record<Work, Job>>>;
  free(): void | Promise<void>;
}

export interface Peer {
  readonly name: string;
  /** How far its codes may be from ours: 0 if not said. */
  readonly tolerance?: number;
  /** What it lacks, or does otherwise. */
  readonly note?: string;
  prepare(given: Given): Promise<Prepared>;
}
