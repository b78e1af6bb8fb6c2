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
