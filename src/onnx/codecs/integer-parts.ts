import { type CodeDType, codeTypes } from "../../dtypes.ts";
import type { Engine } from "../../engine/engine.ts";
import type { QuantizedTensor } from "../../engine/tensors/tensor.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import type { Chunk } from "../../engine/tiling/chunks.ts";
import { NibbleWriter } from "../../pipeline/nibble-writer.ts";
import {
  type QuantizeUnit,
  quantizeChunks,
  readsOf,
  roomOf,
  type UnitSums,
  withOwnRange,
} from "../../pipeline/quantize-chunks.ts";
import type { Files, Work } from "../../pipeline/work.ts";
import { type OrderedPart, writeInto } from "./codec-order.ts";
import { correctedParameters, type IntegerSpec } from "./integer-codec.ts";

/** Chunks of a weight too large to be held, as `IntegerJob` stores it. */
export interface IntegerPartsUnit extends QuantizeUnit {
  readonly spec: IntegerSpec;
  readonly parts: readonly OrderedPart[];
}

/** 4-bit zero points share bytes across chunks: they go back, from number `first` on. */
export interface IntegerParts {
  readonly sums: UnitSums;
  readonly zeroPoints: readonly { readonly first: number; readonly values: Int32Array }[];
}

export const integerPartsWork: Work<IntegerPartsUnit, IntegerParts> = {
  name: "integer parts",
  reads: readsOf,
  room: roomOf,
  sent: withOwnRange,
  async run(engine, files, unit) {
    const { spec, parts, tensor } = unit;
    const { quantization: recipe, form, type } = spec;
    const [codes, scale, zeroPoint] = parts as [OrderedPart, OrderedPart, OrderedPart?];
    const { bits } = codeTypes[recipe.dtype];
    const nibbles = bits === 4 ? nibbleWriter(files, codes) : undefined;
    const zeroPoints: { first: number; values: Int32Array }[] = [];
    const visit = async (q: QuantizedTensor<CodeDType>, chunk: Chunk) => {
      const { start, length, first } = chunk;
      const bytes = bytesOf(q.data);
      if (nibbles) await nibbles.write(start, length, bytes);
      else if (form.swapsLast) await writeSwapped(engine, files, codes, tensor.shape, chunk, bytes);
      else await writeInto(files, codes, (start * bits) / 8, bytes);
      await writeInto(files, scale, 4 * first, bytesOf(q.scale));
      if (!zeroPoint) return;
      if (form.zeroPoint !== undefined) await writeInto(files, zeroPoint, 0, codesOf(q, 1));
      else if (bits === 4) zeroPoints.push({ first, values: q.zeroPoint.slice() });
      else await writeInto(files, zeroPoint, (first * bits) / 8, codesOf(q, q.zeroPoint.length));
    };
    const sums = await quantizeChunks(engine, files, unit, visit, (q) => correctedParameters(q, recipe, form, type));
    await nibbles?.end();
    return { sums, zeroPoints };
  },
};

function nibbleWriter(files: Files, part: OrderedPart): NibbleWriter {
  return new NibbleWriter({ write: (position, bytes) => writeInto(files, part, position, bytes) }, 0);
}

/** The first of the zero points, in the type of codes. */
function codesOf({ dtype, zeroPoint }: QuantizedTensor<CodeDType>, count: number): Uint8Array {
  return bytesOf(codeTypes[dtype].array.from(zeroPoint.subarray(0, count)));
}

/** Codes of a chunk, a byte each, to where they belong once the last two axes have changed places. */
async function writeSwapped(
  engine: Engine,
  files: Files,
  part: OrderedPart,
  shape: readonly number[],
  { start, length, shape: own }: Chunk,
  codes: Uint8Array,
): Promise<void> {
  const [rows = 1, columns = 1] = shape.slice(-2);
  const matrix = rows * columns;
  if (length % matrix === 0) return writeInto(files, part, start, engine.transposeLast(codes, own));
  // Part of one matrix: some rows of it, or some of a row.
  const base = start - (start % matrix);
  const row = Math.floor((start - base) / columns);
  const column = (start - base) % columns;
  const count = Math.ceil(length / columns);
  const width = length / count;
  const swapped = engine.transposeLast(codes, [count, width]);
  for (let c = 0; c < width; c++) {
    const bytes = swapped.subarray(c * count, (c + 1) * count);
    await writeInto(files, part, base + (column + c) * rows + row, bytes);
  }
}
