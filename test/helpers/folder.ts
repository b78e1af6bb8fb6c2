import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";

/** A folder of each test's own; nothing of it stays. */
export function freshFolder() {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  return {
    get path() {
      return folder;
    },
    at: (name: string) => join(folder, name),
    /** What is in it. */
    names: async () => (await readdir(folder)).sort(),
  };
}
