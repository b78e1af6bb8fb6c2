import { quantile, sink, spreadOf } from "../harness.ts";

/** One run of a model. */
export type Run = () => Promise<unknown>;

/** How long to go on: rounds until the time is up, but no fewer and no more than these. */
export interface RoundsPlan {
  readonly least: number;
  readonly most: number;
  /** Seconds for all rounds together. */
  readonly time: number;
  /** Seconds that a sample takes at least. */
  readonly sample: number;
}

/** How often a sample is taken before its length is trusted: a stall makes a short one look long. */
const PROBES = 3;

/**
 * Times all runs in turn, sample by sample: whatever slows the machine down falls on all of them. The order shifts by one
 * from round to round, so that each of them goes first as often as the others.
 *
 * @returns for each run its seconds, one figure a round
 */
export async function interleave(
  runs: readonly Run[],
  plan: RoundsPlan,
  progress: (round: number) => void,
): Promise<number[][]> {
  const repeats: number[] = [];
  for (const run of runs) repeats.push(await repeatsOf(run, plan.sample));
  const samples = runs.map(() => [] as number[]);
  const end = performance.now() + 1000 * plan.time;
  for (let round = 0; round < plan.most && (round < plan.least || performance.now() < end); round++) {
    progress(round);
    for (const i of orderOf(round, runs.length)) {
      samples[i]!.push((await secondsOf(runs[i]!, repeats[i]!)) / repeats[i]!);
    }
  }
  return samples;
}

/** Whose turn it is, in a round. */
export function orderOf(round: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i + round) % count);
}

/** How many runs take as long as a sample should. Finding out warms the model up. */
export async function repeatsOf(run: Run, sample: number): Promise<number> {
  for (let repeats = 1; ; repeats *= 2) {
    let shortest = Number.POSITIVE_INFINITY;
    for (let probe = 0; probe < PROBES; probe++) shortest = Math.min(shortest, await secondsOf(run, repeats));
    if (shortest >= sample) return repeats;
  }
}

async function secondsOf(run: Run, repeats: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) if (await run()) sink.value++;
  return (performance.now() - start) / 1000;
}

export interface PairedRatio {
  /** The median over all rounds. */
  readonly ratio: number;
  /** Interquartile range in percent of it. */
  readonly spread: number;
}

/** How many times longer the one takes than the yardstick in the same round, when the machine was as busy. */
export function pairedRatio(samples: readonly number[], yardstick: readonly number[]): PairedRatio {
  const ratios = samples.map((seconds, round) => seconds / yardstick[round]!);
  return { ratio: quantile(ratios, 0.5), spread: spreadOf(ratios) };
}
