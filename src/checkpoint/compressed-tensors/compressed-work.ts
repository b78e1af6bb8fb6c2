import type { Engine } from "../../engine/engine.ts";
import type { LossSums } from "../../engine/measure/quantization-error.ts";
import type { NonFinite, RangeOptions } from "../../engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../../engine/tensors/range-method.ts";
import { type ResidentTensor, release } from "../../engine/tensors/resident-tensor.ts";
import type { ValueRange } from "../../engine/tensors/schemes.ts";
import { bytesOf, type FloatTensor } from "../../engine/tensors/tensor.ts";
import { CHUNK, type Chunk } from "../../engine/tiling/chunks.ts";
import { viewOf } from "../../formats/float-types.ts";
import { within } from "../../pipeline/quantize-chunks.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "../../pipeline/stored-tensor.ts";
import type { Files, Work } from "../../pipeline/work.ts";
import { type CompressedPart, type Compression, groupsOf, rowsTogether } from "./compressed-layout.ts";
import { packInt32, packZeroPoints } from "./pack-int32.ts";
import { scaleBytes, storedParameters } from "./stored-scales.ts";

/** Chunks of rows that become weights of this layout. */
export interface CompressedUnit {
  readonly tensor: StoredTensor;
  readonly compression: Compression;
  readonly nonFinite: NonFinite;
  readonly weightRange?: RangeMethod | undefined;
  readonly from: number;
  readonly until: number;
  /** A sink's place among the files, and where each part of the weight begins there. */
  readonly sink: number;
  readonly places: Readonly<Partial<Record<CompressedPart, number>>>;
}

/** Rows to a chunk: as many as are not too long, and begin where words of zero points do. */
function rowsOf({ shape }: StoredTensor, compression: Compression): number {
  const together = rowsTogether(compression);
  return Math.max(Math.floor(CHUNK / shape[1]! / together), 1) * together;
}

/** How many chunks a matrix falls into: no scale reaches beyond a row. */
export function chunkCountOf(tensor: StoredTensor, compression: Compression): number {
  return Math.ceil(tensor.shape[0]! / rowsOf(tensor, compression));
}

function* windowsOf({ tensor, compression, from, until }: CompressedUnit): Generator<Chunk> {
  const [rows, columns] = tensor.shape as [number, number];
  const most = rowsOf(tensor, compression);
  const groups = groupsOf(columns, compression);
  for (let row = from * most; row < Math.min(until * most, rows); row += most) {
    const taken = Math.min(most, rows - row);
    const parameters = { first: row * groups, count: taken * groups };
    yield { start: row * columns, length: taken * columns, shape: [taken, columns], ...parameters };
  }
}

/** How many elements a unit is for. */
export function elementsIn(unit: CompressedUnit): number {
  return Array.from(windowsOf(unit), ({ length }) => length).reduce((a, b) => a + b, 0);
}

export const compressedWork: Work<CompressedUnit, readonly LossSums[]> = {
  name: "compressed-tensors",
  reads: (unit) => Array.from(windowsOf(unit), (chunk) => spanOf(unit.tensor, chunk)),
  room: (unit) => Math.max(...Array.from(windowsOf(unit), ({ length }) => roomFor(unit.tensor, length))),
  async run(engine, files, unit) {
    const sums: LossSums[] = [];
    for (const chunk of windowsOf(unit)) {
      await withPart(engine, files, unit.tensor, chunk, async (values) => {
        sums.push(await compress(engine, files, unit, chunk, values));
      });
    }
    return sums;
  },
};

async function compress(
  engine: Engine,
  files: Files,
  { tensor, compression, nonFinite, weightRange, sink, places }: CompressedUnit,
  chunk: Chunk,
  values: FloatTensor | ResidentTensor,
): Promise<LossSums> {
  const { bits, groupSize } = compression;
  const granularity = groupSize === undefined ? { axis: 0 } : { axis: 1, blockSize: groupSize };
  const ranges = within(chunk, () => rangesOf(engine, values, { ...granularity, nonFinite }, compression, weightRange));
  const { scale, zeroPoint } = storedParameters(ranges.chosen, compression, tensor.dtype);
  const dtype = bits === 4 ? "int4" : "int8";
  const how = { dtype, ...granularity, nonFinite } as const;
  const { q, sums } = engine.quantizeWithError(values, { ...how, scale, zeroPoint });
  const [rows, columns] = chunk.shape as [number, number];
  const write = (part: CompressedPart, offset: number, bytes: Uint8Array) =>
    files.sinks[sink]!.write(places[part]! + offset, bytes);
  try {
    const words = packInt32(q.data, rows, columns, bits, viewOf(Int32Array, bytesOf(q.data)));
    await write("codes", (chunk.start * bits) / 8, bytesOf(words));
  } finally {
    release(q);
  }
  const stored = scaleBytes(scale, tensor.dtype);
  const groups = chunk.count / rows;
  await write("scale", (chunk.first * stored.byteLength) / scale.length, stored);
  if (places.zeroPoint !== undefined) {
    const packed = packZeroPoints(zeroPoint, rows, groups, bits);
    await write("zeroPoint", (chunk.first * bits) / 8, bytesOf(packed));
  }
  if (!ranges.extremes) return sums;
  const before = storedParameters(ranges.extremes, compression, tensor.dtype);
  const extremes = engine.quantizeWithError(values, { ...how, ...before });
  release(extremes.q);
  return { ...sums, extremesError: extremes.sums.squared };
}

/** The ranges of groups by a method, and their extremes where that takes others. */
function rangesOf(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  options: RangeOptions,
  { bits, symmetric }: Compression,
  method: RangeMethod = "minmax",
): { readonly chosen: ValueRange; readonly extremes?: ValueRange } {
  const extremes = engine.range(values, options);
  if (method === "minmax") return { chosen: extremes };
  // Of the symmetric rules that of uint4 is the one this layout has: no negative scales.
  const dtype = bits === 8 ? "int8" : symmetric ? "uint4" : "int4";
  const scheme = symmetric ? "symmetric" : "asymmetric";
  return { chosen: engine.range(values, { ...options, method, dtype, scheme }), extremes };
}
