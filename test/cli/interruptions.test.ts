import { spawn } from "node:child_process";
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planSafetensors, type SafetensorsPlan } from "../../src/formats/safetensors.ts";
import { encodeShardIndex } from "../../src/formats/shards.ts";
import { main } from "../helpers/command.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { between, randomOf } from "../helpers/random.ts";

// Ctrl-C at any moment: the command is done, or nothing of it is left. Where a signal hits is not ours to say: these tests
// hold whenever it comes.

let folder: string;
let kept: readonly string[];
const expected: Record<string, Record<string, Uint8Array>> = {};
const took: Record<string, number> = {};

/** Whatever they write is called out... or in a folder that is. */
const ways: Readonly<Record<string, readonly string[]>> = {
  quantize: ["large.safetensors", "-o", "out.safetensors"],
  dequantize: ["dequantize", "small.safetensors", "-o", "out.safetensors"],
  shards: ["shards", "-o", "out/"],
  "compressed-tensors": ["shards", "--layout", "compressed-tensors", "-o", "out/within/"],
  recipe: ["large.onnx", "--recipe", "transformers.js", "--only", "q8,q4", "-o", "out/"],
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  await writeZeros("large.safetensors", "layer", 5);
  await writeShards();
  await writeModel();
  expect((await run(["large.safetensors", "-o", "small.safetensors"]).ended).code).toBe(0);
  kept = await names();
  for (const [name, args] of Object.entries(ways)) {
    const start = performance.now();
    expect((await run(args).ended).code).toBe(0);
    took[name] = performance.now() - start;
    expected[name] = await takeOutput();
  }
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Tensors of 17 MB each, which take no room on the disk. */
async function writeZeros(path: string, name: string, count: number): Promise<SafetensorsPlan> {
  const items = Array.from({ length: count }, (_, i) => ({
    name: `${name}.${i}.mlp.up_proj.weight`,
    dtype: "F32" as const,
    shape: [4096, 1024],
  }));
  const plan = planSafetensors(items, {});
  await writeHole(path, plan.header, plan.byteLength);
  return plan;
}

async function writeHole(path: string, head: Uint8Array, length: number): Promise<void> {
  const file = await open(join(folder, path), "w");
  await file.write(head);
  await file.truncate(length);
  await file.close();
}

async function writeShards(): Promise<void> {
  await mkdir(join(folder, "shards"));
  const map = new Map<string, string>();
  for (const shard of ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]) {
    const { tensors } = await writeZeros(join("shards", shard), `${shard.slice(0, 11)}.layers`, 2);
    for (const { name } of tensors) map.set(name, shard);
  }
  await writeFile(join(folder, "shards", "model.safetensors.index.json"), encodeShardIndex(new Map(), 0, map));
  await writeFile(join(folder, "shards", "config.json"), "{}");
}

async function writeModel(): Promise<void> {
  const layers = ["a", "b", "c"];
  const size = 2048;
  const entries = (i: number) => ({
    location: "large.data",
    offset: `${4 * i * size ** 2}`,
    length: `${4 * size ** 2}`,
  });
  const bytes = model({
    opsets: { "": 17 },
    graph: graph({
      nodes: layers.map((name, i) => node("MatMul", `${i === 0 ? "x" : layers[i - 1]} ${name}.weight`, name)),
      initializers: layers.map((name, i) =>
        tensor(`${name}.weight`, "float32", [size, size], [], { store: { kind: "external", entries: entries(i) } }),
      ),
      inputs: [value("x", `float32[n,${size}]`)],
      outputs: [value("c", `float32[n,${size}]`)],
    }),
  });
  await writeFile(join(folder, "large.onnx"), bytes);
  await writeHole("large.data", new Uint8Array(4), layers.length * 4 * size ** 2);
}

const names = async () => (await readdir(folder, { recursive: true })).sort();

/** The files that are called as outputs are, and no longer there. */
async function takeOutput(): Promise<Record<string, Uint8Array>> {
  const output: Record<string, Uint8Array> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(folder.length + 1);
    if (path.startsWith("out") && entry.isFile()) output[path] = await readFile(join(folder, path));
  }
  for (const path of ["out", "out.safetensors"]) await rm(join(folder, path), { recursive: true, force: true });
  return output;
}

/** Names of files, with those of the folders they are in. */
function withFolders(paths: readonly string[]): string[] {
  const above = (path: string): string[] => (path === "." ? [] : [path, ...above(dirname(path))]);
  return [...new Set(paths.flatMap(above))];
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

function run(args: readonly string[]) {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, stderr }));
  });
  return { child, ended };
}

/** When temporary files are there. */
async function isWriting(): Promise<void> {
  while (!(await names()).some((name) => name.endsWith(".tmp"))) await new Promise((resolve) => setTimeout(resolve, 2));
}

/**
 * Sends `signals` one after the other, from `delay` milliseconds on or once the command writes, and holds what came of it against what may.
 *
 * @returns whether the command was interrupted at work
 */
async function interrupt(
  way: string,
  threads: readonly string[],
  delay: number | "writes",
  signals: readonly NodeJS.Signals[],
) {
  const { child, ended } = run([...ways[way]!, ...threads]);
  await (delay === "writes" ? isWriting() : new Promise((resolve) => setTimeout(resolve, delay)));
  for (const signal of signals) child.kill(signal);
  const { code, signal, stderr } = await ended;
  const left = await names();
  const told = `${way} ${threads.join(" ")}, ${signals.join(", ")} after ${delay}: ${JSON.stringify({ code, signal, stderr, left })}`;
  const output = await takeOutput();
  const made = Object.keys(expected[way]!);
  if (Object.keys(output).length > 0) {
    expect(left, told).toEqual([...kept, ...withFolders(made)].sort());
    for (const path of made) expect(Buffer.compare(output[path]!, expected[way]![path]!), told).toBe(0);
    // What hits between the output's appearance and the process's end comes too late; by then nobody listens, or a second
    // signal ends it.
    expect(code === 0 || signal !== null || (code === 130 && signals.length > 1), told).toBe(true);
    return false;
  }
  expect(left, told).toEqual(kept);
  // Before the command listens to signals they end it as they end any process.
  if (signal !== null) {
    expect([signals[0], ""], told).toEqual([signal, stderr]);
    return false;
  }
  expect(code, told).toBe(130);
  expect(stderr, told).toMatch(/^wasm-quant: interrupted(, nothing written)?\n$/);
  return stderr.includes("nothing written");
}

describe.each(Object.keys(ways))("%s", (way) => {
  const random = randomOf(5);
  it.each([[["--threads", "1"]], [["--threads", "2"]], [[]]])("%j", async (threads) => {
    // One in each quarter of the time that it takes: each signal, and at last one twice.
    const count = 4;
    for (let i = 0; i < count; i++) {
      const delay = between(random, (i * took[way]!) / count, ((i + 1) * took[way]!) / count);
      const signals = (["SIGINT", "SIGTERM"] as const).slice(i % 2, 1 + (i % 2));
      await interrupt(way, threads, delay, i === count - 1 ? ["SIGINT", "SIGINT"] : signals);
    }
    // Of these there is one at least that does not come too late.
    let isHit = false;
    for (let i = 0; i < 3 && !isHit; i++) isHit = await interrupt(way, threads, "writes", ["SIGINT"]);
    expect(isHit).toBe(true);
  });

  it("at the start", async () => {
    for (const delay of [0, 30, 60, 90]) await interrupt(way, ["--threads", "2"], delay, ["SIGINT"]);
  });
});
