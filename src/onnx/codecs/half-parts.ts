import { type NarrowUnit, narrowUnit, readsOfNarrow, roomOfNarrow } from "../../pipeline/half-chunks.ts";
import type { NarrowSums } from "../../pipeline/half-conversion.ts";
import type { Work } from "../../pipeline/work.ts";
import { type OrderedPart, writeInto } from "./codec-order.ts";

/** Windows of a constant too large to be held, as halves. */
export interface NarrowPartsUnit extends NarrowUnit {
  readonly part: OrderedPart;
}

export const narrowPartsWork: Work<NarrowPartsUnit, readonly NarrowSums[]> = {
  name: "narrow parts",
  reads: readsOfNarrow,
  room: roomOfNarrow,
  run: (engine, files, unit) =>
    narrowUnit(engine, files, unit, (offset, bytes) => writeInto(files, unit.part, offset, bytes)),
};
