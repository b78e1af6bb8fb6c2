import type { ByteSink } from "../formats/byte-source.ts";

/** Writes to sinks, more of which may come on the way: closes all of them in the end, aborts all when something goes wrong. */
export async function commitSinks<T>(sinks: readonly ByteSink[], write: () => Promise<T>): Promise<T> {
  try {
    const result = await write();
    for (const sink of sinks) await sink.close();
    return result;
  } catch (error) {
    for (const sink of sinks) await sink.abort().catch(() => {}); // what went wrong first is what matters
    throw error;
  }
}
