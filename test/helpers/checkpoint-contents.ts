import { bytesSource, readSafetensorsHeader, type SafetensorsItem } from "../../src/index.ts";

/** Tensors of a file by name: header entry and bytes. */
export async function contents(file: Uint8Array) {
  const header = await readSafetensorsHeader(bytesSource(file));
  const tensors = new Map(header.tensors.map((t) => [t.name, { ...t, bytes: file.slice(t.start, t.end) }]));
  return { ...header, byName: tensors };
}

export const ids: SafetensorsItem & { data: Uint8Array } = {
  name: "ids",
  dtype: "I64",
  shape: [2, 2],
  data: new Uint8Array(32).fill(7),
};
