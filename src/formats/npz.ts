/**
 * NumPy's .npz files: a zip of .npy files, stored (`np.savez`) or deflated (`np.savez_compressed`).
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.savez.html
 */
import { type Entry, type FileEntry, type Reader, ZipReader } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { FormatError, isWasmQuantError } from "../errors.ts";
import { type ArrayType, viewOf } from "./floats.ts";
import { show } from "./json.ts";
import { type NpyDType, readNpyHeader } from "./npy.ts";
import { type ByteSource, bytesSource, readExactly } from "./source.ts";

/** Half-precision floats are held as their bits, booleans as 0 and 1. */
export type NpyData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export interface NpyArray {
  readonly descr: NpyDType;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  readonly data: NpyData;
}

export interface NpzArray {
  /** As NumPy calls it: the member's name without its ".npy". */
  readonly name: string;
  /**
   * Takes the array out of the file, anew at each call: of a file of many arrays only those in use need memory.
   *
   * @throws FormatError when the member is damaged or no .npy file.
   */
  read(): Promise<NpyArray>;
}

const arrayTypes: Readonly<Record<NpyDType, ArrayType<NpyData>>> = {
  "<f2": Uint16Array,
  "<f4": Float32Array,
  "<f8": Float64Array,
  "|i1": Int8Array,
  "|u1": Uint8Array,
  "<i2": Int16Array,
  "<u2": Uint16Array,
  "<i4": Int32Array,
  "<u4": Uint32Array,
  "<i8": BigInt64Array,
  "<u8": BigUint64Array,
  "|b1": Uint8Array,
};

/** The two methods that NumPy writes. */
const STORED = 0;
const DEFLATED = 8;

/** A byte of deflate stands for 1032 bytes at the most: 258 of them for each two bits. */
const MAX_EXPANSION = 1032;

/** What the reader is asked for at once while a member is read. */
const CHUNK = 2 ** 18;

/**
 * What is in a .npz file, in its order. Reads the list of members and none of their data.
 *
 * @throws FormatError for a file that is no zip, and for members that NumPy does not write.
 */
export async function readNpz(source: ByteSource): Promise<NpzArray[]> {
  const entries = await listEntries(source);
  const names = new Set<string>();
  return entries.map((entry) => {
    const name = nameOf(source.name, entry);
    if (names.has(name)) throw new FormatError(source.name, "is there twice", name);
    names.add(name);
    return { name, read: () => readArray(source.name, name, checkEntry(source.name, name, entry)) };
  });
}

async function listEntries(source: ByteSource): Promise<Entry[]> {
  const options = {
    useWebWorkers: false,
    checkCrc32: true,
    // names are those of tensors, "/model/x" among them, and never become paths
    filenameValidation: "tolerant",
  } as const;
  try {
    return await new ZipReader(readerOf(source), options).getEntries();
  } catch (cause) {
    throw explain(cause, (reason) => new FormatError(source.name, `not a .npz file (${reason})`, undefined, { cause }));
  }
}

/** A zip reader's view of `source`: what lies beyond the end comes out short, and is then missed. */
function readerOf(source: ByteSource): Reader<ByteSource> {
  const { byteLength: size } = source;
  const readUint8Array = (index: number, length: number) =>
    readExactly(source, Math.min(index, size), Math.min(index + length, size));
  const createReadable = ({ offset = 0, size: length = size }: { offset?: number; size?: number } = {}) => {
    const end = Math.min(offset + length, size);
    let at = offset;
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const bytes = await readUint8Array(at, Math.min(CHUNK, end - at));
        at += bytes.byteLength;
        if (bytes.byteLength > 0) controller.enqueue(bytes);
        if (at >= end) controller.close();
      },
    });
  };
  return {
    size,
    readUint8Array,
    createReadable,
    get readable() {
      return createReadable();
    },
  };
}

function nameOf(file: string, { filename }: Entry): string {
  if (filename.endsWith(".npy")) return filename.slice(0, -".npy".length);
  throw new FormatError(file, `member ${show(filename)} is not a .npy file; np.savez writes nothing else`);
}

/** Holds what the zip says of a member against what NumPy writes and what is possible. */
function checkEntry(file: string, name: string, entry: Entry): FileEntry {
  const fail = (message: string) => new FormatError(file, message, name);
  const { compressionMethod: method, compressedSize, uncompressedSize } = entry;
  if (entry.directory) throw fail("is a folder, not a .npy file");
  if (entry.encrypted) throw fail("is encrypted; save it without a password");
  if (method !== STORED && method !== DEFLATED) {
    throw fail(`compression method ${method}; save with np.savez or np.savez_compressed`);
  }
  const most = method === STORED ? compressedSize : compressedSize * MAX_EXPANSION;
  if (uncompressedSize > most) throw fail(`${compressedSize} bytes cannot hold the ${uncompressedSize} they should`);
  return entry;
}

async function readArray(file: string, name: string, entry: FileEntry): Promise<NpyArray> {
  const bytes = await readMember(file, name, entry);
  const { descr, shape, start } = await readNpyHeader(bytesSource(bytes, name)).catch((cause: Error) => {
    throw new FormatError(file, cause.message.slice(`${name}: `.length), name, { cause });
  });
  return { descr, shape, data: viewOf(arrayTypes[descr], bytes.subarray(start)) };
}

/** All bytes of a member. It is given the memory that it says it takes, and an error as soon as it wants more. */
async function readMember(file: string, name: string, entry: FileEntry): Promise<Uint8Array> {
  const bytes = allocate(file, name, entry.uncompressedSize);
  let filled = 0;
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      bytes.set(chunk, filled);
      filled += chunk.byteLength;
    },
  });
  try {
    await entry.getData(writable);
  } catch (cause) {
    throw explain(cause, (reason) => new FormatError(file, `damaged (${reason})`, name, { cause }));
  }
  return bytes;
}

function allocate(file: string, name: string, byteLength: number): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new FormatError(file, `no room for ${byteLength} bytes at once`, name, { cause });
  }
}

/** This library's own errors, those of the file beneath, stand as they are; of others `fail` says the first line. */
function explain(cause: unknown, fail: (reason: string) => Error): unknown {
  if (isWasmQuantError(cause)) return cause;
  return fail((cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!);
}
