import { cutOf, type Window, windowAt } from "../../core/windows.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "../../streams/stored.ts";
import type { Work } from "../../task/work.ts";
import { type OrderedPart, writeInto } from "../jobs/order.ts";
import { type NarrowSpec, type NarrowSums, narrowInto } from "./job.ts";

/** Windows of a constant too large to be held, as halves. */
export interface NarrowPartsUnit {
  readonly tensor: StoredTensor;
  readonly spec: NarrowSpec;
  readonly part: OrderedPart;
  readonly from: number;
  readonly until: number;
}

function windowsOf({ tensor, from, until }: NarrowPartsUnit): Window[] {
  const cut = cutOf(tensor.shape, {});
  return Array.from({ length: until - from }, (_, i) => windowAt(cut, from + i));
}

export const narrowPartsWork: Work<NarrowPartsUnit, readonly NarrowSums[]> = {
  name: "narrow parts",
  reads: (unit) => windowsOf(unit).map((window) => spanOf(unit.tensor, window)),
  room: (unit) => Math.max(...windowsOf(unit).map(({ length }) => roomFor(unit.tensor, length))),
  async run(engine, files, unit) {
    const found: NarrowSums[] = [];
    for (const window of windowsOf(unit)) {
      await withPart(engine, files, unit.tensor, window, async (values) => {
        const bytes = new Uint8Array(2 * window.length);
        found.push(narrowInto(engine, values, unit.spec, bytes, window.start));
        await writeInto(files, unit.part, 2 * window.start, bytes);
      });
    }
    return found;
  },
};
