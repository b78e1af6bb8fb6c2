import type { NarrowSums } from "../../streams/narrow.ts";
import { type NarrowUnit, narrowUnit, readsOfNarrow, roomOfNarrow } from "../../streams/narrow-stored.ts";
import type { Work } from "../../task/work.ts";
import { type OrderedPart, writeInto } from "../jobs/order.ts";

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
