import { bytesSource } from "../../src/formats/byte-source.ts";
import { readSafetensorsHeader } from "../../src/formats/safetensors.ts";
import { bytesOf } from "./sources.ts";

/** A file of `header` as given, and `dataBytes` zeros. */
export function fileOf(header: string | readonly number[], dataBytes = 0): Uint8Array {
  const text = bytesOf(header);
  return bytesOf(lengthOf(BigInt(text.byteLength)), text, new Uint8Array(dataBytes));
}

export function lengthOf(length: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
}

export const read = (bytes: Uint8Array) => readSafetensorsHeader(bytesSource(bytes, "m.safetensors"));

// what the Rust crate's own test_serialization expects, byte for byte
export const official = bytesOf(
  [64, 0, 0, 0, 0, 0, 0, 0],
  '{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}',
  [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64],
);
