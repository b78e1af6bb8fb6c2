import { bytesOf } from "../engine/tensors/tensor.ts";
import { FileError, FormatError, isWasmQuantError } from "../errors.ts";

/**
 * Where bytes come from and where they go. Nothing here knows of files: `wasm-quant/node` opens them, a browser wraps
 * a Blob, a test wraps an array.
 */
export interface ByteSource {
  /** What errors call it, as the user wrote it: a path, a URL, a file's name. */
  readonly name: string;
  /** Length in bytes. */
  readonly byteLength: number;
  /** Tells the file from others whatever it is called, where that can be told. */
  readonly identity?: string | undefined;
  /** Whether it is read front to back at the best, and begins anew for what lies before. */
  readonly sequential?: boolean | undefined;
  /** What another thread reads the same bytes by, where it can: plain data, or what structured clone takes besides. */
  readonly handle?: unknown;
  /** The bytes `start` to `end` (exclusive), both within the source. The caller may keep them, and must not change them. */
  slice(start: number, end: number): Promise<Uint8Array>;
  /**
   * Fills `into` with the bytes from `start` on; how many there were. Where a source has it, long tensors are read
   * straight to where they are worked on.
   */
  read?(start: number, into: Uint8Array): Promise<number>;
  /**
   * Another file of the same folder or below, by its path relative to this one: ONNX models keep their weights there.
   *
   * @throws FileError when there is none, or the path leads out of the folder
   */
  sibling?(path: string): Promise<ByteSource & { close?(): Promise<void> }>;
}

export interface ByteSink {
  /** What the files beside it are named after: its own name, without a folder. */
  readonly name?: string | undefined;
  /** The `identity` of the file that this one will replace. */
  readonly replaces?: string | undefined;
  /** What another thread writes to the same file by, where it can. */
  readonly handle?: unknown;
  /** Puts `bytes` at `position`; what lies between two writes is zero. Their memory may change once that is done. */
  write(position: number, bytes: Uint8Array): Promise<void>;
  /** Everything was written: what was written becomes visible, whole. */
  close(): Promise<void>;
  /** Give up: nothing of it stays. Harmless after `close`. */
  abort(): Promise<void>;
  /**
   * A second file beside this one, named as this one with `suffix` behind: it becomes visible just before this one does,
   * and goes when this one goes. `name` is what this one may call it, relative to itself.
   */
  companion?(suffix: string): Promise<CompanionSink>;
  /** The same for a file beside this one that has a name of its own. */
  sibling?(name: string): Promise<CompanionSink>;
}

export interface CompanionSink {
  readonly name: string;
  /** The `identity` of the file that this one will replace. */
  readonly replaces?: string | undefined;
  readonly handle?: unknown;
  write(position: number, bytes: Uint8Array): Promise<void>;
}

/**
 * The bytes `start` to `end` of a source.
 *
 * @throws FormatError when it gives another number of bytes, as a file that shrinks meanwhile does.
 */
export async function readExactly(
  source: ByteSource,
  start: number,
  end: number,
  tensor?: string,
): Promise<Uint8Array> {
  const bytes = await source.slice(start, end).catch((cause: unknown) => {
    if (!isWasmQuantError(cause, "memory")) throw cause;
    throw new FormatError(source.name, cause.message, tensor, { cause });
  });
  // A Buffer's slice() is no copy, which whoever gets the bytes relies on.
  if (bytes.byteLength === end - start) return bytesOf(bytes);
  const message = `bytes ${start} to ${end} gave ${bytes.byteLength} bytes, not ${end - start}`;
  throw new FormatError(source.name, message, tensor);
}

/**
 * A source over bytes that are in memory already.
 *
 * @param siblings the files beside it, by their paths: where a model's external data is
 */
export function bytesSource(
  bytes: Uint8Array,
  name = "bytes",
  siblings: Readonly<Record<string, Uint8Array>> = {},
): ByteSource {
  return {
    name,
    byteLength: bytes.byteLength,
    slice: async (start, end) => bytes.subarray(start, end),
    async sibling(path) {
      if (Object.hasOwn(siblings, path)) return bytesSource(siblings[path]!, path);
      throw new FileError(path, "is not among the files given");
    },
  };
}

export interface BytesSink extends ByteSink {
  /** What was written, once the sink is closed. */
  result(): Uint8Array;
  /** The same for the companion with that suffix, or the sibling of that name, if one was made. */
  result(beside: string): Uint8Array | undefined;
}

/**
 * A sink that keeps what is written in memory.
 *
 * @param name that under which the bytes will be kept: what the names of files beside it begin with
 */
export function bytesSink(name = "model.onnx"): BytesSink {
  const files = new Map([["", new GrowingBytes()]]);
  function resultOf(): Uint8Array;
  function resultOf(beside: string): Uint8Array | undefined;
  function resultOf(beside = ""): Uint8Array | undefined {
    return files.get(beside)?.bytes();
  }
  return {
    name,
    write: (position, bytes) => files.get("")!.write(position, bytes),
    async companion(suffix) {
      const file = new GrowingBytes();
      files.set(suffix, file);
      return { name: name + suffix, write: (position, bytes) => file.write(position, bytes) };
    },
    async sibling(own) {
      const file = new GrowingBytes();
      files.set(own, file);
      return { name: own, write: (position, bytes) => file.write(position, bytes) };
    },
    async close() {},
    async abort() {
      files.clear();
      files.set("", new GrowingBytes());
    },
    result: resultOf,
  };
}

/** Bytes that are as many as have been written. */
class GrowingBytes {
  #buffer = new Uint8Array(0);
  #length = 0;

  async write(position: number, bytes: Uint8Array): Promise<void> {
    const end = position + bytes.byteLength;
    if (end > this.#buffer.byteLength) {
      const grown = new Uint8Array(Math.max(end, this.#buffer.byteLength * 2));
      grown.set(this.bytes());
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, position);
    this.#length = Math.max(this.#length, end);
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
}
