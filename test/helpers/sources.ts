import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";

/** A source over `bytes` that keeps a list of what was read of it, as [start, end]. */
export function recordingSource(bytes: Uint8Array): ByteSource & { readonly reads: [number, number][] } {
  const reads: [number, number][] = [];
  const source = bytesSource(bytes);
  return {
    ...source,
    reads,
    slice(start, end) {
      reads.push([start, end]);
      return source.slice(start, end);
    },
  };
}

/** A source whose file was cut to `length` bytes after it was opened. */
export function truncatedSource(bytes: Uint8Array, length: number): ByteSource {
  const source = bytesSource(bytes);
  return { ...source, slice: (start, end) => source.slice(Math.min(start, length), Math.min(end, length)) };
}

/** The bytes of `parts`, one after the other: text as UTF-8, numbers as bytes. */
export function bytesOf(...parts: (string | Uint8Array | readonly number[])[]): Uint8Array {
  const chunks = parts.map((part) =>
    typeof part === "string" ? new TextEncoder().encode(part) : Uint8Array.from(part),
  );
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return bytes;
}
