import type { SafetensorsTensor } from "../formats/safetensors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";

/** 16 MiB: long enough that calls cost nothing, short enough that memory does not grow with the tensor. */
const STRETCH = 1 << 24;

/** Copies a tensor's bytes from file to file. */
export async function copyTensor(
  source: ByteSource,
  from: SafetensorsTensor,
  sink: ByteSink,
  to: number,
): Promise<void> {
  for (let at = from.start; at < from.end; at += STRETCH) {
    const end = Math.min(at + STRETCH, from.end);
    await sink.write(to + at - from.start, await readExactly(source, at, end, from.name));
  }
}

/** Copies a whole file. */
export async function copyFile(source: ByteSource, sink: ByteSink): Promise<void> {
  for (let at = 0; at < source.byteLength; at += STRETCH) {
    await sink.write(at, await readExactly(source, at, Math.min(at + STRETCH, source.byteLength)));
  }
}
