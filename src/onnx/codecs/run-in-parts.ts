import { codeTypes } from "../../dtypes.ts";
import { lossOf } from "../../engine/measure/quantization-error.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { convertStored } from "../../pipeline/half-chunks.ts";
import { quantizeStored } from "../../pipeline/quantize-stored.ts";
import { allInOrder, type Schedule } from "../../pipeline/schedule.ts";
import { roomFor, type StoredTensor, sizeOf } from "../../pipeline/stored-tensor.ts";
import type { Files } from "../../pipeline/work.ts";
import type { Bnb4Spec } from "./bnb4-codec.ts";
import type { JobSpec, Loss } from "./codec.ts";
import { type Order, writeInto } from "./codec-order.ts";
import { conversionOf, type HalfLoss, type HalfSpec } from "./half-codec.ts";
import { halfPartsWork } from "./half-parts.ts";
import { type IntegerSpec, zeroPointBytes } from "./integer-codec.ts";
import { integerPartsWork } from "./integer-parts.ts";
import { lossOfParts, matrixPartsWork, rowsPerPart, sidesOf } from "./matrix-parts.ts";
import type { NbitsSpec } from "./nbits-codec.ts";

/** Constants of more bytes are shared by workers. */
const WORTH_SHARING = 1 << 26;

/** What doing an order in parts needs to know. */
export interface InParts {
  readonly schedule: Schedule;
  readonly files: Files;
  /** Bytes that a part may take. */
  readonly share: number;
  readonly nonFinite: NonFinite;
}

/** Whether a constant is taken in parts: too large for one worker's memory, or worth sharing among several. */
export function isLarge(tensor: StoredTensor, share: number): boolean {
  return roomFor(tensor, elementsOf(tensor.shape)) > share || sizeOf(tensor) >= WORTH_SHARING;
}

/** Does an order part by part: the same bytes as at once. */
export function doInParts(how: InParts, tensor: StoredTensor, order: Order): Promise<Loss> {
  return doers[order.spec.kind](how, tensor, order as never);
}

type Doer<Spec extends JobSpec> = (how: InParts, tensor: StoredTensor, order: Order<Spec>) => Promise<Loss>;

const integer: Doer<IntegerSpec> = async ({ schedule, files, share, nonFinite }, tensor, { spec, parts }) => {
  const { dtype, scheme, granularity, reduceRange, narrowRange, groups } = spec.quantization;
  const recipe = { dtype, scheme, granularity, reduceRange, narrowRange, nonFinite };
  const zeros = parts[2];
  // 4-bit ones stand two to a byte, and so are not for workers to write.
  const packed = zeros && spec.form.zeroPoint === undefined && codeTypes[dtype].bits === 4 ? zeros : undefined;
  const zeroPoints = new Int32Array(packed ? groups : 0);
  const sums = await quantizeStored(schedule, files, tensor, recipe, share, async (unit) => {
    const made = await schedule.run(tensor.name, 0, integerPartsWork, files, { ...unit, spec, parts });
    for (const { first, values } of made.zeroPoints) zeroPoints.set(values, first);
    return made.sums;
  });
  if (packed) await writeInto(files, packed, 0, zeroPointBytes(dtype, zeroPoints));
  return lossOf(sums, elementsOf(tensor.shape));
};

const matrix: Doer<NbitsSpec | Bnb4Spec> = async ({ schedule, files, share, nonFinite }, tensor, { spec, parts }) => {
  const [n] = sidesOf(tensor, spec);
  const rows = rowsPerPart(tensor, spec, Math.min(share, WORTH_SHARING));
  const units = Array.from({ length: Math.ceil(n / rows) }, (_, i) => {
    return { tensor, spec, parts, first: i * rows, count: Math.min(rows, n - i * rows), nonFinite };
  });
  const sums = await allInOrder(units.map((unit) => schedule.run(tensor.name, 0, matrixPartsWork, files, unit)));
  return lossOfParts(sums, tensor);
};

const narrow: Doer<HalfSpec> = async ({ schedule, files }, tensor, { spec, parts: [part] }) => {
  const { sums, halves } = await convertStored(tensor, conversionOf(spec), (unit) =>
    schedule.run(tensor.name, 0, halfPartsWork, files, { ...unit, part: part! }),
  );
  const { sqnr, maxAbs } = lossOf(sums, elementsOf(tensor.shape));
  const loss: HalfLoss = { sqnr, maxAbs, halves };
  return loss;
};

const doers: Readonly<Record<JobSpec["kind"], Doer<never>>> = { integer, matrix, bnb4: matrix, narrow };
