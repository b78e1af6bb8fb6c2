import { checkKeys } from "../engine/tensors/quantize-options.ts";
import { compileKernels, hasSimd, type ModuleSource } from "../kernels/load.ts";
import { poolOf, type WorkerPool } from "../workers/pool.ts";
import workerpool from "./workerpool.ts";

export interface WorkerPoolOptions {
  /** How many Web Workers. Default: as many as the machine has cores, up to 8. */
  readonly threads?: number | undefined;
  /** kernels.wasm, as `createEngine` takes it. */
  readonly module?: ModuleSource | undefined;
  /** Where browser-worker.js is, a module that needs no others. Default: the file beside this package's. */
  readonly script?: string | URL | undefined;
}

/** More wait for the browser, which reads files for all of them. */
const MOST_THREADS = 8;

/**
 * Web Workers for `quantizeModel` and others (`workers`): they read Blobs and files by themselves, each with an engine of its
 * own; what they make of them is written by the page. The bytes are the same for any number of them. Close the pool when it is
 * no longer needed: idle workers keep their memory.
 *
 * @throws ArgumentError unless `threads` is a whole number above 0
 */
export function createWorkerPool(options: WorkerPoolOptions = {}): WorkerPool {
  checkKeys(options, ["threads", "module", "script"]);
  const { threads, module, script } = options;
  const cores = globalThis.navigator?.hardwareConcurrency || 1;
  return poolOf({
    library: async () => workerpool,
    script: loadable(new URL(script ?? new URL("../browser-worker.js", import.meta.url), globalThis.location?.href)),
    threads: threads ?? Math.min(cores, MOST_THREADS),
    module: hasSimd() ? compileKernels(module) : Promise.resolve(undefined),
    type: "web",
  });
}

/** A worker's own script has to be of the page's origin, as an asset on a CDN is not; what that script imports need not. */
function loadable({ href, origin }: URL): string {
  if (!globalThis.location || origin === location.origin) return href;
  const url = URL.createObjectURL(new Blob([`import ${JSON.stringify(href)};`], { type: "text/javascript" }));
  return `${url}#${href}`; // for errors to show
}
