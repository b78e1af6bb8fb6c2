import { expect } from "vitest";

/**
 * Typed arrays of the same bytes are equal, which `toEqual` finds out element by element, by their names as properties:
 * seconds for a megabyte. Where they differ it goes on and does that.
 */
function bytesAreTheSame(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (a.constructor !== b.constructor || a.byteLength !== b.byteLength) return undefined;
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0 ? true : undefined;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

expect.addEqualityTesters([bytesAreTheSame]);
