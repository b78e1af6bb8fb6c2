/**
 * Files for browsers: sources over Blobs and picked files, sinks that make Blobs, and the origin private file system
 * (OPFS), in whose files output appears whole or not at all. Everything works in windows and in workers.
 *
 * @packageDocumentation
 */
export { type BlobHandle, type BlobSource, openBlob } from "./browser/blob.ts";
export { type BlobSink, type BlobSinkOptions, blobSink } from "./browser/blob-sink.ts";
export { createOpfsFile, type OpfsFileOptions, openOpfs, sinkOfHandle } from "./browser/opfs.ts";
