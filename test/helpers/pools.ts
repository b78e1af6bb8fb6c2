import { createWorkerPool } from "../../dist/node.js";
import type { WorkerPool } from "../../src/node.ts";

/** Worker threads as users have them: the script they run is a built one. */
export function builtPool(threads: number): WorkerPool {
  return createWorkerPool({ threads }) as unknown as WorkerPool;
}
