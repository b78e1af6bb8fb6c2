/** Windows of a unit at the most: 16 MiB of float32, enough that to send it costs nothing. */
const MOST_WINDOWS = 4;

/** Windows `from` to `until` (exclusive) of a tensor, one after the other. */
export interface Run {
  readonly from: number;
  readonly until: number;
}

export interface RunOptions {
  /** Whether they are read front to back at the best: all in one run then. */
  readonly sequential?: boolean | undefined;
  /** Whether a run may begin with a window; with any if not said. */
  readonly mayBegin?: (window: number) => boolean;
}

/** `count` windows in runs of a few, in order: a unit each. */
export function runsOf(count: number, { sequential = false, mayBegin = () => true }: RunOptions = {}): Run[] {
  const runs: Run[] = [];
  for (let from = 0; from < count; ) {
    let until = sequential ? count : Math.min(from + MOST_WINDOWS, count);
    while (until < count && !mayBegin(until)) until++;
    runs.push({ from, until });
    from = until;
  }
  return runs;
}
