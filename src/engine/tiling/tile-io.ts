import { type DType, dtypes } from "../../dtypes.ts";
import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import { type Layout, parameterAt } from "../tensors/granularity.ts";
import { isResident } from "../tensors/resident-tensor.ts";
import { bytesOf, type Operand } from "../tensors/tensor.ts";
import type { KernelSlice } from "./kernel-slices.ts";

/**
 * The two ends of every kernel call. Elements that live in linear memory are used where they lie; an array outside passes
 * through a tile. Half-precision floats are widened and nibbles unpacked on the way in, and back on the way out, so that
 * kernels see nothing but float32, or codes of 8, 16 or 32 bits.
 */
export interface TileSource {
  /** The most elements one call may take. */
  readonly limit: number;
  /** Where elements `start` to `start + length` can be read. */
  address(start: number, length: number): number;
}

export interface TileDestination {
  readonly limit: number;
  /** Where elements `start` to `start + length` are to be written; `commit` with the same arguments follows. */
  address(start: number, length: number): number;
  commit(start: number, length: number): void;
}

/** Elements of a float tensor. */
export function countOf({ data }: Operand): number {
  return (data as Float32Array | Uint16Array).length;
}

type TileName = "values" | "others" | "codes";

/** Residents need no tile; calls stay short all the same, since V8 swaps in better code only between calls. */
export const RESIDENT_LIMIT = 16 * TILE;

/** Between what lies outside (`raw`) and what kernels see (`tile`): `n` elements from flat index `start`. */
interface Codec {
  decode(raw: number, tile: number, n: number, start: number): void;
  encode(tile: number, raw: number, n: number, start: number): void;
}

function codecOf({ kernels }: KernelContext, dtype: DType): Codec | undefined {
  switch (dtype) {
    case "float16":
      return { decode: kernels.convertF16F32, encode: kernels.convertF32F16 };
    case "bfloat16":
      return { decode: kernels.convertBF16F32, encode: kernels.convertF32BF16 };
    case "int4":
    case "uint4": {
      const unpack = dtype === "int4" ? kernels.unpackI4 : kernels.unpackU4;
      return {
        decode: (raw, tile, n, start) => unpack(raw, tile, n, start % 2),
        encode: (tile, raw, n, start) => kernels.packNibbles(tile, raw, n, start % 2),
      };
    }
    default:
      return undefined;
  }
}

/** The bytes that hold elements `start` to `start + length`; a nibble at either end brings its whole byte. */
function spanOf(dtype: DType, start: number, length: number): { begin: number; end: number } {
  const { bits } = dtypes[dtype];
  return { begin: Math.floor((start * bits) / 8), end: Math.ceil(((start + length) * bits) / 8) };
}

/** Where in this context's memory a tensor lives, if it does. */
function residence({ memory }: KernelContext, tensor: Operand): number | undefined {
  return isResident(tensor) && tensor.livesIn(memory) ? tensor.address : undefined;
}

export function tileSourceOf(context: KernelContext, tensor: Operand, tileName: TileName): TileSource {
  const { memory } = context;
  const codec = codecOf(context, tensor.dtype);
  const tile = memory.tiles[tileName];
  const home = residence(context, tensor);
  const entry = codec ? memory.tiles.raw : tile;
  const bytes = home === undefined ? bytesOf(tensor.data) : undefined;

  const bring = (start: number, length: number): number => {
    const { begin, end } = spanOf(tensor.dtype, start, length);
    if (!bytes) return home! + begin;
    memory.view(Uint8Array, entry, end - begin).set(bytes.subarray(begin, end));
    return entry;
  };

  if (!codec) return { limit: bytes ? TILE : RESIDENT_LIMIT, address: bring };
  return {
    limit: TILE,
    address(start, length) {
      codec.decode(bring(start, length), tile, length, start);
      return tile;
    },
  };
}

/** @param asStored whether 4-bit codes are written two to a byte: a stretch then has to begin where a byte does */
export function tileDestinationOf(
  context: KernelContext,
  tensor: Operand,
  tileName: TileName | "raw",
  { asStored = false } = {},
): TileDestination {
  const { memory } = context;
  const codec = asStored ? undefined : codecOf(context, tensor.dtype);
  const tile = memory.tiles[tileName];
  const home = residence(context, tensor);
  if (home !== undefined) {
    const place = (start: number) => home + spanOf(tensor.dtype, start, 0).begin;
    if (!codec) return { limit: RESIDENT_LIMIT, address: place, commit() {} };
    return {
      limit: TILE,
      address: () => tile,
      commit: (start, length) => codec.encode(tile, place(start), length, start),
    };
  }

  const bytes = bytesOf(tensor.data);
  const exit = codec ? memory.tiles.raw : tile;
  return {
    limit: TILE,
    address: () => tile,
    commit(start, length) {
      const { begin, end } = spanOf(tensor.dtype, start, length);
      if (codec) {
        // A nibble that starts within a byte joins the one written before it.
        memory.view(Uint8Array, exit, 1)[0] = bytes[begin] ?? 0;
        codec.encode(tile, exit, length, start);
      }
      bytes.set(memory.view(Uint8Array, exit, end - begin), begin);
    },
  };
}

/** Puts the parameters a slice needs into a tile, and leaves them there while the next slices need the same. */
export function parameterTileOf(
  { memory }: KernelContext,
  tile: number,
  values: Float32Array | Int32Array,
  layout: Layout,
): (slice: KernelSlice) => number {
  const Type = values instanceof Float32Array ? Float32Array : Int32Array;
  let [first, count] = [-1, -1];
  return (slice) => {
    if (slice.first === first && slice.count <= count) return tile;
    ({ first, count } = slice);
    const view = memory.view<Float32Array | Int32Array>(Type, tile, count);
    if (layout.each === 1 && layout.times === 1) view.set(values.subarray(first, first + count));
    else for (let i = 0; i < count; i++) view[i] = values[parameterAt(layout, first + i)]!;
    return tile;
  };
}
