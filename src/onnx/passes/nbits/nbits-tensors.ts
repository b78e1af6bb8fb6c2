import type { BlockSize } from "../../../engine/blockwise/quantize-matrix.ts";
import { type MatrixQuantization, NbitsJob } from "../../codecs/nbits-codec.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Attribute, intAttribute, makeNode, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
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
  const { constant, quantization, blocks, stride, zeroStride } = job;
  const { n, bits, scaleDtype, isTight } = quantization;
  const name = (suffix: string) => names.fresh(`${constant.name}_${suffix}`);
  const tensors = [
    makeTensor(name(`Q${bits}`), "uint8", isTight ? [n, stride] : [n, blocks, stride / blocks], job.codes),
    makeTensor(name("scales"), scaleDtype, [n, blocks], job.scale),
  ];
  if (job.zeroPoint) tensors.push(makeTensor(name("zero_points"), "uint8", [n, zeroStride], job.zeroPoint));
  return tensors;
}

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
