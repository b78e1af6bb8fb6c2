import { type ByteSink, type ByteSource, readExactly } from "../formats/source.ts";
import type { Tracker } from "./progress.ts";

/** 16 MiB: long enough that calls cost nothing, short enough that memory does not grow with the tensor. */
const STRETCH = 1 << 24;

/** Where bytes lie in a source, and what they are called on the way. */
export interface Stretch {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Copies a tensor's bytes from file to file. */
export async function copyTensor(
  source: ByteSource,
  { name, start, end }: Stretch,
  sink: Pick<ByteSink, "write">,
  to: number,
  tracker: Tracker,
): Promise<void> {
  for (let at = start; at < end; at += STRETCH) {
    const until = Math.min(at + STRETCH, end);
    await tracker.at(name);
    await sink.write(to + at - start, await readExactly(source, at, until, name || undefined));
    tracker.advance(until - at);
  }
}

/** Copies a whole file. */
export async function copyFile(source: ByteSource, sink: Pick<ByteSink, "write">, tracker: Tracker): Promise<void> {
  await copyTensor(source, { name: "", start: 0, end: source.byteLength }, sink, 0, tracker);
}
