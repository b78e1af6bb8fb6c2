/**
 * NumPy's .npz files: a zip of .npy files, stored (`np.savez`) or deflated (`np.savez_compressed`).
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.savez.html
 */
import { FormatError } from "../errors.ts";
import { type ByteSource, bytesSource, readExactly } from "./byte-source.ts";
import { type ArrayType, viewOf } from "./float-types.ts";
import { InflatingSource } from "./inflating-source.ts";
import { show } from "./json.ts";
import { type NpyDType, readNpyHeader } from "./npy.ts";
import {
  allocate,
  checkEntry,
  damaged,
  type Entry,
  type FileEntry,
  listEntries,
  placeOf,
  STORED,
} from "./zip-entries.ts";

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

/** An array that stays where it is. */
export interface NpzMember {
  /** As NumPy calls it: the member's name without its ".npy". */
  readonly name: string;
  readonly descr: NpyDType;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Holds the array's bytes from `start` to `end`: the file itself where they are stored, else what inflates them. */
  readonly source: ByteSource;
  readonly start: number;
  readonly end: number;
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

/**
 * What is in a .npz file, in its order. Reads the list of members and none of their data.
 *
 * @throws FormatError for a file that is no zip, and for members that NumPy does not write.
 */
export async function readNpz(source: ByteSource): Promise<NpzArray[]> {
  return Array.from(await listArrays(source), ([name, entry]) => ({
    name,
    read: () => readArray(source.name, name, checkEntry(source.name, name, entry)),
  }));
}

/**
 * Where the arrays of a .npz file lie, in its order: for those too large for memory. Reads the header of each.
 *
 * Stored arrays are read without their checksum; of deflated ones it is checked by every pass that reaches the end.
 *
 * @throws FormatError for a file that is no zip, and for members that are damaged, no .npy files or of another kind
 */
export async function openNpzMembers(source: ByteSource): Promise<NpzMember[]> {
  const members: NpzMember[] = [];
  for (const [name, entry] of await listArrays(source)) {
    members.push(await openMember(source, name, checkEntry(source.name, name, entry)));
  }
  return members;
}

async function listArrays(source: ByteSource): Promise<Map<string, Entry>> {
  const arrays = new Map<string, Entry>();
  for (const entry of await listEntries(source, "a .npz file")) {
    const name = nameOf(source.name, entry);
    if (arrays.has(name)) throw new FormatError(source.name, "is there twice", name);
    arrays.set(name, entry);
  }
  return arrays;
}

function nameOf(file: string, { filename }: Entry): string {
  if (filename.endsWith(".npy")) return filename.slice(0, -".npy".length);
  throw new FormatError(file, `member ${show(filename)} is not a .npy file; np.savez writes nothing else`);
}

async function openMember(source: ByteSource, name: string, entry: FileEntry): Promise<NpzMember> {
  const place = await placeOf(source.name, name, entry);
  const { uncompressedSize: byteLength } = entry;
  if (entry.compressionMethod === STORED) {
    const slice = (start: number, end: number) => readExactly(source, place.start + start, place.start + end, name);
    const { start, ...header } = await readNpyHeader({ name: source.name, byteLength, slice }, name);
    return { name, ...header, source, start: place.start + start, end: place.end };
  }
  const crc32 = entry.crc32!; // only encrypted members may lack it
  const inflated = new InflatingSource({ name, source, ...place, byteLength, crc32 });
  const header = await readNpyHeader(inflated, name);
  await inflated.rewind(); // a pass that has begun holds memory, and there may be many members
  return { name, ...header, source: inflated, end: byteLength };
}

async function readArray(file: string, name: string, entry: FileEntry): Promise<NpyArray> {
  const bytes = await readMember(file, name, entry);
  const { descr, shape, start } = await readNpyHeader(bytesSource(bytes, file), name);
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
    throw damaged(file, name, cause);
  }
  return bytes;
}
