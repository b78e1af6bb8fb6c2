import type { WorkerPool } from "../../src/node.ts";
import { node } from "./built.ts";

/** Worker threads as users have them: the script they run is a built one. */
export function builtPool(threads: number): WorkerPool {
  return node.createWorkerPool({ threads });
}
