import { attributeOf, intAttribute, makeNode, type Node } from "../graph.ts";
import type { Names } from "../names.ts";
import { MICROSOFT } from "../rewrite/domain.ts";
import { unfitGemm } from "../rewrite/gemm.ts";
import type { NbitsWishes } from "./plan.ts";
import type { Propose } from "./propose.ts";
import { storageOf } from "./store.ts";

/** MatMul with a constant [K, N] on its right. */
export const proposeMatMul: Propose<NbitsWishes> = (node, constant, wishes) => {
  const { shape } = constant.tensor;
  const [k = 0, n = 0] = shape;
  if (shape.length !== 2) return `MatMul with a weight of rank ${shape.length}`;
  const [output = ""] = node.outputs;
  return {
    ...storageOf(constant, wishes, { layout: "KN", k, n }),
    nodes: (matrix, names) => [multiply({ node, k, n, matrix, output }, wishes, names)],
  };
};

/** Gemm as MatMulNBits, and Add where it has a C. */
export const proposeGemm: Propose<NbitsWishes> = (node, constant, wishes) => {
  const unfit = unfitGemm(node);
  if (unfit !== undefined) return unfit;
  const isTransposed = attributeOf(node, "transB", "int") === 1;
  const [rows = 0, columns = 0] = constant.tensor.shape;
  const [k, n] = isTransposed ? [columns, rows] : [rows, columns];
  const [output = ""] = node.outputs;
  const [, , c] = node.inputs;
  return {
    ...storageOf(constant, wishes, { layout: isTransposed ? "NK" : "KN", k, n }),
    nodes(matrix, names) {
      if (!c) return [multiply({ node, k, n, matrix, output }, wishes, names)];
      const product = names.fresh(`${output}_MatMul`);
      const name = node.name === "" ? "" : names.fresh(`${node.name}_Add`);
      return [
        multiply({ node, k, n, matrix, output: product }, wishes, names),
        makeNode("Add", [product, c], [output], { name }),
      ];
    },
  };
};

interface Product {
  readonly node: Node;
  readonly k: number;
  readonly n: number;
  /** Names of the matrix' tensors. */
  readonly matrix: readonly string[];
  readonly output: string;
}

function multiply(
  { node, k, n, matrix, output }: Product,
  { bits, blockSize, accuracyLevel }: NbitsWishes,
  names: Names,
): Node {
  const [a = ""] = node.inputs;
  const attributes = [
    intAttribute("K", k),
    intAttribute("N", n),
    intAttribute("bits", bits),
    intAttribute("block_size", blockSize),
    ...(accuracyLevel === 0 ? [] : [intAttribute("accuracy_level", accuracyLevel)]),
  ];
  const name = node.name === "" ? "" : names.fresh(`${node.name}_Q${bits}`);
  return makeNode("MatMulNBits", [a, ...matrix], [output], { name, domain: MICROSOFT, attributes });
}
