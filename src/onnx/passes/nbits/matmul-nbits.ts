import { attributeOf, intAttribute, makeNode } from "../../ir/graph.ts";
import { unfitGemm } from "../gemm-as-matmul.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import { makeProduct, type Product, sidesOf, storageOf } from "./nbits-tensors.ts";
import type { Propose } from "./plan-blockwise.ts";

/** MatMul with a constant [K, N] on its right, which may be stored as [N, K]. */
export const proposeMatMul: Propose<NbitsOptions> = (node, weight, options) => {
  const sides = sidesOf(node, weight);
  if (typeof sides === "string") return sides;
  const { k, n } = sides;
  const [output = ""] = node.outputs;
  const how = { node, k, n, ...howOf(options) };
  return {
    ...storageOf(weight, options, sides),
    nodes: (matrix, names) => [makeProduct("MatMulNBits", { ...how, matrix, output }, names)],
  };
};

/** Gemm as MatMulNBits, and Add where it has a C. */
export const proposeGemm: Propose<NbitsOptions> = (node, weight, options) => {
  const unfit = unfitGemm(node);
  if (unfit !== undefined) return unfit;
  const sides = sidesOf(node, weight, attributeOf(node, "transB", "int") === 1);
  if (typeof sides === "string") return sides;
  const { k, n } = sides;
  const [output = ""] = node.outputs;
  const [, , c] = node.inputs;
  const how = { node, k, n, ...howOf(options) };
  return {
    ...storageOf(weight, options, sides),
    nodes(matrix, names) {
      if (!c) return [makeProduct("MatMulNBits", { ...how, matrix, output }, names)];
      const product = names.fresh(`${output}_MatMul`);
      const name = node.name === "" ? "" : names.fresh(`${node.name}_Add`);
      return [
        makeProduct("MatMulNBits", { ...how, matrix, output: product }, names),
        makeNode("Add", [product, c], [output], { name }),
      ];
    },
  };
};

/** The op's own attributes, and what its name ends in. */
function howOf({ bits, blockSize, accuracyLevel }: NbitsOptions): Pick<Product, "blockSize" | "suffix" | "attributes"> {
  const level = accuracyLevel === 0 ? [] : [intAttribute("accuracy_level", accuracyLevel)];
  return { blockSize, suffix: `Q${bits}`, attributes: [intAttribute("bits", bits), ...level] };
}
