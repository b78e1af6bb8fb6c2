import { expect } from "vitest";

// `toEqual` compares arrays element by element, by the elements' names as properties: seconds for a megabyte. Here arrays of
// the same bytes and of the same numbers are found equal at once. Others are left to `toEqual`, which says where they differ.

function bytesAreTheSame(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (a.constructor !== b.constructor || a.byteLength !== b.byteLength) return undefined;
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0 ? true : undefined;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function numbersAreTheSame(a: unknown, b: unknown): true | undefined {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length || a.length === 0) return undefined;
  for (let i = 0; i < a.length; i++) {
    if (typeof a[i] !== "number" || !Object.is(a[i], b[i])) return undefined;
  }
  return true;
}

expect.addEqualityTesters([bytesAreTheSame, numbersAreTheSame]);
