import { bytesOfTensor } from "./io/tensor-data.ts";
import type { Decision } from "./passes/pass-result.ts";

/** Constants that are no weights are told of one by one from this size on, in bytes. */
const WORTH_TELLING = 1024;

/** Whether reports have a line for a constant: weights always, others where they are matrices of some size. */
export function isReported({ isWeight, isPart, constant: { tensor } }: Decision): boolean {
  if (isPart) return false;
  return isWeight || (tensor.shape.length > 1 && bytesOfTensor(tensor) >= WORTH_TELLING);
}
