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
  /** Whether a run may begin with a chunk; with any if not said. */
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
