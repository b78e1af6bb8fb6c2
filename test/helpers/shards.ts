import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ByteSource, bytesSource, readSafetensorsHeader } from "../../src/index.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** Names and bytes of a checkpoint in shards: the index first. */
export async function shardedCheckpoint(
  shards: readonly Uint8Array[],
  stem = "model",
): Promise<Record<string, Uint8Array>> {
  const names = shards.map((_, i) => `${stem}-0000${i + 1}-of-0000${shards.length}.safetensors`);
  const weightMap: Record<string, string> = {};
  let size = 0;
  for (const [i, shard] of shards.entries()) {
    const { tensors } = await readSafetensorsHeader(bytesSource(shard));
    for (const { name, start, end } of tensors) {
      weightMap[name] = names[i]!;
      size += end - start;
    }
  }
  const index = { metadata: { total_size: size, note: "kept" }, weight_map: weightMap };
  return {
    [`${stem}.safetensors.index.json`]: encode(JSON.stringify(index)),
    ...Object.fromEntries(shards.map((shard, i) => [names[i]!, shard])),
  };
}

/** The index of such files, as a source with the others beside it. */
export function indexSource(files: Record<string, Uint8Array>): ByteSource {
  const [name] = Object.keys(files);
  return bytesSource(files[name!]!, name!, files);
}

export async function writeFiles(folder: string, files: Record<string, Uint8Array | string>): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
}

/** All files of a folder by their names. */
export async function readFiles(folder: string): Promise<Record<string, Buffer>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))])));
}

/** The names of two sets of files, and the first that differs: undefined where none does. `toEqual` takes its time. */
export function differingFile(a: Record<string, Uint8Array>, b: Record<string, Uint8Array>): string | undefined {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].find((name) => !a[name] || !b[name] || Buffer.compare(a[name], b[name]) !== 0);
}
