/**
 * Files for Node: sources that read where they are asked to, sinks whose output appears whole or not at all; and threads.
 *
 * @packageDocumentation
 */
export { createWorkerPool, type WorkerPoolOptions } from "./node/pool.ts";
export { type OnnxRuntimeOptions, onnxRuntimeNode } from "./node/runtime.ts";
export { createFile, type FileSinkOptions, removeUnfinished } from "./node/sink.ts";
export { type FileSource, openFile } from "./node/source.ts";
export type { WorkerPool } from "./pool/pool.ts";
