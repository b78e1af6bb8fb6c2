import type { BlockSize } from "../../../engine/blockwise/quantize-matrix.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Attribute, intAttribute, makeNode, type Node } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";

/** The product of a node's first input and a matrix [K, N] that is stored in blocks. */
export interface Product {
  /** The node whose place it takes. */
  readonly node: Node;
  readonly k: number;
  readonly n: number;
  readonly blockSize: BlockSize;
  /** Names of the matrix' tensors. */
  readonly matrix: readonly string[];
  readonly output: string;
  /** What its name ends in. */
  readonly suffix: string;
  /** Those that go with the op type alone. */
  readonly attributes: readonly Attribute[];
}

export function makeProduct(
  opType: "MatMulNBits" | "MatMulBnb4",
  { node, k, n, blockSize, matrix, output, suffix, attributes: own }: Product,
  names: FreshNames,
): Node {
  const [a = ""] = node.inputs;
  const name = node.name === "" ? "" : names.fresh(`${node.name}_${suffix}`);
  const sizes = [intAttribute("K", k), intAttribute("N", n), intAttribute("block_size", blockSize)];
  // In the order of their names, as ONNX's own tools write them.
  const attributes = [...sizes, ...own].sort((a, b) => (a.name < b.name ? -1 : 1));
  return makeNode(opType, [a, ...matrix], [output], { name, domain: MICROSOFT, attributes });
}
