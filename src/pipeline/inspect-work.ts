import { type LossSums, lossOf } from "../engine/measure/quantization-error.ts";
import { release } from "../engine/tensors/resident-tensor.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import { NonFiniteError } from "../errors.ts";
import { type ChunkQuantization, measureWork, passesOver, type QuantizeUnit } from "./quantize-chunks.ts";
import { quantizeStored, rangeStored } from "./quantize-stored.ts";
import type { Schedule } from "./schedule.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "./stored-tensor.ts";
import type { Files, Work } from "./work.ts";

/** What is asked about a tensor: its range, and what it would lose to each quantization. */
interface Question {
  readonly tensor: StoredTensor;
  readonly quantizations: readonly ChunkQuantization[];
}

interface Answer {
  readonly min: number;
  readonly max: number;
  readonly sums: readonly LossSums[];
}

/** Answers from one reading. */
export const inspectWork: Work<Question, Answer> = {
  name: "inspect",
  reads: ({ tensor }) => [spanOf(tensor, wholeOf(tensor))],
  room: ({ tensor }) => roomFor(tensor, elementsOf(tensor.shape)),
  async run(engine, files, { tensor, quantizations }) {
    return withPart(engine, files, tensor, wholeOf(tensor), async (values) => {
      const { min, max } = engine.range(values);
      const sums = quantizations.map(({ granularity, ...how }) => {
        const { q, sums } = engine.quantizeWithError(values, { ...how, ...granularity });
        release(q);
        return sums;
      });
      return { min: min[0]!, max: max[0]!, sums };
    });
  },
};

function wholeOf({ shape }: StoredTensor) {
  return { start: 0, length: elementsOf(shape), shape };
}

/** Of a schedule for inspections: what cannot be quantized is a finding. */
export function isFinding(error: unknown): error is NonFiniteError {
  return error instanceof NonFiniteError;
}

/** What there is to know of a float tensor. */
export interface Findings {
  readonly min?: number;
  readonly max?: number;
  /** Signal-to-quantization-noise ratios in dB, one for each quantization. */
  readonly sqnr?: readonly number[];
  /** Why there is no more to know. */
  readonly reason?: string;
}

/** Finds out what a tensor would lose to each of several quantizations. */
export async function inspectStored(
  schedule: Schedule,
  files: Files,
  tensor: StoredTensor,
  share: number,
  quantizations: readonly ChunkQuantization[],
): Promise<Findings> {
  try {
    const { min, max, sums } = await answersOf(schedule, files, tensor, share, quantizations);
    return { min, max, sqnr: sums.map((each) => lossOf(each, elementsOf(tensor.shape)).sqnr) };
  } catch (error) {
    if (!isFinding(error)) throw error;
    return { reason: `holds ${error.value} at flat index ${error.index}` };
  }
}

async function answersOf(
  schedule: Schedule,
  files: Files,
  tensor: StoredTensor,
  share: number,
  quantizations: readonly ChunkQuantization[],
): Promise<Answer> {
  const all = quantizations.every((quantization) => passesOver(tensor, quantization, share).parts[0] === "whole");
  if (all && roomFor(tensor, elementsOf(tensor.shape)) <= share) {
    return schedule.run(tensor.name, 0, inspectWork, files, { tensor, quantizations });
  }
  const range = await rangeStored(schedule, files, tensor, share);
  const sums: LossSums[] = [];
  for (const quantization of quantizations) {
    const perform = (unit: QuantizeUnit) => schedule.run(tensor.name, 0, measureWork, files, unit);
    sums.push(await quantizeStored(schedule, files, tensor, quantization, share, perform));
  }
  return { ...range, sums };
}
