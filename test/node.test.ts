import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEngine, FormatError, isWasmQuantError, quantizeModel } from "../src/index.ts";
import { fileSink, fileSource } from "../src/node.ts";
import { f32, safetensorsFile } from "./helpers/checkpoints.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, name);

describe("fileSink", () => {
  it("shows the file only once it is closed, whole, in any order of writing", async () => {
    const sink = await fileSink(at("out"));
    await sink.write(4, Uint8Array.of(5, 6));
    expect(await readdir(folder)).toHaveLength(1);
    expect(await readdir(folder)).not.toContain("out");
    await sink.write(0, Uint8Array.of(1, 2, 3, 4));
    await sink.close();
    await sink.abort();
    expect([...(await readFile(at("out")))]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await readdir(folder)).toEqual(["out"]);
  });
  it("leaves nothing when aborted", async () => {
    const sink = await fileSink(at("out"));
    await sink.write(0, Uint8Array.of(1));
    await sink.abort();
    await sink.abort();
    expect(await readdir(folder)).toEqual([]);
  });
  it("does not overwrite, not even a file that came meanwhile", async () => {
    const sink = await fileSink(at("out"));
    await writeFile(at("out"), "theirs");
    await expect(sink.close()).rejects.toThrow(/out: exists already/);
    await sink.abort();
    expect(await readFile(at("out"), "utf8")).toBe("theirs");
    expect(await readdir(folder)).toEqual(["out"]);
    await expect(fileSink(at("out"))).rejects.toThrow(/exists already/);
    const replacing = await fileSink(at("out"), { overwrite: true });
    await replacing.close();
    expect(await readFile(at("out"), "utf8")).toBe("");
  });
  it("refuses folders, and folders that are not there", async () => {
    await writeFile(at("secret"), "", { mode: 0o600 });
    const kept = await fileSink(at("secret"), { overwrite: true });
    await kept.close();
    expect((await stat(at("secret"))).mode & 0o777).toBe(0o600);
    const long = "n".repeat(250);
    await (await fileSink(at(long))).close();
    expect(await readdir(folder)).toContain(long);
    await expect(fileSink(folder)).rejects.toThrow(/is a folder/);
    const error = await fileSink(at("no/out")).catch((e: unknown) => e);
    expect(isWasmQuantError(error, "file")).toBe(true);
    expect(error).toMatchObject({ file: at("no/out"), message: `${at("no/out")}: its folder does not exist` });
  });
});

describe("fileSource", () => {
  it("reads where it is asked to", async () => {
    await writeFile(at("in"), Uint8Array.of(0, 1, 2, 3, 4));
    const source = await fileSource(at("in"));
    expect([source.byteLength, source.name]).toEqual([5, at("in")]);
    expect([...(await source.slice(1, 4))]).toEqual([1, 2, 3]);
    await source.close();
  });
  it("a file that shrinks while it is read is an error, and nothing is written", async () => {
    await writeFile(at("in.safetensors"), await safetensorsFile([f32("a", [64, 64]), f32("b", [64, 64])]));
    const engine = await createEngine();
    const source = await fileSource(at("in.safetensors"));
    const sink = await fileSink(at("out.safetensors"));
    const shrink = ({ tensor }: { tensor: string }) =>
      tensor === "b" ? truncate(at("in.safetensors"), 20_000) : undefined;
    const error = await quantizeModel(engine, source, sink, { onProgress: shrink }).catch((e: unknown) => e);
    await source.close();
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).tensor).toBe("b");
    expect(await readdir(folder)).toEqual(["in.safetensors"]);
  });
  it("refuses what is not a file", async () => {
    await expect(fileSource(folder)).rejects.toThrow(/is a folder; name a file in it/);
    await expect(fileSource(at("none"))).rejects.toThrow(/none: no such file or folder/);
  });
});
