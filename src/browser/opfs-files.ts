import { FileError } from "../errors.ts";
import { type AtomicFile, atomicFile, sinkOfFiles } from "../formats/atomic-file.ts";
import type { ByteSink } from "../formats/byte-source.ts";
import { type BlobSource, blobSource } from "./blob-source.ts";
import { explain } from "./file-errors.ts";
import { stepsWithin } from "./opfs-paths.ts";

export interface OpfsSinkOptions {
  /** Replaces a file that is there already; otherwise that is an error. */
  readonly overwrite?: boolean | undefined;
}

/**
 * Opens a file of the origin private file system, or any that a picker has given a handle of. Its siblings are those of its
 * folder and below; those of a picked file cannot be had (`blobSource` takes them).
 *
 * @param file a path from the root of the origin private file system on, or a handle
 * @throws FileError when it is not there, not a file or not readable.
 */
export async function opfsSource(file: string | FileSystemFileHandle): Promise<BlobSource> {
  if (typeof file === "string") return openAt(stepsFromRoot(file), file);
  const steps = await stepsTo(file);
  if (steps) return openAt(steps, steps.join("/"));
  return {
    ...blobSource(await explain(file.name, () => file.getFile()), file.name),
    async sibling(path) {
      throw new FileError(
        path,
        `is not known: a picked file's folder cannot be looked into; open ${file.name} as a Blob`,
      );
    },
  };
}

async function openAt(steps: readonly string[], path: string): Promise<BlobSource> {
  const { folder, name } = await placeOf(steps, path, "no such file or folder");
  const there = await explain(path, async () => (await folder.getFileHandle(name)).getFile(), {
    ...refusals,
    TypeMismatchError: "is a folder; name a file in it",
  });
  return {
    ...blobSource(there, path),
    identity: identityOf(steps),
    async sibling(relative) {
      const target = [...steps.slice(0, -1), ...stepsWithin(relative, "the model's folder")];
      return openAt(target, target.join("/"));
    },
  };
}

/**
 * A file of the origin private file system to write to. Bytes go to a temporary file in the same folder, which takes the
 * name on `close` and goes on `abort`; a page that is left meanwhile leaves at most an empty `.wasm-quant-*.tmp` there.
 *
 * @param path from the root of the origin private file system on
 * @throws FileError when there is a file already and it may not be overwritten, or the folder cannot be written to.
 */
export async function opfsSink(path: string, { overwrite = false }: OpfsSinkOptions = {}): Promise<ByteSink> {
  const steps = stepsFromRoot(path);
  const folder = steps.slice(0, -1);
  const main = await beginFile(path, steps, overwrite);
  return sinkOfFiles(
    main,
    (suffix) => beginFile(path + suffix, [...folder, steps.at(-1)! + suffix], overwrite),
    (name) => beginFile([...folder, name].join("/"), [...folder, name], overwrite),
  );
}

/**
 * A sink over a file's handle, as a save dialog gives it (`showSaveFilePicker`). What is written replaces the file on `close`;
 * on `abort` the file stays as it was, which is empty where the dialog made it. There is no room for companions: a model
 * that keeps its weights in another file goes to `opfsSink` or a `blobSink`.
 *
 * @throws FileError when it may not be written to.
 */
export async function opfsHandleSink(handle: FileSystemFileHandle): Promise<ByteSink> {
  const { name } = handle;
  if (!("createWritable" in handle)) throw new FileError(name, unable);
  const steps = await stepsTo(handle);
  const stream = await explain(name, () => handle.createWritable());
  let open = true;
  return {
    replaces: steps && identityOf(steps),
    write: (position, bytes) => writeAt(name, stream, position, bytes),
    async close() {
      await explain(name, () => stream.close());
      open = false;
    },
    async abort() {
      if (open) await giveUp(name, stream);
      open = false;
    },
  };
}

