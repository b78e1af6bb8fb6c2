import { type ArrayOf, type CodeDType, codeTypes, floatTypes } from "../../dtypes.ts";
import type { Engine } from "../../engine/engine.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf, type QuantizedTensor } from "../../engine/tensors/tensor.ts";
import { CHUNK, type Chunk, type Chunking, chunkAt, chunkingOf } from "../../engine/tiling/chunks.ts";
import { FormatError } from "../../errors.ts";
import { readExactly } from "../../formats/byte-source.ts";
import { type ArrayType, engineFloats, floatWidths, type SafetensorsFloat, viewOf } from "../../formats/float-types.ts";
import { unshifted } from "../../pipeline/nibble-writer.ts";
import { fill } from "../../pipeline/stored-tensor.ts";
import type { FileSpan, Files, Work } from "../../pipeline/work.ts";
import { type Part, type QuantizedEntry, zeroPointArrayOf } from "./plain-layout.ts";

/** Chunks of a quantized tensor that become floats again. */
export interface DequantizeUnit {
  readonly name: string;
  readonly entry: QuantizedEntry;
  /** A source's place among the files, and where each part of the tensor begins there. */
  readonly file: number;
  readonly places: Readonly<Partial<Record<Part, number>>>;
  readonly from: number;
  readonly until: number;
  /** A sink's place, and where the tensor begins there. */
  readonly sink: number;
  readonly to: number;
}

/** How a tensor is cut for it. */
export function dequantizeChunking({ shape, granularity }: QuantizedEntry): Chunking {
  return chunkingOf(shape, granularity);
}

export const dequantizeWork: Work<DequantizeUnit, void> = {
  name: "restore",
  reads: (unit) => windowsOf(unit).flatMap((chunk) => Object.values(spansOf(unit, chunk))),
  room: () => 0,
  async run(engine, files, unit) {
    const room = spare.pop() ?? { codes: new ArrayBuffer(2 * CHUNK), values: new ArrayBuffer(4 * CHUNK) };
    try {
      for (const chunk of windowsOf(unit)) {
        const q = await readWindow(files, unit, chunk, room);
        checkFinite(files.sources[unit.file]!.name, unit, chunk, q);
        const { source } = unit.entry;
        const bytes = restored(engine, q, source, room);
        await files.sinks[unit.sink]!.write(unit.to + floatWidths[source] * chunk.start, bytes);
      }
    } finally {
      spare.push(room);
    }
  },
};

/** Where a chunk is restored: its codes, and what they stand for. */
interface Room {
  readonly codes: ArrayBuffer;
  readonly values: ArrayBuffer;
}

/** Where this thread restored chunks before: of fresh arrays many would lie about before they are collected. */
const spare: Room[] = [];

function windowsOf({ entry, from, until }: DequantizeUnit): Chunk[] {
  const chunking = dequantizeChunking(entry);
  return Array.from({ length: until - from }, (_, i) => chunkAt(chunking, from + i));
}

/** Where a chunk's codes and parameters lie. */
function spansOf({ entry, file, places }: DequantizeUnit, { start, length, first, count }: Chunk) {
  const { bits } = codeTypes[entry.dtype];
  const span = (part: Part, from: number, until: number): FileSpan => {
    return { file, start: places[part]! + from, end: places[part]! + until };
  };
  const size = zeroPointArrayOf(entry.dtype).BYTES_PER_ELEMENT;
  const codes = span("codes", Math.floor((start * bits) / 8), Math.ceil(((start + length) * bits) / 8));
  const scale = span("scale", 4 * first, 4 * (first + count));
  const zeroPoint = span("zeroPoint", size * first, size * (first + count));
  const parameters = { codes, scale, zeroPoint };
  return places.min === undefined ? parameters : { ...parameters, min: span("min", 4 * first, 4 * (first + count)) };
}

async function readWindow(
  files: Files,
  unit: DequantizeUnit,
  chunk: Chunk,
  room: Room,
): Promise<QuantizedTensor<CodeDType>> {
  const { dtype, scheme, granularity } = unit.entry;
  const spans = spansOf(unit, chunk);
  const source = files.sources[unit.file]!;
  const read = ({ start, end }: FileSpan) => readExactly(source, start, end, unit.name);
  const Codes = codeTypes[dtype].array as ArrayType<ArrayOf<CodeDType>>;
  const ZeroPoints = zeroPointArrayOf(dtype) as ArrayType<ArrayOf<CodeDType>>;
  const bytes = source.read
    ? new Uint8Array(room.codes, 0, spans.codes.end - spans.codes.start)
    : await read(spans.codes);
  if (source.read) await fill(source, spans.codes, bytes, unit.name);
  const isOdd = codeTypes[dtype].bits === 4 && chunk.start % 2 === 1;
  const data = viewOf(Codes, isOdd ? unshifted(bytes, chunk.length) : bytes);
  const scale = viewOf(Float32Array, await read(spans.scale));
  const zeroPoint = Int32Array.from(viewOf(ZeroPoints, await read(spans.zeroPoint)));
  const min = "min" in spans ? viewOf(Float32Array, await read(spans.min)) : undefined;
  return { dtype, shape: chunk.shape, scheme, ...granularity, data, scale, zeroPoint, min };
}

/** A scale that is not finite would turn every value of its group into NaN or an infinity. */
function checkFinite(file: string, { name }: DequantizeUnit, { first }: Chunk, { scale, min }: QuantizedTensor): void {
  for (const [part, values] of [["scale", scale] as const, ["min", min] as const]) {
    const i = values?.findIndex((x) => !Number.isFinite(x)) ?? -1;
    if (i >= 0) throw new FormatError(file, `its ${part} holds ${values![i]} at flat index ${first + i}`, name);
  }
}

/** The bytes of the restored values in the type they had, in `room` unless they are wider. */
function restored(engine: Engine, q: QuantizedTensor, source: SafetensorsFloat, { values: room }: Room): Uint8Array {
  const length = elementsOf(q.shape);
  if (source === "F16" || source === "BF16") {
    const dtype = engineFloats[source];
    const { infinity } = floatTypes[dtype];
    const bits = engine.dequantize(q, { dtype, out: new Uint16Array(room, 0, length) }).data;
    // Half a step beyond the type's largest value is that value, not infinity.
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7fff) === infinity) bits[i]!--;
    return bytesOf(bits);
  }
  const values = engine.dequantize(q, { out: new Float32Array(room, 0, length) }).data;
  return bytesOf(source === "F64" ? Float64Array.from(values) : values);
}
