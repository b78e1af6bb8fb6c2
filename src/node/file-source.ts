import type { Stats } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { FileError, MemoryError } from "../errors.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { explain } from "./file-errors.ts";
import { readAt } from "./positioned-io.ts";

export interface FileSource extends ByteSource {
  close(): Promise<void>;
}

/** What threads of one process know an open file by. */
export interface OpenFile {
  readonly kind: "file";
  readonly fd: number;
  /** As errors call it. */
  readonly path: string;
}

/**
 * Opens a file to read from.
 *
 * @throws FileError when it is not there, not a file or not readable.
 */
export async function fileSource(path: string): Promise<FileSource> {
  return explain(path, async () => {
    // Looked at before it is opened: opening a pipe waits for its other end.
    const info = await stat(path);
    if (!info.isFile())
      throw new FileError(path, info.isDirectory() ? "is a folder; name a file in it" : "is not a file");
    const file = await open(path, "r");
    return {
      name: path,
      byteLength: info.size,
      identity: identityOf(info),
      handle: { kind: "file", fd: file.fd, path } satisfies OpenFile,
      slice: (start, end) =>
        explain(path, async () => {
          const bytes = allocate(end - start);
          return bytes.subarray(0, await readAt(file, start, bytes));
        }),
      read: (start, into) => explain(path, () => readAt(file, start, into)),
      sibling: (relative) => openSibling(path, relative),
      close: () => file.close(),
    };
  });
}

/** Opens a file by its path relative to the folder `path` is in; links may not lead out of that folder either. */
async function openSibling(path: string, relative: string): Promise<FileSource> {
  const steps = relative.split(/[\\/]/);
  if (/^([\\/]|[a-z]:)/i.test(relative) || steps.includes("..") || relative.includes("\0")) {
    throw new FileError(relative, "leads out of the model's folder");
  }
  const target = join(dirname(path), relative);
  if (steps.every((step) => step === "" || step === ".")) throw new FileError(relative, "names no file");
  const [real, ...homes] = await explain(target, () =>
    Promise.all([realpath(target), realpath(dirname(path)), realpath(path).then(dirname)]),
  );
  // Two homes: caches of models link both the model and its data from a folder of blobs.
  if (!homes.some((home) => real.startsWith(home.endsWith(sep) ? home : home + sep))) {
    throw new FileError(target, "is a link out of the model's folder");
  }
  return fileSource(target);
}

export function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** @throws MemoryError where there is no room */
export function allocate(byteLength: number): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new MemoryError(`no room for ${byteLength} bytes at once`, { cause });
  }
}
