import { intAttribute, makeNode, makeTensor } from "../graph.ts";
import { Bnb4Job, QUANT_TYPES } from "../jobs/bnb4.ts";
import { MICROSOFT } from "../rewrite/domain.ts";
import type { WeightSelection } from "../select.ts";
import type { Propose } from "./propose.ts";

export interface Bnb4Wishes extends WeightSelection {
  readonly blockSize: 16 | 32 | 64 | 128 | 256;
  readonly quantType: "fp4" | "nf4";
}

/** MatMul with a constant [K, N] on its right, as MatMulBnb4: blocks over its transpose, flat, and no tails of rows. */
export const proposeBnb4: Propose<Bnb4Wishes> = (node, constant, { blockSize, quantType }) => {
  const { shape } = constant.tensor;
  const [k = 0, n = 0] = shape;
  if (shape.length !== 2) return `MatMul with a weight of rank ${shape.length}`;
  const job = new Bnb4Job(constant, { layout: "KN", blockSize, quantType });
  return {
    job,
    tensors: (names) => [
      makeTensor(names.fresh(`${constant.name}_Bnb4`), "uint8", [job.codes.byteLength], job.codes),
      makeTensor(names.fresh(`${constant.name}_absmax`), job.scaleDtype, [job.blocks], job.absMax),
    ],
    nodes(matrix, names) {
      const [a = ""] = node.inputs;
      const attributes = [
        intAttribute("K", k),
        intAttribute("N", n),
        intAttribute("block_size", blockSize),
        intAttribute("quant_type", QUANT_TYPES.indexOf(quantType)),
      ];
      const name = node.name === "" ? "" : names.fresh(`${node.name}_Bnb4`);
      return [makeNode("MatMulBnb4", [a, ...matrix], node.outputs, { name, domain: MICROSOFT, attributes })];
    },
  };
};
