import { availableParallelism } from "node:os";
import { ArgumentError } from "../errors.ts";
import { createWorkerPool } from "../node.ts";
import type { TaskOptions } from "../task/progress.ts";

/** Options of commands that read tensors. */
export interface WorkOptions {
  readonly threads?: number;
  /** Bytes. */
  readonly memory?: number;
}

/** From this many bytes on threads save more than it costs to start them. */
const PAYS = 2 ** 27;

/** More threads than this have to wait for memory. */
const MOST_THREADS = 8;

const MB = 1e6;
/** What Node takes by itself, and each thread that works: engine, kernels, small arrays not yet collected. */
const NODE = 75 * MB;
const THREAD = 20 * MB;
/** What a thread needs for tensors at the least. */
const LEAST = 12 * MB;

/** What the whole process takes if not said. */
const DEFAULT_MEMORY = 256 * MB;

/** Has `run` use as many threads as pay or are asked for, within the memory that is allowed; ends them afterwards. */
export async function withThreads<T>(
  { threads, memory = DEFAULT_MEMORY }: WorkOptions,
  run: (task: Pick<TaskOptions, "workers" | "memory">) => Promise<T>,
): Promise<T> {
  const affordable = Math.max(Math.floor((memory - NODE) / (THREAD + LEAST)), 1);
  const count = threads ?? Math.min(availableParallelism(), MOST_THREADS, affordable);
  const left = memory - NODE - count * THREAD;
  // On its own the main thread works on two tensors by turns.
  const least = Math.max(count, 2) * LEAST;
  if (left < least) {
    const needed = Math.ceil((memory - left + least) / MB);
    throw new ArgumentError("memory", `${memory / MB}MB given; ${needed}MB are needed with ${count} threads`);
  }
  if (count === 1) return run({ memory: left });
  const pool = createWorkerPool({ threads: count });
  try {
    const workers = (bytes: number) => (threads !== undefined || bytes >= PAYS ? pool : undefined);
    return await run({ workers, memory: left });
  } finally {
    await pool.close();
  }
}
