import { type ArrayOf, type CodeDType, codeTypes } from "../dtypes.ts";
import { TILE } from "../kernels/memory.ts";
import { chooseWriter } from "./codes/choose-writer.ts";
import { eachHoldsGroups, emptyParameters, holdsGroups } from "./codes/fused-parameters.ts";
import { findRange } from "./measure/find-range.ts";
import { type Loss, type LossSums, lossOf } from "./measure/quantization-error.ts";
import { writeCodesWithError } from "./quantize-with-error.ts";
import { findBestRange } from "./range-search/find-best-range.ts";
import { checkFloat, newArray } from "./tensors/check-tensors.ts";
import type { KernelContext } from "./tensors/context.ts";
import { planQuantize, type QuantizeOptions, type QuantizePlan } from "./tensors/quantize-options.ts";
import { isResident, ResidentQuantizedTensor, type ResidentTensor } from "./tensors/resident-tensor.ts";
import { needsMagnitudeOnly, type Parameters, parametersOf } from "./tensors/schemes.ts";
import { elementsOf } from "./tensors/shape.ts";
import { checkData, type FloatTensor, type NamedOperand, type QuantizedTensor } from "./tensors/tensor.ts";
import { chunkingOf } from "./tiling/chunks.ts";
import { slicesOf } from "./tiling/kernel-slices.ts";
import { RESIDENT_LIMIT } from "./tiling/tile-io.ts";

/** `Engine.quantize`: group by group where a cache holds them, else ranges first and codes in a second pass. */
export function quantizeTensor<D extends CodeDType>(
  context: KernelContext,
  tensor: FloatTensor | ResidentTensor,
  options: QuantizeOptions<D>,
): QuantizedTensor<D> {
  const { operand, plan } = planFor(tensor, options);
  // Longer groups are held by a cache where nothing has to pass through a tile.
  const isDirect = isResident(operand) && operand.dtype === "float32" && codeTypes[plan.dtype].bits > 4 && !options.out;
  const limit = isDirect && plan.layout.inner > TILE ? RESIDENT_LIMIT : TILE;
  const inTurn = mayFindInTurn(plan) && holdsGroups(plan.layout, limit);
  const { parameters } = parametersFor(context, operand, plan, inTurn);
  return writtenBy(context, operand, plan, parameters, options.out, (q) => {
    const writer = chooseWriter(context, operand, q, plan, plan.layout, parameters, { inTurn, most: limit });
    for (const slice of slicesOf(plan.layout, writer.limit, TILE)) writer.write(slice);
  });
}

/** Codes, and what they cost. */
export interface QuantizedWithError<D extends CodeDType> {
  readonly q: QuantizedTensor<D>;
  readonly loss: Loss;
  readonly sums: LossSums;
}

/** The same, and what that cost: chunk by chunk. */
export function quantizeWithError<D extends CodeDType>(
  context: KernelContext,
  tensor: FloatTensor | ResidentTensor,
  options: QuantizeOptions<D>,
): QuantizedWithError<D> {
  const { operand, plan } = planFor(tensor, options);
  const chunking = chunkingOf(operand.shape, plan.granularity);
  const inTurn = mayFindInTurn(plan) && eachHoldsGroups(chunking);
  const { parameters, extremesError } = parametersFor(context, operand, plan, inTurn, true);
  let sums: LossSums | undefined;
  const q = writtenBy(context, operand, plan, parameters, options.out, (q) => {
    sums = writeCodesWithError(context, operand, q, plan, chunking, parameters, inTurn);
  });
  const all = extremesError === undefined ? sums! : { ...sums!, extremesError };
  return { q, sums: all, loss: lossOf(all, elementsOf(operand.shape)) };
}

/** A tensor and what is to be done with it, checked against each other. */
function planFor<D extends CodeDType>(tensor: FloatTensor | ResidentTensor, options: QuantizeOptions<D>) {
  const operand = checkFloat(tensor);
  const plan = planQuantize(operand.shape, options);
  if (options.out) checkData("out", options.out, plan.dtype, operand.shape);
  return { operand, plan };
}

/** Whether the parameters of a group can be found while a cache has it: by its extremes alone. */
function mayFindInTurn({ parameters, rule }: QuantizePlan<CodeDType>): boolean {
  return !parameters && rule.name === "minmax";
}

interface FoundParameters {
  readonly parameters: Parameters;
  /** The squared error under the extremes, where another range was chosen and that is to be measured. */
  readonly extremesError?: number | undefined;
}

/** Parameters as given or found; or room for those that are going to be found as groups are quantized in turn. */
function parametersFor(
  context: KernelContext,
  operand: NamedOperand,
  plan: QuantizePlan<CodeDType>,
  inTurn: boolean,
  measure = false,
): FoundParameters {
  if (plan.parameters) return { parameters: plan.parameters };
  if (inTurn) return { parameters: emptyParameters(plan.layout, plan) };
  if (plan.rule.name !== "minmax") {
    const { range, extremesError } = findBestRange(context, operand, plan, measure);
    return { parameters: parametersOf(range, plan), extremesError };
  }
  const { layout, nonFinite } = plan;
  const how = { layout, nonFinite, magnitude: needsMagnitudeOnly(plan), name: operand.name };
  return { parameters: parametersOf(findRange(context, operand, how), plan) };
}

/** Where the codes will be, filled by `write`; given back when that goes wrong. */
function writtenBy<D extends CodeDType>(
  context: KernelContext,
  operand: NamedOperand,
  plan: QuantizePlan<D>,
  parameters: Parameters,
  out: ArrayOf<D> | undefined,
  write: (q: QuantizedTensor<D>) => void,
): QuantizedTensor<D> {
  const q = resultFor(context, operand, plan, parameters, out);
  try {
    write(q);
    return q;
  } catch (error) {
    if (isResident(q)) q.dispose();
    throw error;
  }
}

/** Without an array of the caller's, what comes out of a resident is resident. */
function resultFor<D extends CodeDType>(
  { memory }: KernelContext,
  operand: NamedOperand,
  { dtype, scheme, granularity: { axis, blockSize } }: QuantizePlan<D>,
  { scale, zeroPoint, min }: Parameters,
  out: ArrayOf<D> | undefined,
): QuantizedTensor<D> {
  const { shape } = operand;
  if (isResident(operand) && !out) {
    return new ResidentQuantizedTensor(memory, dtype, shape, { scale, zeroPoint, axis, blockSize, scheme, min });
  }
  return { dtype, shape, data: out ?? newArray(dtype, shape), scale, zeroPoint, axis, blockSize, scheme, min };
}
