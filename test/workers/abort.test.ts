import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ByteSource, TaskOptions, TaskProgress } from "../../src/index.ts";
import type { WorkerPool } from "../../src/node.ts";
import { lib, node } from "../helpers/built.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { freshFolder } from "../helpers/folder.ts";

const { bytesSink, bytesSource, createEngine, dequantizeModel, inspectModel, quantizeModel } = lib;
const { fileSink, createWorkerPool, fileSource } = node;

const engine = await createEngine();
const folder = freshFolder();

const one = f32("layer", [1500, 1024]); // two windows
const file = await safetensorsFile(["a", "b", "c", "d"].map((name) => ({ ...one, name })));
const quantized = bytesSink();
await quantizeModel(engine, bytesSource(file), quantized);

let pools: ReadonlyMap<string, WorkerPool | undefined>;
beforeAll(() => {
  pools = new Map([
    ["this thread", undefined],
    ["one worker", createWorkerPool({ threads: 1 })],
    ["three workers", createWorkerPool({ threads: 3 })],
  ]);
});
afterAll(async () => {
  for (const pool of pools.values()) await pool?.close();
});

type Task = (options: TaskOptions) => Promise<unknown>;

const tasks: Readonly<Record<string, Task>> = {
  quantize: (options) => fromFile(file, async (source) => quantizeModel(engine, source, await sink(), options)),
  "quantize in two passes": (options) => {
    const how = { ...options, axis: 1, memory: 1 };
    return fromFile(file, async (source) => quantizeModel(engine, source, await sink(), how));
  },
  dequantize: (options) =>
    fromFile(quantized.result(), async (source) => dequantizeModel(engine, source, await sink(), options)),
  inspect: (options) => fromFile(file, (source) => inspectModel(engine, source, options)),
};

const sink = () => fileSink(folder.at("out"), { overwrite: true });

async function fromFile(bytes: Uint8Array, task: (source: ByteSource) => Promise<unknown>): Promise<unknown> {
  await writeFile(folder.at("in.safetensors"), bytes);
  const source = await fileSource(folder.at("in.safetensors"));
  try {
    return await task(source);
  } finally {
    await source.close();
  }
}

const reason = new Error("enough");

describe.each(Object.entries(tasks))("%s, aborted", (name, task) => {
  it.each(["this thread", "one worker", "three workers"])(
    "by a signal on %s: its reason, and nothing left",
    async (who) => {
      const workers = pools.get(who);
      const whole: TaskProgress[] = [];
      await task({ workers, onProgress: (progress) => void whole.push(progress) });
      expect(whole.at(-1)).toMatchObject({ tensor: "", done: whole[0]!.total });

      await expect(task({ workers, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      for (const at of [1, 2, Math.ceil(whole.length / 2), whole.length - 1, whole.length]) {
        const abort = new AbortController();
        let told = 0;
        const onProgress = () => void (++told === at && abort.abort(reason));
        await expect(task({ workers, signal: abort.signal, onProgress })).rejects.toBe(reason);
      }
      const left = name === "inspect" ? ["in.safetensors"] : ["in.safetensors", "out"];
      expect(await folder.names()).toEqual(left);
    },
  );

  it.each(["this thread", "three workers"])("by a signal at any time on %s", async (who) => {
    for (const delay of [0, 1, 3, 6, 10]) {
      const done = task({ workers: pools.get(who), signal: AbortSignal.timeout(delay) });
      await done.catch((error: unknown) => expect(error).toMatchObject({ name: "TimeoutError" }));
    }
    expect((await folder.names()).filter((entry) => entry.endsWith(".tmp"))).toEqual([]);
  });

  it.each(["this thread", "three workers"])("by onProgress, which throws, on %s", async (who) => {
    let told = 0;
    const onProgress = () => {
      if (++told === 2) throw reason;
    };
    await expect(task({ workers: pools.get(who), onProgress })).rejects.toBe(reason);
    expect((await folder.names()).filter((entry) => entry !== "in.safetensors")).toEqual([]);
  });
});

describe("a process", () => {
  const dist = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, "../../dist", path)).href);
  const script = (body: string) => `
    import { createEngine, quantizeModel } from ${dist("index.js")};
    import { fileSink, createWorkerPool, fileSource } from ${dist("node.js")};
    const workers = createWorkerPool({ threads: 2 });
    const source = await fileSource("in.safetensors");
    const abort = new AbortController();
    let told = 0;
    const task = quantizeModel(await createEngine(), source, await fileSink("out"), {
      workers, signal: abort.signal, onProgress() { if (++told === 3) { ${body} } },
    });
    await task.catch((error) => console.log(error.message));
    await workers.close();
    await source.close();`;

  it.each([
    ["abort.abort(new Error('enough'));", "enough"],
    ["throw new Error('too much');", "too much"],
    ["workers.close();", "the pool of workers was closed"],
  ])("ends by itself once the pool is closed: %s", async (body, message) => {
    await writeFile(folder.at("in.safetensors"), file);
    await writeFile(folder.at("main.mjs"), script(body));
    const stdout = await new Promise<string>((resolve, reject) => {
      const options = { cwd: folder.path, timeout: 20_000 };
      execFile(process.execPath, ["main.mjs"], options, (error, out) => (error ? reject(error) : resolve(out)));
    });
    expect(stdout).toContain(message);
    expect(await folder.names()).toEqual(["in.safetensors", "main.mjs"]);
  });
});
