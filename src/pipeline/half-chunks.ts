import type { Engine } from "../engine/engine.ts";
import type { ResidentTensor } from "../engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../engine/tensors/tensor.ts";
import { cutOf, type Window, windowAt } from "../engine/tiling/chunks.ts";
import { readExactly } from "../formats/byte-source.ts";
import { viewOf } from "../formats/float-types.ts";
import { withShelf } from "./buffer-pool.ts";
import { type Run, runsOf } from "./chunk-runs.ts";
import { addNarrowSums, type Narrowing, type NarrowSums, narrowInto } from "./half-conversion.ts";
import { allInOrder } from "./schedule.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "./stored-tensor.ts";
import type { FileSpan, Files } from "./work.ts";

/** Windows `from` to `until` of a float tensor that become halves, on whatever thread. */
export interface NarrowUnit extends Run {
  readonly tensor: StoredTensor;
  readonly narrowing: Narrowing;
}

/**
 * Has a tensor made halves, by as many workers as there are: `perform` has one part done, which has so many elements.
 *
 * @returns what was lost
 */
export async function narrowStored(
  tensor: StoredTensor,
  narrowing: Narrowing,
  perform: (unit: NarrowUnit, elements: number) => Promise<readonly NarrowSums[]>,
): Promise<NarrowSums> {
  const { count } = cutOf(tensor.shape, {});
  const units = runsOf(count, tensor).map((run): NarrowUnit => ({ tensor, narrowing, ...run }));
  const elementsIn = (unit: NarrowUnit) => windowsOf(unit).reduce((sum, { length }) => sum + length, 0);
  const found = await allInOrder(units.map((unit) => perform(unit, elementsIn(unit))));
  return addNarrowSums(found.flat());
}

function windowsOf({ tensor, from, until }: NarrowUnit): Window[] {
  const cut = cutOf(tensor.shape, {});
  return Array.from({ length: until - from }, (_, i) => windowAt(cut, from + i));
}

/** What a unit reads. */
export function readsOfNarrow(unit: NarrowUnit): FileSpan[] {
  return windowsOf(unit).map((window) => spanOf(unit.tensor, window));
}

export function roomOfNarrow(unit: NarrowUnit): number {
  return Math.max(...windowsOf(unit).map(({ length }) => roomFor(unit.tensor, length)));
}

/**
 * Makes halves of a unit's windows; `write` is given those of each, from its byte `offset` in the tensor on.
 *
 * @throws FormatError, ArgumentError for a value beyond the largest half, with its index within the tensor
 */
export async function narrowUnit(
  engine: Engine,
  files: Files,
  unit: NarrowUnit,
  write: (offset: number, bytes: Uint8Array) => Promise<void>,
): Promise<readonly NarrowSums[]> {
  const found: NarrowSums[] = [];
  for (const window of windowsOf(unit)) {
    const { start, length } = window;
    await withFloats(engine, files, unit.tensor, window, (values, exact) =>
      withShelf(engine, async (shelf) => {
        const bytes = shelf.bytes(2 * length);
        found.push(narrowInto(engine, values, unit.narrowing, bytes, { base: start, exact }));
        await write(2 * start, bytes);
      }),
    );
  }
  return found;
}

type UseFloats = (values: FloatTensor | ResidentTensor, exact?: Float64Array) => Promise<void>;

/** Reads a window; float64 also as it is. */
async function withFloats(engine: Engine, files: Files, tensor: StoredTensor, window: Window, use: UseFloats) {
  if (tensor.dtype !== "F64") return withPart(engine, files, tensor, window, use);
  const { start, end } = spanOf(tensor, window);
  const exact = viewOf(Float64Array, await readExactly(files.sources[tensor.file]!, start, end, tensor.name));
  return use({ name: tensor.name, shape: window.shape, data: oddlyRounded(exact) }, exact);
}

/**
 * float64 as float32 toward 0, with the last bit set where something is lost: rounded to nearest from there, halves are
 * those nearest to the float64 (rounding to odd; Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
 * What is beyond float32 becomes its largest.
 */
function oddlyRounded(values: Float64Array): Float32Array {
  const rounded = new Float32Array(values);
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < rounded.length; i++) {
    const [exact, near] = [values[i]!, rounded[i]!];
    if (near === exact || Number.isNaN(exact)) continue;
    const toward0 = Math.abs(near) > Math.abs(exact) ? bits[i]! - 1 : bits[i]!;
    bits[i] = toward0 | 1;
  }
  return rounded;
}
