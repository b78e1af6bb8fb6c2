import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What onnxruntime-web's WebGPU build does with a model: why it does not load, or the nodes that it leaves to the CPU. */
export type Placement = { readonly fails: string } | { readonly cpu: readonly string[] };

const program = join(import.meta.dirname, "webgpu-placement.mjs");
const mark = "@@ ";

/** Of models whose nodes have names. No GPU is needed: nothing is run. */
export async function placementsOf(models: readonly Uint8Array[]): Promise<Placement[]> {
  const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  try {
    const paths = models.map((_, i) => join(folder, `${i}.onnx`));
    for (const [i, path] of paths.entries()) await writeFile(path, models[i]!);
    // It logs to both of its outputs. To optimize code that is run once takes V8 a minute.
    const log = await open(join(folder, "log"), "w");
    await once(
      spawn(process.execPath, ["--liftoff-only", program, ...paths], { stdio: ["ignore", log.fd, log.fd] }),
      "exit",
    );
    await log.close();
    const text = await readFile(join(folder, "log"), "utf8");
    const parts = text.split(`\n${mark}`).slice(1);
    if (parts.length !== models.length)
      throw new Error(`${parts.length} of ${models.length} models: ${text.slice(-500)}`);
    return parts.map(placementIn);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function placementIn(log: string): Placement {
  const fails = /^@! (.*)$/m.exec(log)?.[1];
  if (fails !== undefined) return { fails };
  const lines = log.split("\n").flatMap((line) => line.split("VerifyEachNodeIsAssignedToAnEp] ")[1]?.trim() ?? []);
  const cpu: string[] = [];
  let isCpu = false;
  for (const line of lines) {
    if (line.includes("placed on [")) isCpu = line.includes("[CPUExecutionProvider]");
    else if (isCpu) cpu.push(...(/\((.*)\)$/.exec(line)?.slice(1) ?? []));
    if (isCpu && line.startsWith("All nodes")) cpu.push("*");
  }
  return { cpu };
}
