import { convertChunks, type HalfUnit, readsOfHalf, roomOfHalf } from "../../pipeline/half-chunks.ts";
import type { HalfSums } from "../../pipeline/half-conversion.ts";
import type { Work } from "../../pipeline/work.ts";
import { type OrderedPart, writeInto } from "./codec-order.ts";

/** Chunks of a constant too large to be held, as halves. */
export interface HalfPartsUnit extends HalfUnit {
  readonly part: OrderedPart;
}

export const halfPartsWork: Work<HalfPartsUnit, readonly HalfSums[]> = {
  name: "narrow parts",
  reads: readsOfHalf,
  room: roomOfHalf,
  run: (engine, files, unit) =>
    convertChunks(engine, files, unit, (offset, bytes) => writeInto(files, unit.part, offset, bytes)),
};
