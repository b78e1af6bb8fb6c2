/**
 * Files for Node: sources that read where they are asked to, sinks whose output appears whole or not at all; and threads.
 *
 * @packageDocumentation
 */

export { type FileSinkOptions, fileSink, removeUnfinished } from "./node/file-sink.ts";
export { type FileSource, fileSource } from "./node/file-source.ts";
export { type OnnxRuntimeOptions, onnxRuntimeNode } from "./node/onnxruntime.ts";
export {
  type FileTaskOptions,
  type InspectFileOptions,
  inspectFile,
  type QuantizeFileOptions,
  quantizeFile,
} from "./node/quantize-file.ts";
export { createWorkerPool, type WorkerPoolOptions } from "./node/worker-pool.ts";
export type { WorkerPool } from "./workers/pool.ts";
