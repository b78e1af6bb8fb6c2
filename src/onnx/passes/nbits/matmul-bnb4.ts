import type { BlockSize } from "../../../engine/blockwise/quantize-matrix.ts";
import { Bnb4Job } from "../../codecs/bnb4-codec.ts";
import { intAttribute, makeTensor } from "../../ir/graph.ts";
import { QUANT_TYPES } from "../../ir/operators.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";
import { makeProduct, sidesOf } from "./nbits-tensors.ts";
import type { Propose } from "./plan-blockwise.ts";

export interface Bnb4PassOptions extends WeightSelection {
  /** As NbitsWishes has it. */
  readonly usual: readonly string[];
  readonly blockSize: BlockSize;
  readonly quantType: (typeof QUANT_TYPES)[number];
}

/**
 * MatMul with a constant [K, N] on its right, which may be stored as [N, K], as MatMulBnb4: blocks over [N, K], flat, and no
 * tails of rows.
 */
export const proposeBnb4: Propose<Bnb4PassOptions> = (node, weight, { blockSize, quantType }) => {
  const sides = sidesOf(node, weight);
  if (typeof sides === "string") return sides;
  const { k, n, layout } = sides;
  const { constant, type } = weight;
  const job = new Bnb4Job(constant, { layout, blockSize, quantType }, type);
  return {
    job,
    tensors: (names) => [
      makeTensor(names.fresh(`${constant.name}_Bnb4`), "uint8", [job.codes.byteLength], job.codes),
      makeTensor(names.fresh(`${constant.name}_absmax`), job.scaleDtype, [job.blocks], job.absMax),
    ],
    nodes(matrix, names) {
      const [output = ""] = node.outputs;
      const attributes = [intAttribute("quant_type", QUANT_TYPES.indexOf(quantType))];
      const how = { node, k, n, blockSize, matrix, output, suffix: "Bnb4", attributes };
      return [makeProduct("MatMulBnb4", how, names)];
    },
  };
};
