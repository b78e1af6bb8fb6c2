import { spawn } from "node:child_process";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planSafetensors } from "../../src/formats/safetensors.ts";
import { main } from "../helpers/command.ts";
import { between, randomOf } from "../helpers/random.ts";

// Ctrl-C at any moment: the command is done, or nothing of it is left. Where a signal hits is not ours to say: these tests
// hold whenever it comes.

let folder: string;
let kept: readonly string[];
const expected: Record<string, Uint8Array> = {};
const took: Record<string, number> = {};

const ways: Readonly<Record<string, readonly string[]>> = {
  quantize: ["large.safetensors", "-o", "out.safetensors"],
  dequantize: ["dequantize", "small.safetensors", "-o", "out.safetensors"],
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  await writeZeros(join(folder, "large.safetensors"));
  expect((await run(["large.safetensors", "-o", "small.safetensors"]).ended).code).toBe(0);
  kept = await names();
  for (const [name, args] of Object.entries(ways)) {
    const start = performance.now();
    expect((await run(args).ended).code).toBe(0);
    took[name] = performance.now() - start;
    expected[name] = await readFile(join(folder, "out.safetensors"));
    await rm(join(folder, "out.safetensors"));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** 150 MB in 9 tensors, which take no room on the disk. */
async function writeZeros(path: string): Promise<void> {
  const items = Array.from({ length: 9 }, (_, i) => ({
    name: `layer.${i}`,
    dtype: "F32" as const,
    shape: [4096, 1024],
  }));
  const { header, byteLength } = planSafetensors(items);
  const file = await open(path, "w");
  await file.write(header);
  await file.truncate(byteLength);
  await file.close();
}

const names = async () => (await readdir(folder)).sort();

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

/** Sends `signals` one after the other, from `delay` milliseconds on, and holds what came of it against what may. */
async function interrupt(way: string, threads: readonly string[], delay: number, signals: readonly NodeJS.Signals[]) {
  const { child, ended } = run([...ways[way]!, ...threads]);
  await new Promise((resolve) => setTimeout(resolve, delay));
  for (const signal of signals) child.kill(signal);
  const { code, signal, stderr } = await ended;
  const left = await names();
  const told = `${way} ${threads.join(" ")}, ${signals.join(", ")} after ${delay} ms: ${JSON.stringify({ code, signal, stderr, left })}`;
  const isThere = left.includes("out.safetensors");
  // A second signal may hit between the output's appearance and the command's end.
  if (code === 0 || (isThere && signals.length > 1 && code === 130)) {
    expect(left, told).toEqual([...kept, "out.safetensors"].sort());
    expect(Buffer.compare(await readFile(join(folder, "out.safetensors")), expected[way]!), told).toBe(0);
    await rm(join(folder, "out.safetensors"));
    return;
  }
  expect(left, told).toEqual(kept);
  // Before the command listens to signals they end it as they end any process.
  if (signal !== null) expect([signals[0], ""], told).toEqual([signal, stderr]);
  else {
    expect(code, told).toBe(130);
    expect(stderr, told).toMatch(/^wasm-quant: interrupted(, nothing written)?\n$/);
  }
}

describe.each(Object.keys(ways))("%s", (way) => {
  const random = randomOf(5);
  it.each([[["--threads", "1"]], [["--threads", "2"]], [[]]])("%j", async (threads) => {
    const count = 6;
    for (let i = 0; i < count; i++) {
      const delay = between(random, (i * took[way]!) / count, ((i + 1) * took[way]!) / count);
      const signals = (["SIGINT", "SIGTERM"] as const).slice(i % 2, 1 + (i % 2));
      await interrupt(way, threads, delay, i === 3 ? ["SIGINT", "SIGINT"] : signals);
    }
  });

  it("at the start", async () => {
    for (const delay of [0, 30, 60, 90]) await interrupt(way, ["--threads", "2"], delay, ["SIGINT"]);
  });
});
