import type { ByteSink } from "../formats/byte-source.ts";

/**
 * Closes sinks once what is written to them is complete, aborts all of them when something goes wrong.
 *
 * @param sinks more may be added while `written` is pending
 * @param written settles when everything is written
 */
export async function commitSinks<T>(sinks: readonly ByteSink[], written: Promise<T>): Promise<T> {
  try {
    const result = await written;
    for (const sink of sinks) await sink.close();
    return result;
  } catch (error) {
    for (const sink of sinks) await sink.abort().catch(() => {}); // what went wrong first is what matters
    throw error;
  }
}
