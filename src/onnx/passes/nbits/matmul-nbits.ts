import { attributeOf, intAttribute, makeNode } from "../../ir/graph.ts";
import { unfitGemm } from "../gemm-as-matmul.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import { makeProduct, type Product, storageOf } from "./nbits-tensors.ts";
import type { Propose } from "./plan-blockwise.ts";
/** MatMul with a constant [K, N] on its right. */
export const proposeMatMul: Propose<NbitsOptions> = (node, constant, options) => {
  const { shape } = constant.tensor;
  const [k = 0, n = 0] = shape;
  if (shape.length !== 2) return `MatMul with a weight of rank ${shape.length}`;
  const [output = ""] = node.outputs;
  const how = { node, k, n, ...howOf(options) };
  return {
    ...storageOf(constant, options, { layout: "KN", k, n }),
    nodes: (matrix, names) => [makeProduct("MatMulNBits", { ...how, matrix, output }, names)],
  };
};

/** Gemm as MatMulNBits, and Add where it has a C. */
export const proposeGemm: Propose<NbitsOptions> = (node, constant, options) => {
  const unfit = unfitGemm(node);
  if (unfit !== undefined) return unfit;
  const isTransposed = attributeOf(node, "transB", "int") === 1;
  const [rows = 0, columns = 0] = constant.tensor.shape;
  const [k, n] = isTransposed ? [columns, rows] : [rows, columns];
  const [output = ""] = node.outputs;
  const [, , c] = node.inputs;
  const how = { node, k, n, ...howOf(options) };
  return {
    ...storageOf(constant, options, { layout: isTransposed ? "NK" : "KN", k, n }),
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
