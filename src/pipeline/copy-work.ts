import { readExactly } from "../formats/byte-source.ts";
import { copyRangesOf } from "./copy-bytes.ts";
import type { FileSpan, Work } from "./work.ts";

/** Bytes that go from file to file as they are. */
export interface CopyUnit {
  /** What they are called where something is wrong with them. */
  readonly name: string;
  readonly from: FileSpan;
  /** A sink's place among the files, and a byte of it. */
  readonly sink: number;
  readonly to: number;
}

export const copyWork: Work<CopyUnit, void> = {
  name: "copy",
  reads: ({ from }) => [from],
  room: () => 0,
  async run(_, { sources, sinks }, { name, from, sink, to }) {
    for (const { start, end } of copyRangesOf(from.start, from.end)) {
      const bytes = await readExactly(sources[from.file]!, start, end, name || undefined);
      await sinks[sink]!.write(to + start - from.start, bytes);
    }
  },
};

/** A long stretch in units; one, where it has to be read front to back. */
export function copyUnits({ from, to, ...rest }: CopyUnit, sequential = false): CopyUnit[] {
  if (sequential) return [{ from, to, ...rest }];
  return copyRangesOf(from.start, from.end).map(({ start, end }) => {
    return { ...rest, from: { ...from, start, end }, to: to + start - from.start };
  });
}
