import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** The library as it is built, which worker threads need: `npm test` builds before. */
const dist = join(import.meta.dirname, "../../dist");

function load(file: string): Promise<unknown> {
  return import(/* @vite-ignore */ pathToFileURL(join(dist, file)).href);
}

export const lib = (await load("index.js")) as typeof import("../../src/index.ts");
export const node = (await load("node.js")) as typeof import("../../src/node.ts");
export const { poolOf } = (await load("workers/pool.js")) as typeof import("../../src/workers/pool.ts");

/** The script of the pool's workers. */
export const workerScript = pathToFileURL(join(dist, "node-worker.js")).href;
