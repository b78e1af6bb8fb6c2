import { availableParallelism } from "node:os";
import { checkWhole } from "../engine/tensors/quantize-options.ts";
import { ArgumentError } from "../errors.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import { createWorkerPool } from "./worker-pool.ts";

/** What work on files may take. */
export interface WorkOptions {
  /** Worker threads. Default: as many as cores, up to 8, where that saves time. The bytes do not depend on it. */
  readonly threads?: number | undefined;
  /** Bytes that the process may take. Default: 256 MB, or as many as the threads need. */
  readonly memory?: number | undefined;
}

/** From this many bytes on threads save more than it costs to start them. */
const PAYS = 4e8;

/** More threads than this have to wait for memory. */
const MOST_THREADS = 8;

const MB = 1e6;
/** What Node takes by itself, and each thread that works: engine, kernels, small arrays not yet collected. */
const NODE = 75 * MB;
const THREAD = 20 * MB;
/** What a thread needs for tensors at the least. */
const LEAST = 12 * MB;

/** Default of `memory`, unless the threads that are asked for need more. */
const DEFAULT_MEMORY = 256 * MB;

/** Has `run` use as many threads as pay or are asked for, within the memory that is allowed; ends them afterwards. */
export async function withThreads<T>(
  { threads, memory: given }: WorkOptions,
  run: (task: Pick<TaskOptions, "workers" | "memory">) => Promise<T>,
): Promise<T> {
  checkWhole("threads", threads, 1);
  checkWhole("memory", given, 1);
  const memory = given ?? Math.max(DEFAULT_MEMORY, neededFor(threads ?? 1));
  const affordable = Math.max(Math.floor((memory - NODE) / (THREAD + LEAST)), 1);
  const count = threads ?? Math.min(availableParallelism(), MOST_THREADS, affordable);
  const needed = neededFor(count);
  if (memory < needed) {
    const many = count === 1 ? "1 thread" : `${count} threads`;
    throw new ArgumentError("memory", `expected at least ${sizeText(needed)} with ${many}; got ${sizeText(memory)}`);
  }
  const left = memory - NODE - count * THREAD;
  if (count === 1) return run({ memory: left });
  const pool = createWorkerPool({ threads: count });
  try {
    const workers = (bytes: number) => (threads !== undefined || bytes >= PAYS ? pool : undefined);
    return await run({ workers, memory: left });
  } finally {
    await pool.close();
  }
}

/** The least the process takes with so many threads; on its own the main thread works on two tensors by turns. */
function neededFor(threads: number): number {
  return NODE + threads * THREAD + Math.max(threads, 2) * LEAST;
}

function sizeText(bytes: number): string {
  return bytes < MB ? `${bytes} bytes` : `${Math.ceil(bytes / MB)} MB`;
}
