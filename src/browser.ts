/**
 * Files for browsers: sources over Blobs and picked files, sinks that make Blobs, and the origin private file system
 * (OPFS), in whose files output appears whole or not at all; and Web Workers. Everything works in windows and in workers.
 *
 * @packageDocumentation
 */

export { type BlobSink, type BlobSinkOptions, blobSink } from "./browser/blob-sink.ts";
export { type BlobHandle, type BlobSource, blobSource } from "./browser/blob-source.ts";
export { type OpfsSinkOptions, opfsHandleSink, opfsSink, opfsSource } from "./browser/opfs-files.ts";
export { createWorkerPool, type WorkerPoolOptions } from "./browser/worker-pool.ts";
export type { WorkerPool } from "./workers/pool.ts";
