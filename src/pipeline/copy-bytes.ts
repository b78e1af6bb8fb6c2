import { type ByteSink, type ByteSource, readExactly } from "../formats/byte-source.ts";
import type { Tracker } from "./progress.ts";

/** 16 MiB: long enough that calls cost nothing, short enough that memory does not grow with the tensor. */
const STRETCH = 1 << 24;

/** What is copied at a time of the bytes `start` to `end`, in order. */
export function copyRangesOf(start: number, end: number): { readonly start: number; readonly end: number }[] {
  return Array.from({ length: Math.ceil((end - start) / STRETCH) }, (_, i) => {
    const from = start + i * STRETCH;
    return { start: from, end: Math.min(from + STRETCH, end) };
  });
}

/** Where bytes lie in a source, and what they are called on the way. */
export interface NamedRange {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Copies a tensor's bytes from file to file. */
export async function copyRange(
  source: ByteSource,
  { name, start, end }: NamedRange,
  sink: Pick<ByteSink, "write">,
  to: number,
  tracker: Tracker,
): Promise<void> {
  for (const part of copyRangesOf(start, end)) {
    await tracker.at(name);
    await sink.write(to + part.start - start, await readExactly(source, part.start, part.end, name || undefined));
    tracker.advance(part.end - part.start);
  }
}

/** Copies a whole file. */
export async function copyFile(source: ByteSource, sink: Pick<ByteSink, "write">, tracker: Tracker): Promise<void> {
  await copyRange(source, { name: "", start: 0, end: source.byteLength }, sink, 0, tracker);
}
