import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { checkKeys } from "../engine/tensors/quantize-options.ts";
import { compileKernels, hasSimd, type ModuleSource } from "../kernels/load.ts";
import { poolOf, type WorkerPool } from "../workers/pool.ts";

export interface WorkerPoolOptions {
  /** How many worker threads. Default: as many as the machine has cores. */
  readonly threads?: number | undefined;
  /** kernels.wasm, as `createEngine` takes it. */
  readonly module?: ModuleSource | undefined;
}

/**
 * Worker threads for `quantizeModel` and others (`workers`): they read and write files by themselves, each with an engine of
 * its own. The bytes are the same for any number of them. Close the pool when it is no longer needed: it keeps the process
 * alive.
 *
 * @throws ArgumentError unless `threads` is a whole number above 0
 */
export function createWorkerPool(options: WorkerPoolOptions = {}): WorkerPool {
  checkKeys(options, ["threads", "module"]);
  const { threads = availableParallelism(), module } = options;
  return poolOf({
    library: async () => (await import("workerpool")).default,
    script: fileURLToPath(new URL("../node-worker.js", import.meta.url)),
    threads,
    module: hasSimd() ? compileKernels(module) : Promise.resolve(undefined),
    type: "thread",
  });
}
