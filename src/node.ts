/**
 * Files for Node: sources that read where they are asked to, sinks whose output appears whole or not at all.
 *
 * @packageDocumentation
 */
import { randomBytes } from "node:crypto";
import { readSync, renameSync, rmSync, type Stats, writeSync } from "node:fs";
import { type FileHandle, link, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { FileError, MemoryError } from "./errors.ts";
import type { ByteSink, ByteSource } from "./formats/source.ts";

export { type OnnxRuntimeOptions, onnxRuntimeNode } from "./node/runtime.ts";

export interface FileSource extends ByteSource {
  close(): Promise<void>;
}

export interface FileSinkOptions {
  /** Replaces a file that is there already; otherwise that is an error. */
  readonly overwrite?: boolean | undefined;
}

/**
 * Opens a file to read from.
 *
 * @throws FileError when it is not there, not a file or not readable.
 */
export async function openFile(path: string): Promise<FileSource> {
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
  return openFile(target);
}

/**
 * A file to write to. Bytes go to a temporary file in the same folder, which takes the name on `close` and goes on `abort`.
 *
 * @throws FileError when there is a file already and it may not be overwritten, or the folder cannot be written to.
 */
export async function createFile(path: string, { overwrite = false }: FileSinkOptions = {}): Promise<ByteSink> {
  const main = await beginFile(path, overwrite);
  const companions: Unfinished[] = [];
  return {
    write: main.write,
    replaces: main.replaces,
    async companion(suffix) {
      const file = await beginFile(path + suffix, overwrite);
      companions.push(file);
      return { name: basename(path + suffix), write: file.write, replaces: file.replaces };
    },
    async close() {
      // Whatever can fail is tried before the first of them appears.
      for (const file of [...companions, main]) await file.complete();
      for (const file of companions) await file.setAside();
      for (const file of [...companions, main]) await file.appear();
      await Promise.all(companions.map((file) => file.settle())); // at once: nothing may bring the old data back now
    },
    async abort() {
      for (const file of [...companions, main]) await file.discard();
    },
  };
}

interface Unfinished {
  readonly replaces: string | undefined;
  write(position: number, bytes: Uint8Array): Promise<void>;
  /** All is written. */
  complete(): Promise<void>;
  /** Keeps what is there by the file's name until `settle`, so that `discard` can bring it back. */
  setAside(): Promise<void>;
  /** Gives the file its name. */
  appear(): Promise<void>;
  /** All is well: what was set aside goes. */
  settle(): Promise<void>;
  /** As if nothing had been; harmless once nothing is set aside and the file has its name. */
  discard(): Promise<void>;
}

async function beginFile(path: string, overwrite: boolean): Promise<Unfinished> {
  const replaced = await checkFree(path, overwrite);
  const temporary = temporaryBeside(path);
  const file = await explain(path, () =>
    open(temporary, "wx", replaced?.mode).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") throw new FileError(path, "its folder does not exist", { cause });
      throw cause;
    }),
  );
  unfinished.add(temporary);
  let state: "written to" | "undoable" | "in place" | "gone" = "written to";
  let aside: string | undefined;
  let keeps = false;
  return {
    replaces: replaced && identityOf(replaced),
    write: (position, bytes) => explain(path, () => writeAt(file, position, bytes)),
    async complete() {
      await explain(path, () => file.close());
      await checkFree(path, overwrite);
    },
    async setAside() {
      keeps = true;
      if (!(await stat(path).catch(() => undefined))) return;
      const name = temporaryBeside(path);
      await explain(path, () => link(path, name).catch(() => rename(path, name)));
      aside = name;
      asides.set(name, path);
    },
    async appear() {
      await explain(path, () => rename(temporary, path));
      unfinished.delete(temporary);
      state = keeps ? "undoable" : "in place";
    },
    async settle() {
      state = "in place";
      if (aside === undefined) return;
      asides.delete(aside);
      await rm(aside, { force: true });
    },
    async discard() {
      if (state === "in place" || state === "gone") return;
      const appeared = state === "undoable";
      state = "gone";
      if (!appeared) await file.close().catch(() => {}); // closed already when a rename was what failed
      await rm(appeared && aside === undefined ? path : temporary, { force: true });
      unfinished.delete(temporary);
      if (aside === undefined) return;
      await rename(aside, path).catch(() => {});
      await rm(aside, { force: true }); // two names of one file: renaming one to the other leaves both
      asides.delete(aside);
    },
  };
}

/** Not of the output's own name, which may be as long as names may be. */
function temporaryBeside(path: string): string {
  return join(dirname(path), `.wasm-quant-${randomBytes(6).toString("hex")}.tmp`);
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** Temporary files that are being written. */
const unfinished = new Set<string>();

/** Files that are being replaced, by the names they have meanwhile. */
const asides = new Map<string, string>();

/** Removes what has been written by halves, at once: for a process that must end now. */
export function removeUnfinished(): void {
  for (const [name, path] of asides) {
    renameSync(name, path);
    rmSync(name, { force: true });
  }
  for (const path of unfinished) rmSync(path, { force: true });
}

/** What lies at `path`, if that may be replaced. */
async function checkFree(path: string, overwrite: boolean): Promise<Stats | undefined> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) throw new FileError(path, "is a folder; name the file to write");
  if (there && !overwrite) throw new FileError(path, "exists already");
  return there;
}

/** The system takes less than 2 GiB in one call. */
const STRETCH = 2 ** 30;

/** As much is read or written sooner than another thread can be asked to. */
const SHORT = 1 << 16;

/** A read may bring less than asked for; at the end of the file nothing more comes, which the caller notices. */
async function readAt(file: FileHandle, start: number, into: Uint8Array): Promise<number> {
  let filled = into.byteLength <= SHORT ? readSync(file.fd, into, 0, into.byteLength, start) : 0;
  while (filled < into.byteLength) {
    const { bytesRead } = await file.read(into, filled, Math.min(into.byteLength - filled, STRETCH), start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

function allocate(byteLength: number): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new MemoryError(`no room for ${byteLength} bytes at once`, { cause });
  }
}

async function writeAt(file: FileHandle, position: number, bytes: Uint8Array): Promise<void> {
  let written = bytes.byteLength <= SHORT ? writeSync(file.fd, bytes, 0, bytes.byteLength, position) : 0;
  while (written < bytes.byteLength) {
    const { bytesWritten } = await file.write(
      bytes,
      written,
      Math.min(bytes.byteLength - written, STRETCH),
      position + written,
    );
    written += bytesWritten;
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  ENOTDIR: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "permission denied: the file system is read-only",
  ENOSPC: "no space left on the disk",
  EDQUOT: "no space left: the quota is used up",
  EMFILE: "too many open files",
  ENAMETOOLONG: "the name is too long",
};

/** Turns the system's errors into one line about the file as the caller named it. */
async function explain<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new FileError(path, reasons[code] ?? `cannot be read or written (${code})`, { cause });
  }
}
