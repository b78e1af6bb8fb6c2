import type { SafetensorsTensor } from "../formats/safetensors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";
import type { Tracker } from "./progress.ts";

/** 16 MiB: long enough that calls cost nothing, short enough that memory does not grow with the tensor. */
const STRETCH = 1 << 24;

/** Copies a tensor's bytes from file to file. */
export async function copyTensor(
  source: ByteSource,
  { name, start, end }: SafetensorsTensor,
  sink: ByteSink,
  to: number,
  tracker: Tracker,
): Promise<void> {
  await copyBytes(source, start, end, sink, to, tracker, name);
}

/** Copies a whole file. */
export async function copyFile(source: ByteSource, sink: ByteSink, tracker: Tracker): Promise<void> {
  await copyBytes(source, 0, source.byteLength, sink, 0, tracker, "");
}

async function copyBytes(
  source: ByteSource,
  start: number,
  end: number,
  sink: ByteSink,
  to: number,
  tracker: Tracker,
  name: string,
): Promise<void> {
  for (let at = start; at < end; at += STRETCH) {
    const until = Math.min(at + STRETCH, end);
    await tracker.at(name);
    await sink.write(to + at - start, await readExactly(source, at, until, name || undefined));
    tracker.advance(until - at);
  }
}
