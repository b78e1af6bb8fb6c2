import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { FormatError } from "../../errors.ts";
import { type ByteSource, readExactly } from "../../formats/byte-source.ts";
import { longFields, type MessageType } from "./schema.ts";

/** A model's weights are long; what is longer than this stays in the file unless its structure needs it. */
const LONG = 1 << 12;

/** As much is read at once while a structure is walked. */
const WINDOW = 1 << 14;

/** A tag and a length take 15 bytes at the most. */
const LONGEST_HEAD = 15;

/** Subgraphs within subgraphs; real models have three or four. */
const DEEPEST = 64;

interface Part {
  readonly start: number;
  readonly reader: BinaryReader;
  readonly bytes: Uint8Array;
}

/**
 * A file's structure in memory: everything but the long fields that hold data. Positions are those of the file, so that
 * whatever no pass changes can be copied from there.
 */
export class FileIndex {
  #last = 0;

  constructor(
    readonly source: ByteSource,
    private readonly parts: readonly Part[],
  ) {}

  /** A reader placed at `position`, and what to add to its positions to get the file's. */
  at(position: number): { readonly reader: BinaryReader; readonly offset: number } {
    const { reader, start } = this.#partAt(position);
    reader.pos = position - start;
    return { reader, offset: start };
  }

  /** Whether the bytes `start` to `end` are in memory. */
  has(start: number, end: number): boolean {
    const part = this.parts[this.#indexOf(start)];
    return part !== undefined && start >= part.start && end <= part.start + part.bytes.length;
  }

  bytes(start: number, end: number): Uint8Array {
    const { bytes, start: from } = this.#partAt(start);
    return bytes.subarray(start - from, end - from);
  }

  #partAt(position: number): Part {
    const part = this.parts[this.#indexOf(position)];
    if (!part || position - part.start > part.bytes.length) throw damaged(this.source, position, "it ends too soon");
    return part;
  }

  /** The last part that starts at `position` or before. */
  #indexOf(position: number): number {
    const { parts } = this;
    const next = parts[this.#last + 1];
    if (parts[this.#last]!.start <= position && (!next || position < next.start)) return this.#last;
    let [low, high] = [0, parts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (parts[middle]!.start <= position) low = middle;
      else high = middle - 1;
    }
    this.#last = low;
    return low;
  }
}

export function damaged(source: ByteSource, position: number, what: string, cause?: unknown): FormatError {
  return new FormatError(source.name, `is no ONNX model, or a damaged one: at byte ${position} ${what}`, undefined, {
    cause,
  });
}

/**
 * Reads a model's structure. Lengths are held against those of the messages around them, so that nothing is allocated
 * that the file does not have.
 *
 * @throws FormatError for a file that is empty, cut off or no protobuf at all
 */
export async function readFileIndex(source: ByteSource): Promise<FileIndex> {
  if (source.byteLength === 0) throw new FormatError(source.name, "is empty");
  const collector = new Collector(source);
  await walk(collector, "model", source.byteLength, 0);
  return new FileIndex(source, collector.finish());
}

async function walk(c: Collector, type: MessageType, end: number, depth: number): Promise<void> {
  if (depth > DEEPEST * 3) throw damaged(c.source, c.position, `graphs are nested more than ${DEEPEST} deep`);
  while (c.position < end) {
    if (!c.sees(LONGEST_HEAD)) await c.look();
    const { field, wire, start, stop } = c.head();
    if (stop > end) {
      throw damaged(
        c.source,
        c.position,
        `a field claims ${stop - start} bytes where ${Math.max(end - start, 0)} are left`,
      );
    }
    const what = wire === WireType.LengthDelimited && stop - start > LONG ? longFields[type][field] : "keep";
    if (what === "keep") await c.keep(stop);
    else if (what === undefined) await c.leave(start, stop);
    else {
      await c.keep(start);
      await walk(c, what, stop, depth + 1);
    }
  }
}

/** Walks along a source, keeping some bytes and leaving others. */
class Collector {
  position = 0;
  #window: Uint8Array = new Uint8Array(0);
  #windowStart = 0;
  #reader = new BinaryReader(this.#window);
  #parts: Part[] = [];
  /** What is kept of windows that are gone; of the one at hand, everything from `#keptFrom` to the position. */
  #pieces: Uint8Array[] = [];
  #keptFrom = 0;
  #partStart = 0;

  constructor(readonly source: ByteSource) {}

  /** Whether the next `bytes`, or all that are left, are in the window. */
  sees(bytes: number): boolean {
    return Math.min(this.position + bytes, this.source.byteLength) <= this.#windowStart + this.#window.length;
  }

  async look(bytes = WINDOW): Promise<void> {
    this.#setAside();
    const end = Math.min(this.position + Math.max(bytes, WINDOW), this.source.byteLength);
    this.#window = await readExactly(this.source, this.position, end);
    this.#windowStart = this.position;
    this.#reader = new BinaryReader(this.#window);
  }

  /** The field at hand: its payload's place. The position stays. */
  head(): { field: number; wire: WireType; start: number; stop: number } {
    const reader = this.#reader;
    reader.pos = this.position - this.#windowStart;
    try {
      const [field, wire] = reader.tag();
      if (wire === WireType.LengthDelimited) {
        const length = reader.uint32();
        const start = this.#windowStart + reader.pos;
        return { field, wire, start, stop: start + length };
      }
      const start = this.#windowStart + reader.pos;
      if (wire === WireType.Bit32) return { field, wire, start, stop: start + 4 };
      if (wire === WireType.Bit64) return { field, wire, start, stop: start + 8 };
      if (wire !== WireType.Varint) throw new Error("a group has no place in a model");
      reader.skip(wire, field);
      return { field, wire, start, stop: this.#windowStart + reader.pos };
    } catch (cause) {
      throw damaged(this.source, this.position, (cause as Error).message, cause);
    }
  }

  /** Keeps what lies up to `end`. */
  async keep(end: number): Promise<void> {
    while (this.position < end) {
      if (!this.sees(1)) await this.look(end - this.position);
      this.position = Math.min(end, this.#windowStart + this.#window.length);
    }
  }

  /** Keeps what lies up to `start`, and leaves what follows up to `end` in the file. */
  async leave(start: number, end: number): Promise<void> {
    await this.keep(start);
    this.#endPart();
    this.position = end;
    this.#partStart = end;
    this.#keptFrom = end;
  }

  finish(): readonly Part[] {
    this.#endPart();
    return this.#parts;
  }

  #setAside(): void {
    const { position } = this;
    if (position > this.#keptFrom) {
      this.#pieces.push(this.#window.subarray(this.#keptFrom - this.#windowStart, position - this.#windowStart));
    }
    this.#keptFrom = position;
  }

  #endPart(): void {
    this.#setAside();
    const length = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#parts.push({ start: this.#partStart, bytes, reader: new BinaryReader(bytes) });
  }
}
