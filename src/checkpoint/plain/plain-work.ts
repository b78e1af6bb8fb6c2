import { type CodeDType, codeTypes } from "../../dtypes.ts";
import { bytesOf, type QuantizedTensor } from "../../engine/tensors/tensor.ts";
import { NibbleWriter } from "../../pipeline/nibble-writer.ts";
import {
  type QuantizeUnit,
  quantizeChunks,
  readsOf,
  roomOf,
  type UnitSums,
  withOwnRange,
} from "../../pipeline/quantize-chunks.ts";
import type { Work } from "../../pipeline/work.ts";
import { type Part, zeroPointArrayOf } from "./plain-layout.ts";

/** Part of a tensor that becomes a part of each of its tensors in the file (plain-layout.ts). */
export interface PlainUnit extends QuantizeUnit {
  /** A sink's place among the files, and where each part of the tensor begins there. */
  readonly sink: number;
  readonly places: Readonly<Partial<Record<Part, number>>>;
}

export const plainWork: Work<PlainUnit, UnitSums> = {
  name: "plain",
  reads: readsOf,
  room: roomOf,
  sent: withOwnRange,
  async run(engine, files, unit) {
    const { places } = unit;
    const sink = files.sinks[unit.sink]!;
    const { bits } = codeTypes[unit.quantization.dtype];
    const nibbles = bits === 4 ? new NibbleWriter(sink, places.codes!) : undefined;
    const sums = await quantizeChunks(engine, files, unit, async (q, { start, length, first }) => {
      if (nibbles) await nibbles.write(start, length, bytesOf(q.data));
      else await sink.write(places.codes! + (start * bits) / 8, bytesOf(q.data));
      for (const part of ["scale", "zeroPoint", "min"] as const) {
        const place = places[part];
        if (place === undefined) continue;
        const values = parameterArray(part, q);
        await sink.write(place + first * values.BYTES_PER_ELEMENT, bytesOf(values));
      }
    });
    await nibbles?.end();
    return sums;
  },
};

function parameterArray(part: Exclude<Part, "codes">, q: QuantizedTensor<CodeDType>) {
  switch (part) {
    case "scale":
      return q.scale;
    case "zeroPoint":
      return zeroPointArrayOf(q.dtype).from(q.zeroPoint);
    case "min":
      return q.min!;
  }
}
