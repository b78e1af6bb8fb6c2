import { execFile } from "node:child_process";
import { appendFile, readFile, rename, truncate, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ByteSink, FormatError } from "../../src/index.ts";
import type { WorkerPool } from "../../src/node.ts";
import { lib, node } from "../helpers/built.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { main, type Result } from "../helpers/command.ts";
import { freshFolder } from "../helpers/folder.ts";
import { linux, program, skipWithout } from "../helpers/needs.ts";

// Files that change while they are read, and disks that take no more.

const { bytesSink, bytesSource, createEngine, dequantizeModel, inspectModel, quantizeModel } = lib;
const { fileSink, createWorkerPool, fileSource } = node;

const engine = await createEngine();
const folder = freshFolder();
const input = () => folder.at("in.safetensors");

const one = f32("layer", [1500, 1024]); // two windows
const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
const file = await safetensorsFile(names.map((name) => ({ ...one, name })));
const expected = bytesSink();
await quantizeModel(engine, bytesSource(file), expected);

let pools: ReadonlyMap<string, WorkerPool | undefined>;
beforeAll(() => {
  pools = new Map([
    ["this thread", undefined],
    ["one worker", createWorkerPool({ threads: 1 })],
    ["two workers", createWorkerPool({ threads: 2 })],
  ]);
});
afterAll(async () => {
  for (const pool of pools.values()) await pool?.close();
});

/** Where the last tensor's last window begins, in bytes. */
const late = file.byteLength - 4 * 1024 * 200;

describe.each(["this thread", "one worker", "two workers"])("on %s", (who) => {
  const change = async (happen: () => Promise<void>, bytes = file) => {
    await writeFile(input(), bytes);
    const source = await fileSource(input());
    let told = 0;
    const onProgress = () => (++told === 2 ? happen() : undefined);
    return { source, options: { workers: pools.get(who), onProgress } };
  };

  it("a file that shrinks is an error that names file and tensor, and nothing is written", async () => {
    const { source, options } = await change(() => truncate(input(), late));
    const task = quantizeModel(engine, source, await fileSink(folder.at("out")), options);
    const error = (await task.catch((e: unknown) => e)) as FormatError;
    await source.close();
    expect(error).toBeInstanceOf(lib.FormatError);
    expect(error).toMatchObject({ file: input(), tensor: "h" });
    expect(error.message).toMatch(/in\.safetensors: tensor "h": bytes \d+ to \d+ gave \d+ bytes, not \d+$/);
    expect(await folder.names()).toEqual(["in.safetensors"]);
  });

  it("the first tensor that is cut is named, however many are", async () => {
    const { source, options } = await change(() => truncate(input(), file.byteLength / 2));
    const task = quantizeModel(engine, source, bytesSink(), { ...options, exclude: ["e"] });
    await expect(task).rejects.toMatchObject({ file: input(), tensor: "d" });
    await source.close();
  });

  it("one that shrinks while it is inspected, copied or restored", async () => {
    const inspected = await change(() => truncate(input(), late));
    await expect(inspectModel(engine, inspected.source, inspected.options)).rejects.toMatchObject({ tensor: "h" });
    await inspected.source.close();
    const copied = await change(() => truncate(input(), late));
    const copy = quantizeModel(engine, copied.source, await fileSink(folder.at("out")), {
      ...copied.options,
      exclude: ["h"],
    });
    await expect(copy).rejects.toMatchObject({ tag: "format", tensor: "h" });
    await copied.source.close();
    const small = expected.result();
    const restored = await change(() => truncate(input(), small.byteLength - 100), small);
    const restore = dequantizeModel(engine, restored.source, await fileSink(folder.at("out")), restored.options);
    await expect(restore).rejects.toMatchObject({ tag: "format", file: input(), tensor: "h" });
    await restored.source.close();
    expect(await folder.names()).toEqual(["in.safetensors"]);
  });

  it("one that grows or is replaced is read as it was", async () => {
    const grow = () => appendFile(input(), "more");
    const replace = async () => {
      await writeFile(folder.at("other"), "something else");
      await rename(folder.at("other"), input());
    };
    for (const happen of [grow, replace]) {
      const { source, options } = await change(happen);
      await quantizeModel(engine, source, await fileSink(folder.at("out"), { overwrite: true }), options);
      await source.close();
      expect(Buffer.compare(await readFile(folder.at("out")), expected.result())).toBe(0);
    }
  });

  it("a sink that takes no more is the error it gave, with the tensor at hand, and is aborted", async () => {
    const full = new lib.FileError("out", "no space left on the disk");
    for (const most of [0, 1000, 5_000_000]) {
      const sink = bytesSink();
      let [taken, aborted] = [0, false];
      const filling: ByteSink = {
        ...sink,
        async write(position, bytes) {
          taken += bytes.byteLength;
          if (taken > most) throw full;
          await sink.write(position, bytes);
        },
        async abort() {
          aborted = true;
        },
      };
      const done = quantizeModel(engine, bytesSource(file), filling, { workers: pools.get(who) });
      const error = await done.catch((error: unknown) => error);
      if (most <= 1000)
        expect(error).toBe(full); // the header
      else {
        expect(error).toMatchObject({ tag: "file", file: "out", cause: full });
        expect((error as Error).message).toMatch(/^out: no space left on the disk \(at tensor "\w"\)$/);
      }
      expect(aborted).toBe(true);
    }
  });
});

describe("the command", () => {
  /** Files may be so many units of 512 bytes long: Node passes over the signal that comes with it, and has an error. */
  const runWithin = (blocks: number, ...args: string[]) =>
    new Promise<Result>((resolve) => {
      const line = `ulimit -f ${blocks} && exec "$@"`;
      execFile(
        "sh",
        ["-c", line, "sh", process.execPath, main, ...args],
        { cwd: folder.path },
        (error, stdout, stderr) =>
          resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stdout, stderr }),
      );
    });

  it.for(["1", "2"])("says that the output can grow no more, with %s threads", async (threads, context) => {
    skipWithout(context, linux, program("/bin/sh"));
    await writeFile(input(), file);
    await writeFile(folder.at("small.safetensors"), expected.result());
    for (const args of [
      ["in.safetensors"],
      ["dequantize", "small.safetensors"],
      ["in.safetensors", "--exclude", "*", "--allow-unchanged"],
    ]) {
      const { code, stdout, stderr } = await runWithin(8000, ...args, "-o", "out.safetensors", "--threads", threads);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(
        /^wasm-quant: out\.safetensors: longer than the system allows files to be( \(at tensor "\w"\))?\n$/,
      );
      expect(await folder.names()).toEqual(["in.safetensors", "small.safetensors"]);
    }
  });
});
