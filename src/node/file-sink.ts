import { randomBytes } from "node:crypto";
import { renameSync, rmSync, type Stats } from "node:fs";
import { link, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileError } from "../errors.ts";
import { type AtomicFile, atomicFile, sinkOfFiles } from "../formats/atomic-file.ts";
import type { ByteSink } from "../formats/byte-source.ts";
import { explain, explainNow } from "./file-errors.ts";
import { identityOf, type OpenFile } from "./file-source.ts";
import { writeAt } from "./positioned-io.ts";

export interface FileSinkOptions {
  /** Replaces a file that is there already; otherwise that is an error. */
  readonly overwrite?: boolean | undefined;
}

/**
 * A file to write to. Bytes go to a temporary file in the same folder, which takes the name on `close` and goes on `abort`.
 *
 * @throws FileError when there is a file already and it may not be overwritten, or the folder cannot be written to.
 */
export async function fileSink(path: string, { overwrite = false }: FileSinkOptions = {}): Promise<ByteSink> {
  return sinkOfFiles(
    await beginFile(path, overwrite),
    (suffix) => beginFile(path + suffix, overwrite),
    (name) => beginFile(join(dirname(path), name), overwrite),
  );
}

async function beginFile(path: string, overwrite: boolean): Promise<AtomicFile> {
  const replaced = await checkFree(path, overwrite);
  const temporary = temporaryBeside(path);
  unfinished.add(temporary);
  const file = await explain(path, () =>
    open(temporary, "wx", replaced?.mode).catch((cause: NodeJS.ErrnoException) => {
      unfinished.delete(temporary);
      if (cause.code === "ENOENT") throw new FileError(path, "its folder does not exist", { cause, code: "not-found" });
      throw cause;
    }),
  );
  return atomicFile({
    name: basename(path),
    replaces: replaced && identityOf(replaced),
    handle: { kind: "file", fd: file.fd, path } satisfies OpenFile,
    write: (position, bytes) => explain(path, () => writeAt(file, position, bytes)),
    finish: () => explain(path, () => file.close()),
    async checkFree() {
      await checkFree(path, overwrite);
    },
    async setAside() {
      if (!(await stat(path).catch(() => undefined))) return undefined;
      const name = temporaryBeside(path);
      await explain(path, () => link(path, name).catch(() => rename(path, name)));
      asides.set(name, path);
      return name;
    },
    // These two at once: whatever ends the process finds all files as they were, or all in place.
    takeName() {
      explainNow(path, () => renameSync(temporary, path));
      unfinished.delete(temporary);
    },
    dropAside(aside) {
      asides.delete(aside);
      rmSync(aside, { force: true });
    },
    giveUp: () => file.close(),
    async undo(hasName, aside) {
      await rm(hasName && aside === undefined ? path : temporary, { force: true });
      unfinished.delete(temporary);
      if (aside === undefined) return;
      await rename(aside, path).catch(() => {});
      await rm(aside, { force: true }); // two names of one file: renaming one to the other leaves both
      asides.delete(aside);
    },
  });
}

/** Not of the output's own name, which may be as long as names may be. */
function temporaryBeside(path: string): string {
  return join(dirname(path), `.wasm-quant-${randomBytes(6).toString("hex")}.tmp`);
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
  if (there && !overwrite) throw new FileError(path, "exists already", { code: "exists" });
  return there;
}
