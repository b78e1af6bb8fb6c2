import { type MatrixQuantization, NbitsJob } from "../../codecs/nbits-codec.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { makeTensor, type Tensor } from "../../ir/graph.ts";
import { type FloatConstant, weightTypeOf } from "../../weights/find-weights.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import type { Proposal } from "./plan-blockwise.ts";

type Shape = Pick<MatrixQuantization, "layout" | "k" | "n" | "isTight">;

/** How a constant is stored as a matrix. */
export function storageOf(
  constant: FloatConstant,
  { bits, blockSize, scheme, algorithm, scaleDtype }: NbitsOptions,
  shape: Shape,
): Pick<Proposal, "job" | "tensors"> {
  const how = { bits, blockSize, algorithm, symmetric: scheme === "symmetric" };
  const job = new NbitsJob(constant, { ...shape, ...how, scaleDtype: scaleDtype ?? weightTypeOf(constant) });
  return { job, tensors: (names) => tensorsOf(job, names) };
}

/** Codes, scales, and zero points where they are stored. */
function tensorsOf(job: NbitsJob, names: FreshNames): Tensor[] {
  const { constant, recipe, blocks, stride, zeroStride } = job;
  const { n, bits, scaleDtype, isTight } = recipe;
  const name = (suffix: string) => names.fresh(`${constant.name}_${suffix}`);
  const tensors = [
    makeTensor(name(`Q${bits}`), "uint8", isTight ? [n, stride] : [n, blocks, stride / blocks], job.codes),
    makeTensor(name("scales"), scaleDtype, [n, blocks], job.scale),
  ];
  if (job.zeroPoint) tensors.push(makeTensor(name("zero_points"), "uint8", [n, zeroStride], job.zeroPoint));
  return tensors;
}
