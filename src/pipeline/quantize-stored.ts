/** Quantization of a whole tensor of a file: cut into units, given to workers, their sums added. */
import { addSums, type LossSums } from "../engine/measure/quantization-error.ts";
import { scaleShapeOf } from "../engine/tensors/granularity.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import {
  type ChunkQuantization,
  Extremes,
  elementsIn,
  passesOver,
  type QuantizeUnit,
  rangeWork,
  type UnitSums,
} from "./quantize-chunks.ts";
import { allInOrder, type Schedule } from "./schedule.ts";
import { searchRanges } from "./search-ranges.ts";
import type { StoredTensor } from "./stored-tensor.ts";
import type { Files } from "./work.ts";

/**
 * Has a tensor quantized, by as many workers as there are: `perform` has one part done, which has so many elements. Where
 * groups reach beyond parts, a pass over the file finds their ranges first.
 *
 * @param share bytes that one worker may take for a tensor
 * @returns the sums of what was lost
 */
export async function quantizeStored(
  schedule: Schedule,
  files: Files,
  tensor: StoredTensor,
  quantization: ChunkQuantization,
  share: number,
  perform: (unit: QuantizeUnit, elements: number) => Promise<UnitSums>,
): Promise<LossSums> {
  const found = unitsOf(schedule, files, tensor, quantization, share);
  // At once where nothing has to be found first: work is done in the order of the file.
  const units = found instanceof Promise ? await found : found;
  const sums = await allInOrder(units.map((unit) => perform(unit, elementsIn(unit))));
  return addSums(sums.flat());
}

/** The parts that a tensor is quantized in, with the ranges of groups that reach beyond them. @throws NonFiniteError */
export function unitsOf(
  schedule: Schedule,
  files: Files,
  tensor: StoredTensor,
  quantization: ChunkQuantization,
  share: number,
): QuantizeUnit[] | Promise<QuantizeUnit[]> {
  const { ranges, parts } = passesOver(tensor, quantization, share);
  const units = parts.map((part): QuantizeUnit => ({ tensor, quantization, part }));
  return ranges ? withRanges(schedule, files, units, share) : units;
}

async function withRanges(
  schedule: Schedule,
  files: Files,
  units: readonly QuantizeUnit[],
  share: number,
): Promise<QuantizeUnit[]> {
  const { tensor, quantization } = units[0]!;
  const groups = elementsOf(scaleShapeOf(tensor.shape, quantization.granularity));
  const { range: extremes } = await extremesOf(schedule, files, units, groups);
  const isSearched = (quantization.range ?? "minmax") !== "minmax";
  const range = isSearched ? await searchRanges(schedule, files, units, extremes, share) : extremes;
  return units.map((unit) => ({ ...unit, range }));
}

/** The extremes of a tensor as a whole. @throws NonFiniteError */
export async function rangeStored(
  schedule: Schedule,
  files: Files,
  tensor: StoredTensor,
  share: number,
): Promise<{ readonly min: number; readonly max: number }> {
  const quantization = {
    dtype: "int8",
    scheme: "asymmetric",
    granularity: {},
    reduceRange: false,
    nonFinite: "error",
  } as const;
  const { parts } = passesOver(tensor, quantization, share);
  const units = parts.map((part): QuantizeUnit => ({ tensor, quantization, part }));
  const { min, max } = (await extremesOf(schedule, files, units, 1)).range;
  return { min: min[0]!, max: max[0]! };
}

/** Those of all groups, of which there may be many: parts are added as they come. */
async function extremesOf(
  schedule: Schedule,
  files: Files,
  units: readonly QuantizeUnit[],
  groups: number,
): Promise<Extremes> {
  const all = new Extremes(0, groups);
  const found = units.map(async (unit) => all.take(await schedule.run(unit.tensor.name, 0, rangeWork, files, unit)));
  await allInOrder(found);
  return all;
}
