import type { CodeName } from "../abi.ts";

/** How codes of one type are stored. */
export interface Code {
  readonly bytes: 1 | 2 | 4;
  readonly max: number;
  readonly read: (view: DataView, at: number) => number;
  readonly write: (view: DataView, at: number, code: number) => void;
}

export const codes: Readonly<Record<CodeName | "I32", Code>> = {
  I8: { bytes: 1, max: 127, read: (v, at) => v.getInt8(at), write: (v, at, q) => v.setInt8(at, q) },
  U8: { bytes: 1, max: 255, read: (v, at) => v.getUint8(at), write: (v, at, q) => v.setUint8(at, q) },
  I16: { bytes: 2, max: 32767, read: (v, at) => v.getInt16(at, true), write: (v, at, q) => v.setInt16(at, q, true) },
  U16: { bytes: 2, max: 65535, read: (v, at) => v.getUint16(at, true), write: (v, at, q) => v.setUint16(at, q, true) },
  I32: {
    bytes: 4,
    max: 2147483647,
    read: (v, at) => v.getInt32(at, true),
    write: (v, at, q) => v.setInt32(at, q, true),
  },
};

/** A kernel in both forms: the reference tells rows from columns by its shape. */
export function both<T>(name: string, kernel: T): [string, T][] {
  return [
    [name, kernel],
    [`${name}Columns`, kernel],
  ];
}
