import { type NarrowUnit, narrowUnit, readsOfNarrow, roomOfNarrow } from "../pipeline/half-chunks.ts";
import type { NarrowSums } from "../pipeline/half-conversion.ts";
import type { Work } from "../pipeline/work.ts";

/** Part of a tensor that becomes halves. */
export interface HalfUnit extends NarrowUnit {
  /** A sink's place among the files, and where the tensor begins there. */
  readonly sink: number;
  readonly to: number;
}

export const halfWork: Work<HalfUnit, readonly NarrowSums[]> = {
  name: "halves",
  reads: readsOfNarrow,
  room: roomOfNarrow,
  run: (engine, files, unit) =>
    narrowUnit(engine, files, unit, (offset, bytes) => files.sinks[unit.sink]!.write(unit.to + offset, bytes)),
};
