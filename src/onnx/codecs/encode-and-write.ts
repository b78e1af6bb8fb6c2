import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { NonFiniteError } from "../../errors.ts";
import { borrowBuffers, giveBuffersBack } from "../../pipeline/buffer-pool.ts";
import { NibbleWriter } from "../../pipeline/nibble-writer.ts";
import { openColumns } from "../../pipeline/read-columns.ts";
import { allInOrder } from "../../pipeline/schedule.ts";
import { openPart, roomFor, type StoredTensor, spanOf } from "../../pipeline/stored-tensor.ts";
import type { FileSpan, Files, Work } from "../../pipeline/work.ts";
import { bnb4Codec } from "./bnb4-codec.ts";
import {
  type Codec,
  type Encoded,
  type EncodedBytes,
  type JobSpec,
  type Section,
  type Stretch,
  wholeOf,
} from "./codec.ts";
import { halfCodec } from "./half-codec.ts";
import { integerCodec } from "./integer-codec.ts";
import { nbitsCodec } from "./nbits-codec.ts";

const codecs: Readonly<Record<JobSpec["kind"], unknown>> = {
  ...{ integer: integerCodec, nbits: nbitsCodec, bnb4: bnb4Codec, half: halfCodec },
};

export function codecOf({ kind }: JobSpec): Codec<JobSpec, unknown> {
  return codecs[kind] as Codec<JobSpec, unknown>;
}

/** What is made of a constant, and where each part of it goes: to as many places as have asked for the same. */
export interface Order<Spec extends JobSpec = JobSpec> {
  readonly spec: Spec;
  readonly parts: readonly OrderedPart[];
}

export interface OrderedPart {
  readonly byteLength: number;
  /** A sink's place among the files, and a position there. */
  readonly targets: readonly { readonly sink: number; readonly position: number }[];
}

/** A stretch of a constant, and all that is made of it. */
export interface EncodeUnit extends Stretch {
  readonly tensor: StoredTensor;
  readonly orders: readonly Order[];
  readonly nonFinite: NonFinite;
}

/** What is known of an order's stretch once it is encoded, section by section. */
export interface EncodedStretch {
  readonly sums: readonly unknown[];
  /** Bytes of each part, in halves where two codes share a byte. */
  readonly written: readonly number[];
  readonly shared: readonly NonNullable<Encoded<unknown>["shared"]>[];
}

/** Encodes a stretch of a constant for all orders, which share what is read; a result for each, in their order. */
export const encodeWork: Work<EncodeUnit, readonly EncodedStretch[]> = {
  name: "encode",
  reads: ({ tensor, sections = allOf(tensor) }) => sections.flatMap((section) => spansOf(tensor, section)),
  room: ({ tensor, sections = allOf(tensor) }) => Math.max(...sections.map(({ length }) => roomFor(tensor, length))),
  sent: withOwnRange,
  async run(engine, files, { tensor, sections, orders, nonFinite, range }) {
    const stretches = orders.map(({ spec, parts }) => ({
      ...{ spec, parts, sums: [] as unknown[], shared: [] as NonNullable<Encoded<unknown>["shared"]>[] },
      written: parts.map(() => 0),
      nibbles: new NibbleWriter({ write: (position, bytes) => writePart(files, parts[0]!, position, bytes) }, 0),
    }));
    const buffers = borrowBuffers(engine);
    try {
      const tools = { engine, nonFinite, buffers, range, shape: tensor.shape };
      for (const section of sections ?? allOf(tensor)) {
        const open = await (section.isColumns ? openColumns : openPart)(engine, files, tensor, section);
        try {
          for (const { spec, parts, sums, shared, written, nibbles } of stretches) {
            const codec = codecOf(spec);
            const own = sections ? section : codec.whole(tensor, spec);
            const made = within(tensor, own, () => codec.encode(open.values, spec, own, tools));
            sums.push(made.sums);
            if (made.shared) shared.push(made.shared);
            for (const { part, bytes } of made.bytes) written[part]! += bytes.byteLength;
            if (made.nibbles) written[0]! += made.nibbles.length / 2;
            try {
              await writeAll(files, parts, made.bytes);
              if (made.nibbles) await nibbles.write(made.nibbles.first, made.nibbles.length, made.nibbles.codes);
            } finally {
              made.release?.();
            }
          }
        } finally {
          open.close();
        }
      }
      for (const { nibbles } of stretches) await nibbles.end();
      return stretches.map(({ sums, shared, written }) => ({ sums, shared, written }));
    } finally {
      giveBuffersBack(engine, buffers);
    }
  },
};

/** A unit with the ranges of its own groups alone. */
function withOwnRange(unit: EncodeUnit): EncodeUnit {
  const { range, sections } = unit;
  if (!range || !sections) return unit;
  const first = Math.min(...sections.map((section) => section.first));
  const end = Math.max(...sections.map((section) => section.first + section.count));
  const own = (values: Float32Array) => values.slice(first - range.first, end - range.first);
  return { ...unit, range: { first, min: own(range.min), max: own(range.max) } };
}

/** A constant that is read at once. */
function allOf(tensor: StoredTensor): readonly Section[] {
  return [wholeOf(tensor, 0, 0)];
}

/** What a section reads: a piece of each row where it is columns of a matrix [K, N]. */
function spansOf(tensor: StoredTensor, section: Section): FileSpan[] {
  if (!section.isColumns) return [spanOf(tensor, section)];
  const [k, n] = tensor.shape as [number, number];
  return Array.from({ length: k }, (_, row) =>
    spanOf(tensor, { start: row * n + section.first, length: section.count }),
  );
}

/** Writes that are under way at once: columns of a transposed matrix are many. */
const WRITES_AT_ONCE = 16;

/** Writes what a section became, and ends when nothing is being written any more, also where something fails. */
async function writeAll(files: Files, parts: readonly OrderedPart[], all: readonly EncodedBytes[]): Promise<void> {
  for (let i = 0; i < all.length; i += WRITES_AT_ONCE) {
    const some = all.slice(i, i + WRITES_AT_ONCE);
    await allInOrder(some.map(({ part, offset, bytes }) => writePart(files, parts[part]!, offset, bytes)));
  }
}

/** Writes some of a part's bytes, from its byte `offset` on, to all of its places. */
export async function writePart(
  { sinks }: Files,
  { byteLength, targets }: OrderedPart,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  const end = offset + bytes.byteLength;
  if (end > byteLength) throw new Error(`bytes ${offset} to ${end} made, ${byteLength} planned`);
  await allInOrder(targets.map(({ sink, position }) => sinks[sink]!.write(position + offset, bytes)));
}

/** An index within a section is one within the constant to whoever reads of it. */
function within<T>({ shape }: StoredTensor, { start, first, count, isColumns }: Section, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    const { value, index, tensor } = error;
    const at = isColumns ? Math.floor(index / count) * shape[1]! + first + (index % count) : start + index;
    throw new NonFiniteError(value, at, tensor);
  }
}
