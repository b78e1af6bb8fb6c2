import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import workerpool from "workerpool";
import type { WorkerError } from "../../src/index.ts";
import { lib, node, poolOf, workerScript } from "../helpers/built.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { main, type Result } from "../helpers/command.ts";
import { freshFolder } from "../helpers/folder.ts";

const { bytesSink, bytesSource, createEngine, quantizeModel } = lib;
const { fileSink, fileSource } = node;

const engine = await createEngine();
const folder = freshFolder();

const one = f32("layer", [64, 64]);
const file = await safetensorsFile(Array.from({ length: 30 }, (_, i) => ({ ...one, name: `layer.${i}` })));
const single = await safetensorsFile([one]);
const model = () => folder.at("model.safetensors");

const workerpoolUrl = JSON.stringify(pathToFileURL(createRequire(import.meta.url).resolve("workerpool")).href);

/** Does `how` at a worker's request number `at`. */
const until = (at: number, how: string) => `
  import { parentPort } from "node:worker_threads";
  let requests = 0;
  parentPort?.on("message", () => { if (++requests === ${at}) { ${how} } });`;
/** What workers do otherwise. */
const working = `\nawait import(${JSON.stringify(workerScript)});`;

const told = (reason: string) =>
  `a worker ended before its work did (${reason}); try fewer threads, or less memory for each`;

/** What a worker may do instead of its work, and what is told of it. */
const scripts: Readonly<Record<string, readonly [script: string, detail: string]>> = {
  "exits while it is loaded": ["process.exit(3);", "exit code 3"],
  "throws while it is loaded": [`throw new Error("no such thing\\nat all");`, "no such thing"],
  "is no script": ["const const;", "Unexpected token 'const'"],
  "does nothing": ["", "exit code 0"],
  "exits at its first request": [until(1, "process.exit(5);") + working, "exit code 5"],
  "exits later": [until(4, "process.exit(0);") + working, "exit code 0"],
  "throws instead of an answer": [
    `import workerpool from ${workerpoolUrl};
     const never = () => {
       setTimeout(() => { throw new Error("came loose"); });
       return new Promise(() => {});
     };
     workerpool.worker({ perform: never });`,
    "came loose",
  ],
};

async function poolWith(script: string, threads: number) {
  const path = folder.at("worker.mjs");
  await writeFile(path, script);
  const module = engine.kernels === "simd" ? WebAssembly.compile(await readFile("dist/kernels.wasm")) : undefined;
  return poolOf({
    library: async () => workerpool,
    script: path,
    threads,
    module: Promise.resolve(module),
    type: "thread",
  });
}

describe.each(Object.keys(scripts))("a worker that %s", (name) => {
  it.each([1, 3])("is an error that names the tensor and leaves nothing, %i of them", async (threads) => {
    const [script, detail] = scripts[name]!;
    await using workers = await poolWith(script, threads);
    await writeFile(model(), file);
    const source = await fileSource(model());
    const task = quantizeModel(engine, source, await fileSink(folder.at("out")), { workers });
    const error = await task.catch((e: unknown) => e);
    await source.close();
    expect(error).toBeInstanceOf(lib.WorkerError);
    expect(error).toMatchObject({ tensor: expect.stringMatching(/^layer\.\d+$/), detail: told(detail) });
    const { tensor, message } = error as WorkerError;
    expect(message).toBe(`tensor "${tensor}": ${told(detail)}`);
    expect(await folder.names()).toEqual(["model.safetensors", "worker.mjs"]);
  });
});

describe("a pool whose workers died", () => {
  it("goes on with new ones", async () => {
    // Each worker's second request is its last.
    await using workers = await poolWith(until(2, "process.exit(1);") + working, 2);
    const task = (bytes: Uint8Array) => quantizeModel(engine, bytesSource(bytes), bytesSink(), { workers });
    await expect(task(file)).rejects.toThrow("exit code 1");
    await expect(task(file)).rejects.toThrow("exit code 1");
    const outcomes: PromiseSettledResult<unknown>[] = [];
    for (let i = 0; i < 4; i++) outcomes.push(...(await Promise.allSettled([task(single)])));
    expect(outcomes.map(({ status }) => status)).toContain("fulfilled");
  });

  it("lets what else is under way succeed or fail, but end", async () => {
    await using workers = await poolWith(until(9, "process.exit(1);") + working, 2);
    const outcomes = await Promise.allSettled(
      [file, single, file, single, single].map((bytes) =>
        quantizeModel(engine, bytesSource(bytes), bytesSink(), { workers }),
      ),
    );
    const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(failures.length).toBeGreaterThan(0);
    for (const failure of failures) expect(failure).toBeInstanceOf(lib.WorkerError);
  });

  it("can be closed when one died without work", async () => {
    const workers = await poolWith(until(1, "setTimeout(() => process.exit(1), 20);") + working, 1);
    await quantizeModel(engine, bytesSource(single), bytesSink(), { workers }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    await workers.close();
  });
});

describe("the command whose worker dies", () => {
  const run = async (script: string, nodeOptions = "") => {
    await writeFile(folder.at("die.mjs"), script);
    await writeFile(model(), file);
    const env = { ...process.env, NODE_OPTIONS: `${nodeOptions} --import=${pathToFileURL(folder.at("die.mjs")).href}` };
    const args = [main, "model.safetensors", "--threads", "2"];
    return new Promise<Result>((resolve) => {
      execFile(process.execPath, args, { cwd: folder.path, env }, (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stdout, stderr }),
      );
    });
  };

  it.each([1, 3])("at its request %i says so in one line, exit code 1, and leaves nothing", async (at) => {
    const { code, stdout, stderr } = await run(until(at, "process.exit(7);"));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    const line = `wasm-quant: tensor "layer.": ${told("exit code 7")}\n`;
    expect(stderr.replace(/(?<=layer\.)\d+/, "")).toBe(line);
    expect(await folder.names()).toEqual(["die.mjs", "model.safetensors"]);
  });

  it("for want of memory says that", async () => {
    const outOfMemory = "const all = []; for (;;) all.push(Array.from({ length: 1e5 }, (_, i) => ({ i })));";
    const { code, stdout, stderr } = await run(until(1, outOfMemory), "--max-old-space-size=40");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^wasm-quant: tensor "layer\.\d+": a worker ended [^\n]*memory limit[^\n]*; try fewer[^\n]*\n$/,
    );
    expect(await folder.names()).toEqual(["die.mjs", "model.safetensors"]);
  });
});
