import { FormatError } from "../errors.ts";
import { type ByteSource, readExactly } from "./byte-source.ts";
import { allocate } from "./zip-entries.ts";

/** A deflated member of a zip, and what the zip says of it. */
export interface Deflated {
  readonly source: ByteSource;
  /** Where its deflated bytes lie in `source`. */
  readonly start: number;
  readonly end: number;
  /** How many bytes come out. */
  readonly byteLength: number;
  readonly crc32: number;
  /** What errors call it. */
  readonly name: string;
}

/** Deflated bytes that are read at once. */
const CHUNK = 2 ** 16;

/** Magic, deflate, no flags, no time, no system. */
const GZIP_HEADER = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];

/**
 * The bytes of a deflated member, inflated as they are read and held no longer than a chunk. Reading goes front to back;
 * asked for what lies before the chunk it is at, it begins anew. Reads wait for one another.
 *
 * A pass that reaches the end holds length and checksum against what the zip says, before it gives out the last bytes.
 */
export class InflatingSource implements ByteSource {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string | undefined;
  readonly sequential = true;
  readonly #member: Deflated;
  #pass: Pass | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(member: Deflated) {
    this.name = member.source.name;
    this.identity = member.source.identity;
    this.byteLength = member.byteLength;
    this.#member = member;
  }

  async slice(start: number, end: number): Promise<Uint8Array> {
    const bytes = allocate(this.name, this.#member.name, Math.max(Math.min(end, this.byteLength) - start, 0));
    return bytes.subarray(0, await this.read(start, bytes));
  }

  /** @throws FormatError naming file and member, when it is damaged. */
  read(start: number, into: Uint8Array): Promise<number> {
    return this.#inTurn(() => this.#read(start, into));
  }

  /** Lets go of what a pass holds; the next read begins a new one. */
  rewind(): Promise<void> {
    return this.#inTurn(() => this.#rewind());
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #rewind(): Promise<void> {
    const pass = this.#pass;
    this.#pass = undefined;
    await pass?.stop();
  }

  async #read(start: number, into: Uint8Array): Promise<number> {
    const end = Math.min(start + into.byteLength, this.byteLength);
    if (start >= end) return 0;
    if (this.#pass && start < this.#pass.at) await this.#rewind();
    this.#pass ??= new Pass(this.#member);
    const pass = this.#pass;
    try {
      for (let at = start; at < end; ) {
        const piece = pass.chunk.subarray(at - pass.at, end - pass.at);
        if (piece.byteLength === 0) await pass.advance();
        into.set(piece, at - start);
        at += piece.byteLength;
      }
      if (end === this.byteLength) {
        await pass.finish();
        this.#pass = undefined; // its chunk is not held: there may be many members
      }
    } catch (error) {
      await this.#rewind();
      throw error;
    }
    return end - start;
  }
}

/**
 * Once through a member's bytes, a chunk at a time: they are made a gzip file, so that what inflates them checks length and
 * checksum as well (RFC 1952).
 */
class Pass {
  chunk = new Uint8Array(0);
  /** Where in the member `chunk` begins. */
  at = 0;
  readonly #member: Deflated;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  /** What went wrong with the file beneath, which comes out of the stream in another guise. */
  #cause: unknown;

  constructor(member: Deflated) {
    this.#member = member;
    const { readable, writable } = new DecompressionStream("gzip");
    this.#reader = readable.getReader();
    this.#feed(writable.getWriter());
  }

  async #feed(writer: WritableStreamDefaultWriter<BufferSource>): Promise<void> {
    const { source, start, end, byteLength, crc32, name } = this.#member;
    try {
      // each write is waited for: Node 20 takes in the whole file where it is piped through
      await writer.write(Uint8Array.from(GZIP_HEADER));
      for (let at = start; at < end; at += CHUNK) {
        const bytes = await readExactly(source, at, Math.min(at + CHUNK, end), name).catch((cause: unknown) => {
          this.#cause = cause;
          throw cause;
        });
        await writer.write(bytes as Uint8Array<ArrayBuffer>);
      }
      const trailer = new DataView(new ArrayBuffer(8));
      trailer.setUint32(0, crc32, true);
      trailer.setUint32(4, byteLength, true); // modulo 2^32
      await writer.write(trailer);
      await writer.close();
    } catch (cause) {
      await writer.abort(cause).catch(() => {}); // the reader hears of it
    }
  }

  async advance(): Promise<void> {
    const { byteLength } = this.#member;
    this.at += this.chunk.byteLength;
    const next = await this.#next();
    if (!next) throw this.#fail(`it ends after ${this.at} bytes of ${byteLength}`);
    if (this.at + next.byteLength > byteLength) throw this.#fail(`it goes on after its ${byteLength} bytes`);
    this.chunk = next;
  }

  /** Past the last byte: the checksum is held against the bytes there. */
  async finish(): Promise<void> {
    if (await this.#next()) throw this.#fail(`it goes on after its ${this.#member.byteLength} bytes`);
  }

  async stop(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }

  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return (await this.#reader.read()).value;
    } catch (cause) {
      if (this.#cause !== undefined) throw this.#cause;
      throw this.#fail("it does not inflate to bytes of the length and checksum it has in the zip", cause);
    }
  }

  #fail(reason: string, cause?: unknown): FormatError {
    const { source, name } = this.#member;
    return new FormatError(source.name, `damaged (${reason})`, name, { cause });
  }
}
