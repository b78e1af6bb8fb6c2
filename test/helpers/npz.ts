import { Uint8ArrayReader, Uint8ArrayWriter, ZipWriter, type ZipWriterAddDataOptions } from "@zip.js/zip.js";
import type { ByteSource } from "../../src/formats/byte-source.ts";
import { encodeNpyHeader, type NpyDType } from "../../src/formats/npy.ts";
import type { NpyData } from "../../src/formats/npz.ts";
import { bytesOf } from "./sources.ts";

/** The bytes of a .npy file. */
export const npy = (descr: NpyDType, shape: readonly number[], data: NpyData) =>
  bytesOf(encodeNpyHeader(descr, shape), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));

export type Member = readonly [name: string, bytes: Uint8Array, options?: ZipWriterAddDataOptions];

/** The bytes of a zip. */
export async function zip(...members: readonly Member[]): Promise<Uint8Array> {
  const writer = new ZipWriter(new Uint8ArrayWriter(), { useWebWorkers: false, extendedTimestamp: false });
  for (const [name, bytes, options] of members) await writer.add(name, new Uint8ArrayReader(bytes), options);
  return writer.close();
}

export const STORED = { level: 0, dataDescriptor: false } as const;
export const DEFLATED = { level: 9, dataDescriptor: false } as const;

/** Where the record of a member in the zip's directory starts. */
export function recordOf(bytes: Uint8Array, member: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = view.getUint32(bytes.byteLength - 6, true);
  for (let i = 0; i < member; i++) {
    at += 46 + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return at;
}

/** `bytes` with a number of 2 or 4 bytes of the first member put elsewhere, in the directory and before the member. */
export function patched(bytes: Uint8Array, offset: number, size: 2 | 4, value: number): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const record = recordOf(bytes, 0);
  const local = view.getUint32(record + 42, true);
  for (const at of [record + offset, local + offset - 2]) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
  }
  return copy;
}

/** Where fields lie in a record. */
export const FLAGS = 8;
export const METHOD = 10;
export const CRC32 = 16;
export const COMPRESSED_SIZE = 20;
export const UNCOMPRESSED_SIZE = 24;

/**
 * A zip of stored members in the format for large files, made up as it is read: each is `head` and zeros up to `byteLength`.
 * Their checksums are wrong.
 */
export function largeZip(
  members: readonly { readonly name: string; readonly head: Uint8Array; readonly byteLength: number }[],
): ByteSource {
  const u16 = (n: number) => [n & 255, n >> 8];
  const u32 = (n: number) => [...u16(n % 65536), ...u16(Math.floor(n / 65536))];
  const u64 = (n: number) => [...u32(n % 2 ** 32), ...u32(Math.floor(n / 2 ** 32))];
  const pieces: [start: number, bytes: Uint8Array][] = [];
  const records: number[] = [];
  let at = 0;
  const put = (bytes: Uint8Array) => {
    pieces.push([at, bytes]);
    at += bytes.byteLength;
  };
  for (const { name, head, byteLength } of members) {
    const start = at;
    const text = bytesOf(name);
    const sizes = [...u64(byteLength), ...u64(byteLength)];
    // version, flags, method, time and date; checksum; sizes, which are in the extra field
    const common = [...u16(45), ...u16(0), ...u16(0), ...u32(0), ...u32(0), ...u32(0xffffffff), ...u32(0xffffffff)];
    put(bytesOf("PK\x03\x04", common, u16(text.length), u16(20), text, u16(1), u16(16), sizes));
    put(head);
    at = start + 30 + text.length + 20 + byteLength;
    const extra = [...u16(1), ...u16(24), ...sizes, ...u64(start)];
    const rest = [...u16(0), ...u16(0), ...u16(0), ...u32(0), ...u32(0xffffffff)];
    records.push(...bytesOf("PK\x01\x02", u16(45), common, u16(text.length), u16(28), rest, text, extra));
  }
  const directory = at;
  put(Uint8Array.from(records));
  const end = at;
  const counts = [...u64(members.length), ...u64(members.length)];
  put(bytesOf("PK\x06\x06", u64(44), u16(45), u16(45), u32(0), u32(0), counts, u64(end - directory), u64(directory)));
  put(bytesOf("PK\x06\x07", u32(0), u64(end), u32(1)));
  put(bytesOf("PK\x05\x06", u32(0), u16(0xffff), u16(0xffff), u32(0xffffffff), u32(0xffffffff), u16(0)));
  return {
    name: "large.npz",
    byteLength: at,
    async slice(start, stop) {
      const bytes = new Uint8Array(stop - start);
      for (const [from, piece] of pieces) {
        const skip = Math.max(start - from, 0);
        const place = from + skip - start;
        if (place < bytes.byteLength) bytes.set(piece.subarray(skip, skip + bytes.byteLength - place), place);
      }
      return bytes;
    },
  };
}
