import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeBert } from "./models/bert.ts";
import { writeCheckpoint } from "./models/checkpoint.ts";

/** A temporary folder, and the models in it, each made when it is first asked for. Nothing of it stays behind. */
export interface TemporaryModels {
  folder(): Promise<string>;
  /** 1 GB of safetensors. */
  checkpoint(): Promise<string>;
  /** 345 MB of ONNX. */
  bert(): Promise<string>;
  close(): Promise<void>;
}

/** @param small models a sixth of the size */
export function createWorkshop(small: boolean): TemporaryModels {
  let folder: string | undefined;
  const leave = () => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  const folderOf = async () => {
    if (folder === undefined) {
      folder = await mkdtemp(join(tmpdir(), "wasm-quant-bench-"));
      process.once("SIGINT", leave).once("SIGTERM", leave);
    }
    return folder;
  };
  const made = new Map<string, Promise<string>>();
  const model = (name: string, write: (path: string) => Promise<unknown>) => {
    const make = async () => {
      const path = join(await folderOf(), name);
      await write(path);
      return path;
    };
    if (!made.has(name)) made.set(name, make());
    return made.get(name)!;
  };
  return {
    folder: folderOf,
    checkpoint: () => model("checkpoint.safetensors", (path) => writeCheckpoint(path, small ? 6 : 1)),
    bert: () => model("bert.onnx", (path) => writeBert(path, { layers: small ? 2 : 12 })),
    close: async () => {
      if (folder === undefined) return;
      await rm(folder, { recursive: true, force: true });
      process.off("SIGINT", leave).off("SIGTERM", leave);
      made.clear();
      folder = undefined;
    },
  };
}
