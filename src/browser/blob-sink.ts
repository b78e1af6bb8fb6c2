import { FileError } from "../errors.ts";
import type { ByteSink } from "../formats/byte-source.ts";
import { allocate } from "./blob-source.ts";
import { explain } from "./file-errors.ts";

export interface BlobSinkOptions {
  /** What errors call it, and what a companion's name begins with: that under which it will be saved. Default: `model.onnx`. */
  readonly name?: string | undefined;
  /** The Blob's media type. Default: `application/octet-stream`. */
  readonly type?: string | undefined;
}

export interface BlobSink extends ByteSink {
  /**
   * What was written.
   *
   * @throws FileError before the sink is closed, and once it is aborted
   */
  result(): Blob;
  /** The same for the companion with that suffix, or the sibling of that name, if one was made. */
  result(beside: string): Blob | undefined;
}

/**
 * A sink that makes a Blob of what is written. Browsers keep large Blobs on disk: of each file no more than 64 MiB are
 * held in memory here, however large it gets.
 */
export function blobSink({ name = "model.onnx", type = "application/octet-stream" }: BlobSinkOptions = {}): BlobSink {
  const files = new Map([["", new Stretches()]]);
  let blobs: ReadonlyMap<string, Blob> | undefined;
  const write = (suffix: string) => async (position: number, bytes: Uint8Array) => {
    const file = files.get(suffix);
    if (!file) throw new FileError(name + suffix, over);
    await explain(name + suffix, () => file.write(position, bytes), lost);
  };
  const made = () => {
    if (blobs) return blobs;
    throw new FileError(name, "is not whole: its sink was not closed, or was aborted");
  };
  function resultOf(): Blob;
  function resultOf(beside: string): Blob | undefined;
  function resultOf(beside = ""): Blob | undefined {
    return made().get(beside);
  }
  return {
    name,
    write: write(""),
    async companion(suffix) {
      files.set(suffix, new Stretches());
      return { name: name + suffix, write: write(suffix) };
    },
    async sibling(own) {
      files.set(own, new Stretches());
      return { name: own, write: write(own) };
    },
    async close() {
      if (files.size === 0) throw new FileError(name, over);
      const whole = new Map<string, Blob>();
      for (const [suffix, file] of files) {
        whole.set(suffix, await explain(name + suffix, () => file.finish(type), lost));
      }
      blobs = whole;
      files.clear();
    },
    async abort() {
      files.clear();
    },
    result: resultOf,
  };
}

const over = "its sink is closed, or was aborted";

/** What was written and cannot be read was not kept. */
const lost = { NotReadableError: "no space left in the browser's storage" };

/** 16 MiB. */
const STRETCH = 1 << 24;

/** As many are in memory, of those that are not full. */
const OPEN = 4;

interface Open {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How many bytes were written to it: when as many as it has room for, it is most likely full. */
  written: number;
}

/** A file in stretches, each an array while it is written to and a Blob before and after. */
class Stretches {
  /** Those written to least recently come first. */
  readonly #open = new Map<number, Open>();
  readonly #done = new Map<number, Blob>();
  #length = 0;
  #last: Promise<void> = Promise.resolve();

  /** One after the other: a stretch that is brought back must not be brought back twice. */
  write(position: number, bytes: Uint8Array): Promise<void> {
    const written = this.#last.then(() => this.#put(position, bytes));
    this.#last = written.catch(() => {});
    return written;
  }

  async #put(position: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; ) {
      const index = Math.floor((position + at) / STRETCH);
      const offset = position + at - index * STRETCH;
      const piece = bytes.subarray(at, at + STRETCH - offset);
      const stretch = await this.#bring(index);
      stretch.bytes.set(piece, offset);
      stretch.written += piece.byteLength;
      if (stretch.written >= STRETCH) this.#shut(index, stretch);
      at += piece.byteLength;
    }
    this.#length = Math.max(this.#length, position + bytes.byteLength);
  }

  /** The stretch as an array, now the one that was written to last. */
  async #bring(index: number): Promise<Open> {
    const done = this.#done.get(index);
    const stretch = this.#open.get(index) ?? {
      bytes: done ? new Uint8Array(await done.arrayBuffer()) : allocate(STRETCH),
      written: 0,
    };
    this.#done.delete(index);
    this.#open.delete(index);
    this.#open.set(index, stretch);
    const [oldest] = this.#open;
    if (oldest && this.#open.size > OPEN) this.#shut(...oldest);
    return stretch;
  }

  #shut(index: number, { bytes }: Open): void {
    this.#done.set(index, new Blob([bytes]));
    this.#open.delete(index);
  }

  /** All of it, in one Blob; rejected as a read is when the browser could not keep it. */
  async finish(type: string): Promise<Blob> {
    await this.#last;
    const parts: Blob[] = [];
    for (let start = 0; start < this.#length; start += STRETCH) {
      const index = start / STRETCH;
      const room = Math.min(this.#length - start, STRETCH);
      const bytes = this.#open.get(index)?.bytes.subarray(0, room);
      const part = this.#done.get(index) ?? new Blob([bytes ?? new Uint8Array(room)]);
      // A Blob for which there was no room is made without a word, and fails when it is read.
      await part.slice(0, 1).arrayBuffer();
      parts.push(part.slice(0, room));
      this.#open.delete(index);
    }
    return new Blob(parts, { type });
  }
}
