import type { ByteSink } from "./byte-source.ts";

/** A file that is being written under another name. */
export interface AtomicFile {
  /** What the files beside it may call it. */
  readonly name: string;
  /** The `identity` of the file whose name it will take. */
  readonly replaces: string | undefined;
  /** What another thread writes to it by, where it can. */
  readonly handle?: unknown;
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

/** What a platform does for an atomic file: each step by itself, in the order of the methods. */
export interface TemporaryFile extends Pick<AtomicFile, "name" | "replaces" | "handle" | "write"> {
  /** Ends the writing. */
  finish(): Promise<void>;
  /** @throws FileError when there is a file of the name that may not be replaced */
  checkFree(): Promise<void>;
  /** Gives the file that has the name another one, which is returned; undefined where there is none. */
  setAside(): Promise<string | undefined>;
  /** Takes the name. */
  takeName(): Promise<void> | void;
  /** Removes the file that was set aside. */
  dropAside(aside: string): Promise<void> | void;
  /** Ends writing that is not to be completed. */
  giveUp(): Promise<void>;
  /** Removes what was written, under its name if it `hasName`, and gives the name back to what was set aside. */
  undo(hasName: boolean, aside: string | undefined): Promise<void>;
}

/** The states of an atomic file, over the steps of a platform. */
export function atomicFile(file: TemporaryFile): AtomicFile {
  const { name, replaces, handle, write } = file;
  let state: "written to" | "undoable" | "in place" | "gone" = "written to";
  let aside: string | undefined;
  let keeps = false;
  return {
    ...{ name, replaces, handle, write },
    async complete() {
      await file.finish();
      await file.checkFree();
    },
    async setAside() {
      keeps = true;
      aside = await file.setAside();
    },
    async appear() {
      await file.takeName();
      state = keeps ? "undoable" : "in place";
    },
    async settle() {
      state = "in place";
      if (aside !== undefined) await file.dropAside(aside);
    },
    async discard() {
      if (state === "in place" || state === "gone") return;
      const hasName = state === "undoable";
      state = "gone";
      if (!hasName) await file.giveUp().catch(() => {}); // finished already when taking the name was what failed
      await file.undo(hasName, aside);
    },
  };
}

/**
 * A sink over files that take their names when it is closed: companions first, and all of them or none.
 *
 * @param begin starts a companion, by what its name has behind the main file's
 * @param beside starts one by its own name
 */
export function sinkOfFiles(
  main: AtomicFile,
  begin: (suffix: string) => Promise<AtomicFile>,
  beside?: (name: string) => Promise<AtomicFile>,
): ByteSink {
  const companions: AtomicFile[] = [];
  const joined = (file: AtomicFile) => {
    companions.push(file);
    const { name, write, replaces, handle } = file;
    return { name, write, replaces, handle };
  };
  const { name, write, replaces, handle } = main;
  return {
    name,
    write,
    replaces,
    handle,
    companion: async (suffix) => joined(await begin(suffix)),
    ...(beside && { sibling: async (name: string) => joined(await beside(name)) }),
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
