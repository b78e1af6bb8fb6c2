import { explain } from "./file-errors.ts";

/** Bytes `start` to `end` of a Blob. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

interface Stream {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Of what came last that for which nobody has asked yet. */
  rest: Uint8Array;
  /** How many bytes are still to come with that. */
  left: number;
}

/** To read on over a gap takes no longer than to begin a stream, if the gap is no longer than this. */
const GAP = 1 << 20;

/** So many tensors, or parts of one, are read by turns. */
const READERS = 2;

/**
 * Reads stretches of a Blob. A browser takes longer to begin a stream than to bring a megabyte of it: where stretches follow
 * one another, they are read from the same one.
 */
export class BlobStreams {
  /** Streams with more to come, by where they stand. */
  readonly #waiting = new Map<number, Stream>();
  /** Where stretches ended of late: what begins there will most likely be followed, too. */
  readonly #ends: number[] = [];

  /** @param spans all that will be read, in order, if that is known */
  constructor(
    private readonly blob: Blob,
    private readonly name: string,
    private readonly spans?: readonly Span[],
  ) {}

  /** Fills `into` with the bytes from `start` on; how many there were. */
  async read(start: number, into: Uint8Array): Promise<number> {
    const { stream, gap } = this.#streamAt(start, start + into.byteLength);
    let filled = -gap;
    while (filled < into.byteLength && stream.left > 0) {
      if (stream.rest.byteLength === 0) stream.rest = await this.#next(stream);
      const piece = stream.rest.subarray(0, (filled < 0 ? 0 : into.byteLength) - filled);
      if (filled >= 0) into.set(piece, filled);
      filled += piece.byteLength;
      stream.rest = stream.rest.subarray(piece.byteLength);
      stream.left -= piece.byteLength;
    }
    this.#keep(start + filled, stream);
    return Math.max(filled, 0);
  }

  /** A stream that comes to `start` after a gap, and goes to `end` at the least. */
  #streamAt(start: number, end: number): { readonly stream: Stream; readonly gap: number } {
    // Where nobody says what comes next, what lies between may be another reader's.
    const most = this.spans ? GAP : 0;
    const [nearest] = [...this.#waiting.keys()].filter((at) => at <= start).sort((a, b) => b - a);
    const waiting = nearest === undefined ? undefined : this.#waiting.get(nearest);
    if (waiting && start - nearest! <= most && end - nearest! <= waiting.left) {
      this.#waiting.delete(nearest!);
      return { stream: waiting, gap: start - nearest! };
    }
    const until = Math.min(this.#endOf(start, end), this.blob.size);
    const reader = this.blob.slice(start, until).stream().getReader();
    return { stream: { reader, rest: new Uint8Array(0), left: until - start }, gap: 0 };
  }

  /** How far a stream should go. */
  #endOf(start: number, end: number): number {
    if (!this.spans) return this.#ends.includes(start) ? this.blob.size : end;
    const isNext = (span: Span, until: number) => span.start >= until && span.start - until <= GAP;
    return this.spans.reduce((until, span) => (isNext(span, until) ? span.end : until), end);
  }

  async #next(stream: Stream): Promise<Uint8Array> {
    const { value } = await explain(this.name, () => stream.reader.read(), lost);
    if (value) return value;
    stream.left = 0;
    return new Uint8Array(0);
  }

  #keep(at: number, stream: Stream): void {
    this.#ends.push(at);
    if (this.#ends.length > READERS) this.#ends.shift();
    if (stream.left === 0) return;
    this.#waiting.set(at, stream);
    const [oldest] = this.#waiting;
    if (!oldest || this.#waiting.size <= READERS) return;
    this.#waiting.delete(oldest[0]);
    oldest[1].reader.cancel().catch(() => {}); // nobody will miss it
  }
}

const changed = "cannot be read: it changed or vanished since it was opened; open it again";

/** A stream fails with a TypeError in Chrome, with what a read of the whole would fail with elsewhere. */
const lost = { TypeError: changed, NotFoundError: changed, NotReadableError: changed };
