import { createHash } from "node:crypto";
import { expect } from "vitest";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";

export const bitsOfAll = [2, 4, 8] as const;

export const plain = { bits: 4, blockSize: 32, symmetric: true, layout: "NK" } as const;

export function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** As toEqual, which takes its time over long arrays. */
export function expectSame(a: object, b: object): void {
  const parts = (whole: object) =>
    Object.entries(whole).map(([key, part]) => (ArrayBuffer.isView(part) ? `${key} ${digest(part)}` : [key, part]));
  expect(parts(a)).toEqual(parts(b));
}

export function digest(data: ArrayBufferView): string {
  return createHash("sha256").update(bytesOf(data)).digest("hex");
}
