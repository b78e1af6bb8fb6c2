import { type ByteSink, type CompanionSink, readExactly } from "../../formats/byte-source.ts";
import { copyRange } from "../../pipeline/copy-bytes.ts";
import type { Tracker } from "../../pipeline/progress.ts";
import { isSpan, Pending, type Segment, type Span, segmentLength } from "../proto/wire-format.ts";

/** Something that takes bytes at positions. */
type Target = Pick<ByteSink | CompanionSink, "write" | "handle">;

/** Where bytes that are yet to be made belong. */
export class Addresses {
  readonly #of = new Map<Pending, { readonly sink: number; readonly position: number }>();
  readonly #targets: Target[] = [];

  /** All that takes bytes. */
  get targets(): readonly Target[] {
    return this.#targets;
  }

  set(pending: Pending, target: Target, position: number): void {
    const known = this.#targets.indexOf(target);
    const sink = known >= 0 ? known : this.#targets.push(target) - 1;
    this.#of.set(pending, { sink, position });
  }

  /** A target's place among them, and a position there. */
  of(pending: Pending): { readonly sink: number; readonly position: number } {
    return this.#of.get(pending)!;
  }
}

/** Small pieces are put together up to this many bytes. */
const GATHERED = 1 << 20;

/** Shorter stretches of the input are read to be written with what stands around them. */
const SHORT = 1 << 16;

/** Writes all chunks whose bytes are there; those yet to be made are told their places. */
export async function writeSegments(
  chunks: readonly Segment[],
  sink: ByteSink,
  addresses: Addresses,
  tracker: Tracker,
): Promise<void> {
  let position = 0;
  let pieces: Uint8Array[] = [];
  let gathered = 0;
  const flush = async () => {
    if (gathered === 0) return;
    await sink.write(position - gathered, concat(pieces, gathered));
    pieces = [];
    gathered = 0;
  };
  for (const chunk of chunks) {
    const length = segmentLength(chunk);
    const bytes =
      bytesAtHand(chunk) ?? (isSpan(chunk) && length <= SHORT ? await readPart(chunk, 0, length) : undefined);
    if (bytes) {
      pieces.push(bytes);
      gathered += length;
      if (isSpan(chunk)) tracker.advance(length);
    } else {
      await flush();
      if (chunk instanceof Pending) addresses.set(chunk, sink, position);
      else if (isSpan(chunk)) {
        await copyRange(chunk.index.source, { name: "", start: chunk.start, end: chunk.end }, sink, position, tracker);
      }
    }
    position += length;
    if (gathered >= GATHERED) await flush();
  }
  await flush();
}

function bytesAtHand(chunk: Segment): Uint8Array | undefined {
  if (!isSpan(chunk)) return chunk instanceof Uint8Array ? chunk : undefined;
  return chunk.index.has(chunk.start, chunk.end) ? chunk.index.bytes(chunk.start, chunk.end) : undefined;
}

function concat(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The bytes of chunks as a source, for reading back what is about to be written; what is yet to be made reads as zeros. */
export function segmentSource(name: string, chunks: readonly Segment[]) {
  const starts: number[] = [];
  let byteLength = 0;
  for (const chunk of chunks) {
    starts.push(byteLength);
    byteLength += segmentLength(chunk);
  }
  return {
    name,
    byteLength,
    async slice(start: number, end: number): Promise<Uint8Array> {
      const bytes = new Uint8Array(end - start);
      for (let i = indexAt(starts, start); i < chunks.length && starts[i]! < end; i++) {
        const chunk = chunks[i]!;
        const from = Math.max(start - starts[i]!, 0);
        const to = Math.min(end - starts[i]!, segmentLength(chunk));
        if (to <= from || chunk instanceof Pending) continue;
        const whole = bytesAtHand(chunk);
        const part = whole?.subarray(from, to) ?? (await readPart(chunk as Span, from, to));
        bytes.set(part, starts[i]! + from - start);
      }
      return bytes;
    },
  };
}

function readPart({ index, start }: Span, from: number, to: number): Promise<Uint8Array> {
  return readExactly(index.source, start + from, start + to);
}

/** The last of sorted `starts` that is not above `position`. */
function indexAt(starts: readonly number[], position: number): number {
  let [low, high] = [0, starts.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
