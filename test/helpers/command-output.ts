import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runnerIn } from "./command.ts";

/** What the command writes beside `model.onnx`, alone in its folder: bytes by the files' names. */
export async function commandOutput(model: Uint8Array, args: readonly string[]): Promise<Record<string, Uint8Array>> {
  const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  try {
    await writeFile(join(folder, "model.onnx"), model);
    const { code, stderr } = await runnerIn(() => folder)("model.onnx", ...args);
    if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
    const names = (await readdir(folder)).filter((name) => name !== "model.onnx").sort();
    const files = await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const));
    return Object.fromEntries(files.map(([name, bytes]) => [name, new Uint8Array(bytes)]));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
