/** What a zip archive holds and where, held against what is possible; its members are read elsewhere. */
import {
  type Entry,
  type FileEntry,
  type Reader,
  WARNING_TRAILING_CENTRAL_DIRECTORY_DATA,
  ZipReader,
} from "@zip.js/zip.js/lib/zip-core-reader.js";
import { FormatError, isWasmQuantError } from "../errors.ts";
import { type ByteSource, readExactly } from "./byte-source.ts";

export type { Entry, FileEntry };

/** The two methods that NumPy writes. */
export const STORED = 0;
const DEFLATED = 8;

/** A byte of deflate stands for 1032 bytes at the most: 258 of them for each two bits. */
const MAX_EXPANSION = 1032;

/** What a source is asked for at once while a member is read whole. */
const CHUNK = 2 ** 18;

/**
 * The members of an archive, in its order. Reads the list and none of their data.
 *
 * @param kind what the file should be, for the error
 * @throws FormatError for a file that is no zip
 */
export async function listEntries(source: ByteSource, kind: string): Promise<Entry[]> {
  const options = {
    useWebWorkers: false,
    checkCrc32: true,
    // names are those of tensors, "/model/x" among them, and never become paths
    filenameValidation: "tolerant",
  } as const;
  try {
    const reader = new ZipReader(readerOf(source), options);
    const entries = await reader.getEntries();
    if (reader.warnings?.some(({ reason }) => reason === WARNING_TRAILING_CENTRAL_DIRECTORY_DATA)) {
      throw new Error(`lists more than the ${entries.length} members it counts`);
    }
    return entries;
  } catch (cause) {
    throw explain(cause, (reason) => new FormatError(source.name, `not ${kind} (${reason})`, undefined, { cause }));
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

/**
 * Holds what the zip says of a member against what NumPy writes and what is possible.
 *
 * @throws FormatError naming `file` and the array `name`
 */
export function checkEntry(file: string, name: string, entry: Entry): FileEntry {
  const fail = (message: string) => new FormatError(file, message, name);
  const { compressionMethod: method, compressedSize, uncompressedSize } = entry;
  if (entry.directory) throw fail("is a folder, not a .npy file");
  if (entry.encrypted) throw fail("is encrypted; save it without a password");
  if (method !== STORED && method !== DEFLATED) {
    throw fail(`compression method ${method}; save with np.savez or np.savez_compressed`);
  }
  if (method === STORED && uncompressedSize !== compressedSize) {
    throw fail(`stored in ${compressedSize} bytes, but said to be ${uncompressedSize}`);
  }
  if (uncompressedSize > compressedSize * MAX_EXPANSION) {
    throw fail(`${compressedSize} bytes cannot hold the ${uncompressedSize} they should`);
  }
  return entry;
}

/**
 * Where a member's bytes lie in the file, as stored or deflated.
 *
 * @throws FormatError when they are not there, or are another member's too
 */
export async function placeOf(file: string, name: string, entry: FileEntry): Promise<{ start: number; end: number }> {
  try {
    await entry.getData(new WritableStream(), { checkOverlappingEntryOnly: true }); // which is to read no data
  } catch (cause) {
    throw damaged(file, name, cause);
  }
  const start = entry.localDirectory!.dataOffset;
  return { start, end: start + entry.compressedSize };
}

/** The error for a member that `cause` was thrown over; this library's own errors stand as they are. */
export function damaged(file: string, name: string, cause: unknown): unknown {
  return explain(cause, (reason) => new FormatError(file, `damaged (${reason})`, name, { cause }));
}

/** This library's own errors, those of the file beneath, stand as they are; of others `fail` says the first line. */
function explain(cause: unknown, fail: (reason: string) => Error): unknown {
  if (isWasmQuantError(cause)) return cause;
  return fail((cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!);
}

/**
 * Memory for what comes out of a member.
 *
 * @throws FormatError when there is not as much
 */
export function allocate(file: string, name: string, byteLength: number): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new FormatError(file, `no room for ${byteLength} bytes at once`, name, { cause });
  }
}