async function beginFile(path: string, steps: readonly string[], overwrite: boolean): Promise<AtomicFile> {
  const { folder, name } = await placeOf(steps, path, "its folder does not exist");
  const replaced = await checkFree(path, folder, name, overwrite);
  const temporary = temporaryName();
  const file = await explain(path, () => folder.getFileHandle(temporary, { create: true }), refusals);
  const remove = (entry: string) => explain(path, () => folder.removeEntry(entry).catch(unlessMissing));
  const stream = await begin(path, file).catch(async (error: unknown) => {
    await remove(temporary).catch(() => {});
    throw error;
  });
  return atomicFile({
    name,
    replaces: replaced && identityOf(steps),
    write: (position, bytes) => writeAt(path, stream, position, bytes),
    finish: () => explain(path, () => stream.close()),
    async checkFree() {
      await checkFree(path, folder, name, overwrite);
    },
    async setAside() {
      const there = await checkFree(path, folder, name, true);
      if (!there) return undefined;
      const kept = temporaryName();
      await explain(path, () => move(there, folder, kept));
      return kept;
    },
    takeName: () => explain(path, () => move(file, folder, name)),
    dropAside: remove,
    giveUp: () => giveUp(path, stream),
    async undo(hasName, aside) {
      await remove(hasName ? name : temporary);
      if (aside === undefined) return;
      await explain(path, async () => move(await folder.getFileHandle(aside), folder, name));
    },
  });
}

const unable = "this browser cannot write files; write to a blobSink instead";

async function begin(path: string, file: FileSystemFileHandle): Promise<FileSystemWritableFileStream> {
  if (!("createWritable" in file && "move" in file)) throw new FileError(path, unable);
  return explain(path, () => (file as FileSystemFileHandle).createWritable());
}

/** In every browser that has `createWritable` in its storage, though no standard has it yet; replaces what is there. */
function move(file: FileSystemFileHandle, folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  type Movable = { move(folder: FileSystemDirectoryHandle, name: string): Promise<void> };
  return (file as unknown as Movable).move(folder, name);
}

function writeAt(
  path: string,
  stream: FileSystemWritableFileStream,
  position: number,
  data: Uint8Array,
): Promise<void> {
  return explain(path, () => stream.write({ type: "write", position, data: data as Uint8Array<ArrayBuffer> }));
}

/** What was not yet written will say why. */
function giveUp(path: string, stream: FileSystemWritableFileStream): Promise<void> {
  return explain(path, () => stream.abort(new FileError(path, "was given up")));
}

/** What has the name, if that may be replaced. */
async function checkFree(
  path: string,
  folder: FileSystemDirectoryHandle,
  name: string,
  overwrite: boolean,
): Promise<FileSystemFileHandle | undefined> {
  const there = await explain(path, () => folder.getFileHandle(name).catch(unlessMissing), {
    ...refusals,
    TypeMismatchError: "is a folder; name the file to write",
  });
  if (there && !overwrite) throw new FileError(path, "exists already", { code: "exists" });
  return there;
}

const refusals = { TypeError: "is no name for a file in the browser's storage" };

function unlessMissing(cause: unknown): undefined {
  if ((cause as Error).name !== "NotFoundError") throw cause;
}

/** The folder that a file is in, and the file's name there. */
async function placeOf(
  steps: readonly string[],
  path: string,
  missing: string,
): Promise<{ folder: FileSystemDirectoryHandle; name: string }> {
  let folder = await root(path);
  for (const step of steps.slice(0, -1)) {
    const special = { ...refusals, NotFoundError: missing, TypeMismatchError: missing };
    folder = await explain(path, () => folder.getDirectoryHandle(step), special);
  }
  return { folder, name: steps.at(-1)! };
}

async function root(path: string): Promise<FileSystemDirectoryHandle> {
  if (!globalThis.navigator?.storage?.getDirectory)
    throw new FileError(path, "there is no private file system here; pages from https and localhost have one");
  return explain(path, () => navigator.storage.getDirectory());
}

function stepsFromRoot(path: string): string[] {
  return stepsWithin(path.replace(/^\/+/, ""), "the private file system");
}

/** The names that lead to a file of the origin private file system; undefined for one from elsewhere. */
async function stepsTo(file: FileSystemFileHandle): Promise<string[] | undefined> {
  const steps = await root(file.name)
    .then((folder) => folder.resolve(file))
    .catch(() => null); // whatever keeps it from telling: what can be read or written will show
  return steps ?? undefined;
}

function identityOf(steps: readonly string[]): string {
  return `opfs:${steps.join("/")}`;
}

/** Not of the output's own name, which may be as long as names may be. */
function temporaryName(): string {
  const random = crypto.getRandomValues(new Uint8Array(6));
  return `.wasm-quant-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}.tmp`;
}
