import type { Files } from "../../pipeline/work.ts";
import type { JobSpec } from "./codec.ts";

/** Where bytes go: a sink's place among the files, and a position there. */
export interface Target {
  readonly sink: number;
  readonly position: number;
}

/** What is made of a constant, and where each part of it goes: to as many places as have asked for the same. */
export interface Order<Spec extends JobSpec = JobSpec> {
  readonly spec: Spec;
  readonly parts: readonly OrderedPart[];
}

export interface OrderedPart {
  readonly byteLength: number;
  readonly targets: readonly Target[];
}

/** Writes some of a part's bytes, from its byte `offset` on, to all of its places. */
export async function writeInto(
  { sinks }: Files,
  { byteLength, targets }: OrderedPart,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  const end = offset + bytes.byteLength;
  if (end > byteLength) throw new Error(`bytes ${offset} to ${end} made, ${byteLength} planned`);
  await Promise.all(targets.map(({ sink, position }) => sinks[sink]!.write(position + offset, bytes)));
}
