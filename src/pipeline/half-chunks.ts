import type { Engine } from "../engine/engine.ts";
import type { ResidentTensor } from "../engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../engine/tensors/tensor.ts";
import { type Chunk, chunkAt, chunkingOf } from "../engine/tiling/chunks.ts";
import { readExactly } from "../formats/byte-source.ts";
import { viewOf } from "../formats/float-types.ts";
import { borrowBuffers, giveBuffersBack } from "./buffer-pool.ts";
import { addHalfSums, convertInto, type HalfConversion, type HalfSums } from "./half-conversion.ts";
import { type ChunkRun, chunkRunsOf } from "./quantize-chunks.ts";
import { allInOrder } from "./schedule.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "./stored-tensor.ts";
import type { FileSpan, Files } from "./work.ts";

/** Chunks `from` to `until` of a float tensor that become halves, on whatever thread. */
export interface HalfUnit extends ChunkRun {
  readonly tensor: StoredTensor;
  readonly conversion: HalfConversion;
}

/**
 * Has a tensor made halves, by as many workers as there are: `perform` has one part done, which has so many elements.
 *
 * @returns what was lost
 */
export async function convertStored(
  tensor: StoredTensor,
  conversion: HalfConversion,
  perform: (unit: HalfUnit, elements: number) => Promise<readonly HalfSums[]>,
): Promise<HalfSums> {
  const { count } = chunkingOf(tensor.shape, {});
  const units = chunkRunsOf(count, tensor).map((run): HalfUnit => ({ tensor, conversion, ...run }));
  const elementsIn = (unit: HalfUnit) => chunksIn(unit).reduce((sum, { length }) => sum + length, 0);
  const found = await allInOrder(units.map((unit) => perform(unit, elementsIn(unit))));
  return addHalfSums(found.flat());
}

function chunksIn({ tensor, from, until }: HalfUnit): Chunk[] {
  const chunking = chunkingOf(tensor.shape, {});
  return Array.from({ length: until - from }, (_, i) => chunkAt(chunking, from + i));
}

/** What a unit reads. */
export function readsOfHalf(unit: HalfUnit): FileSpan[] {
  return chunksIn(unit).map((chunk) => spanOf(unit.tensor, chunk));
}

export function roomOfHalf(unit: HalfUnit): number {
  return Math.max(...chunksIn(unit).map(({ length }) => roomFor(unit.tensor, length)));
}

/**
 * Makes halves of a unit's chunks; `write` is given those of each, from its byte `offset` in the tensor on.
 *
 * @throws FormatError, ArgumentError for a value beyond the largest half, with its index within the tensor
 */
export async function convertChunks(
  engine: Engine,
  files: Files,
  unit: HalfUnit,
  write: (offset: number, bytes: Uint8Array) => Promise<void>,
): Promise<readonly HalfSums[]> {
  const lost: HalfSums[] = [];
  const buffers = borrowBuffers(engine);
  try {
    for (const chunk of chunksIn(unit)) {
      const { start, length } = chunk;
      await withFloats(engine, files, unit.tensor, chunk, async (values, exact) => {
        const bytes = buffers.bytes(2 * length);
        lost.push(convertInto(engine, values, unit.conversion, bytes, { base: start, exact }));
        await write(2 * start, bytes);
      });
    }
  } finally {
    giveBuffersBack(engine, buffers);
  }
  return lost;
}

type UseFloats = (values: FloatTensor | ResidentTensor, exact?: Float64Array) => Promise<void>;

/** Reads a chunk; float64 also as it is. */
async function withFloats(engine: Engine, files: Files, tensor: StoredTensor, chunk: Chunk, use: UseFloats) {
  if (tensor.dtype !== "F64") return withPart(engine, files, tensor, chunk, use);
  const { start, end } = spanOf(tensor, chunk);
  const exact = viewOf(Float64Array, await readExactly(files.sources[tensor.file]!, start, end, tensor.name));
  return use({ name: tensor.name, shape: chunk.shape, data: oddlyRounded(exact) }, exact);
}

/**
 * float64 as float32 toward 0, with the last bit set where something is lost: rounded to nearest from there, halves are
 * those nearest to the float64 (rounding to odd; Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
 * What is beyond float32 becomes its largest.
 */
function oddlyRounded(values: Float64Array): Float32Array {
  const rounded = new Float32Array(values);
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < rounded.length; i++) {
    const [exact, near] = [values[i]!, rounded[i]!];
    if (near === exact || Number.isNaN(exact)) continue;
    const toward0 = Math.abs(near) > Math.abs(exact) ? bits[i]! - 1 : bits[i]!;
    bits[i] = toward0 | 1;
  }
  return rounded;
}
