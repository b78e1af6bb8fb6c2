import { FileError, MemoryError } from "../errors.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { BlobStreams, type Span } from "./blob-streams.ts";
import { stepsOf, stepsWithin } from "./opfs-paths.ts";

/** What opens the same bytes in a worker: it can be posted there, and takes no copy of them along. */
export interface BlobHandle {
  readonly kind: "blob";
  readonly blob: Blob;
  readonly name: string;
}

export interface BlobSource extends ByteSource {
  readonly handle: BlobHandle;
  read(start: number, into: Uint8Array): Promise<number>;
}

/**
 * A source over a Blob, or over a file from an `<input type="file">` or a drop. Nothing is read before it is asked for.
 *
 * @param name what errors call it. Default: a File's own name
 * @param siblings the files beside it, by their paths relative to it: where a model's external data is. Of a picked folder
 *   they can be given by the `webkitRelativePath` of each, if the model has one, too, or has it for a `name`.
 */
export function blobSource(
  blob: Blob | File,
  name: string = "name" in blob ? blob.name : "blob",
  siblings: Readonly<Record<string, Blob>> = {},
): BlobSource {
  return {
    ...readBlob(blob, name),
    async sibling(path) {
      const relative = stepsWithin(path, "the model's folder").join("/");
      const files = new Map(Object.entries(siblings).map(([key, file]) => [stepsOf(key).join("/"), file]));
      const own = "webkitRelativePath" in blob ? blob.webkitRelativePath : "";
      for (const key of [besides(own, relative), besides(name, relative), relative]) {
        const file = files.get(key);
        if (file) return blobSource(file, key, siblings);
      }
      throw new FileError(path, "is not among the files given");
    },
  };
}

/** The same without siblings. @param spans all that will be read, in order, if that is known */
export function readBlob(blob: Blob, name: string, spans?: readonly Span[]): Omit<BlobSource, "sibling"> {
  const streams = new BlobStreams(blob, name, spans);
  return {
    name,
    byteLength: blob.size,
    handle: { kind: "blob", blob, name },
    async slice(start, end) {
      const bytes = allocate(Math.max(Math.min(end, blob.size) - start, 0));
      return bytes.subarray(0, await streams.read(start, bytes));
    },
    read: (start, into) => streams.read(start, into),
  };
}

/** A path relative to `path`, relative to what that is relative to. */
function besides(path: string, relative: string): string {
  return [...stepsOf(path).slice(0, -1), relative].join("/");
}

/** @throws MemoryError when there is no room */
export function allocate(byteLength: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new MemoryError(`no room for ${byteLength} bytes at once`, { cause });
  }
}
