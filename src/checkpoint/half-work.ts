import { convertChunks, type HalfUnit, readsOfHalf, roomOfHalf } from "../pipeline/half-chunks.ts";
import type { HalfSums } from "../pipeline/half-conversion.ts";
import type { Work } from "../pipeline/work.ts";

/** Part of a tensor that becomes halves. */
export interface CheckpointHalfUnit extends HalfUnit {
  /** A sink's place among the files, and where the tensor begins there. */
  readonly sink: number;
  readonly to: number;
}

export const halfWork: Work<CheckpointHalfUnit, readonly HalfSums[]> = {
  name: "halves",
  reads: readsOfHalf,
  room: roomOfHalf,
  run: (engine, files, unit) =>
    convertChunks(engine, files, unit, (offset, bytes) => files.sinks[unit.sink]!.write(unit.to + offset, bytes)),
};
