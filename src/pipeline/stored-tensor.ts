import type { FloatDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import type { ResidentTensor } from "../engine/tensors/resident-tensor.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import { bytesOf, type FloatTensor } from "../engine/tensors/tensor.ts";
import type { Chunk } from "../engine/tiling/chunks.ts";
import { FormatError } from "../errors.ts";
import { type ByteSource, readExactly } from "../formats/byte-source.ts";
import {
  engineFloats,
  floatTensorOf,
  floatWidths,
  roundInto,
  type SafetensorsFloat,
  viewOf,
} from "../formats/float-types.ts";
import type { FileSpan, Files } from "./work.ts";

/** A float tensor as it lies in a file, little-endian, row-major. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: SafetensorsFloat;
  readonly shape: readonly number[];
  /** Where it begins: a source's place among the files, and a byte of it. */
  readonly file: number;
  readonly start: number;
  /** Whether it is read front to back at the best (`ByteSource.sequential`): by one unit then, pass by pass. */
  readonly sequential?: boolean | undefined;
}

/** Bytes of an element as it is stored. */
export function widthOf({ dtype }: StoredTensor): number {
  return floatWidths[dtype];
}

/** What the engine calls its type; undefined for float64, which has to be rounded first. */
export function residentTypeOf({ dtype }: StoredTensor): FloatDType | undefined {
  return dtype === "F64" ? undefined : engineFloats[dtype];
}

/** Where a part of a tensor lies. */
export function spanOf(tensor: StoredTensor, { start, length }: Pick<Chunk, "start" | "length">): FileSpan {
  const width = widthOf(tensor);
  const begin = tensor.start + width * start;
  return { file: tensor.file, start: begin, end: begin + width * length };
}

/** Values of a part of a tensor: in linear memory, where a source can be read to a place. */
export interface OpenPart {
  readonly values: FloatTensor | ResidentTensor;
  /** Gives the memory back. */
  close(): void;
}

/**
 * Reads a part of a tensor.
 *
 * @throws FormatError when there is less than there should be
 */
export async function openPart(
  engine: Engine,
  files: Files,
  tensor: StoredTensor,
  part: Pick<Chunk, "start" | "length" | "shape">,
): Promise<OpenPart> {
  const span = spanOf(tensor, part);
  const source = files.sources[tensor.file]!;
  const { name, dtype } = tensor;
  const type = residentTypeOf(tensor);
  if (!source.read && type !== undefined) {
    const bytes = await readExactly(source, span.start, span.end, name);
    const values = floatTensorOf(source.name, bytes, { name, dtype, shape: part.shape, start: part.start });
    return { values, close() {} };
  }
  const values = engine.reserve(type ?? "float32", part.shape);
  values.name = name;
  try {
    if (type === undefined) await fillRounded(source, span, values as ResidentTensor<"float32">, part.start);
    else await fill(source, span, bytesOf(values.data), name);
  } catch (error) {
    values.dispose();
    throw error;
  }
  return { values, close: () => values.dispose() };
}

/** Reads a part of a tensor, and closes it once `use` is done. @throws as `openPart` does */
export async function withPart<T>(
  engine: Engine,
  files: Files,
  tensor: StoredTensor,
  part: Pick<Chunk, "start" | "length" | "shape">,
  use: (values: FloatTensor | ResidentTensor) => Promise<T>,
): Promise<T> {
  const open = await openPart(engine, files, tensor, part);
  try {
    return await use(open.values);
  } finally {
    open.close();
  }
}

/** Values of float64 that are rounded at a time. */
const ROUNDED = 1 << 16;

/** float64 to linear memory as float32, a little at a time. */
async function fillRounded(
  source: ByteSource,
  { start, end }: FileSpan,
  values: ResidentTensor<"float32">,
  first: number,
): Promise<void> {
  const { name = "" } = values;
  for (let at = start; at < end; at += 8 * ROUNDED) {
    const bytes = await readExactly(source, at, Math.min(at + 8 * ROUNDED, end), name);
    const done = (at - start) / 8;
    const into = values.data.subarray(done, done + bytes.byteLength / 8);
    roundInto(source.name, name, viewOf(Float64Array, bytes), into, first + done);
  }
}

/** Fills `into` with a stretch of a source that has `read`. @throws FormatError when there is less than there should be */
export async function fill(
  source: ByteSource,
  { start, end }: FileSpan,
  into: Uint8Array,
  name: string,
): Promise<void> {
  const filled = await source.read!(start, into);
  if (filled === end - start) return;
  throw new FormatError(source.name, `bytes ${start} to ${end} gave ${filled} bytes, not ${end - start}`, name);
}

/** Bytes of linear memory for so many elements of a tensor, with codes or whatever is made of them beside. */
export function roomFor(tensor: StoredTensor, elements: number): number {
  return Math.min(widthOf(tensor), 4) * elements + 4 * elements + (1 << 20);
}

export function sizeOf(tensor: StoredTensor): number {
  return widthOf(tensor) * elementsOf(tensor.shape);
}
