import { beforeAll, expect } from "vitest";
import type { Kernels } from "../../src/kernels/abi.ts";
import { type Platform, platforms } from "../helpers/platforms.ts";

// A kernel against its reference: the same data in two memories, then everything written compared, with what lies around
// it.

let both: { readonly simd: Platform; readonly reference: Platform };
beforeAll(async () => {
  both = await platforms();
});

/** The module and the reference kernels; there once tests run. */
export function sides(): typeof both {
  return both;
}

const GUARD = 64;

/** A place for a kernel to write to, or what it reads there. */
export type Part = { readonly bytes: number } | { readonly content: ArrayBufferView };

export const written = (bytes: number): Part => ({ bytes });
export const zeros = (bytes: number): Part => ({ content: new Uint8Array(bytes) });
export const given = (content: ArrayBufferView): Part => ({ content });

/** Lays parts out on both sides, misaligned, runs a kernel on their addresses and compares every byte, and what it returns. */
export function expectSame(
  what: string,
  parts: readonly Part[],
  run: (kernels: Kernels, at: number[]) => unknown,
): void {
  const results = [both.simd, both.reference].map(({ memory, kernels }) => {
    const sizes = parts.map((part) => ("content" in part ? part.content.byteLength : part.bytes));
    const total = sizes.reduce((sum, size) => sum + size + 2 * GUARD, 0);
    const home = memory.allocate(total);
    memory.view(Uint8Array, home, total).fill(0xa5);
    let end = home;
    const addresses = sizes.map((size, i) => {
      const at = end + GUARD - (i % 4);
      end += size + 2 * GUARD;
      const part = parts[i]!;
      if ("content" in part) {
        const { buffer, byteOffset } = part.content;
        memory.view(Uint8Array, at, size).set(new Uint8Array(buffer as ArrayBuffer, byteOffset, size));
      }
      return at;
    });
    const scratch = memory.allocate(1 << 17);
    const result = run(kernels, [...addresses, scratch]);
    const bytes = memory.view(Uint8Array, home, total).slice();
    memory.free(scratch);
    memory.free(home);
    return { bytes, flag: Boolean(result) };
  });
  const [ours, theirs] = results as [(typeof results)[0], (typeof results)[0]];
  expect(ours.flag, `${what}: what is returned`).toBe(theirs.flag);
  const at = ours.bytes.findIndex((byte, i) => byte !== theirs.bytes[i]);
  expect(at, `${what}: byte ${at} is ${ours.bytes[at]}, reference ${theirs.bytes[at]}`).toBe(-1);
}
