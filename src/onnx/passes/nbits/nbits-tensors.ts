import type { BlockSize } from "../../../engine/blockwise/quantize-matrix.ts";
import { type MatrixQuantization, NbitsJob } from "../../codecs/nbits-codec.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Attribute, intAttribute, makeNode, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
import type { SeenWeight } from "../weight-usage.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import type { Proposal } from "./plan-blockwise.ts";

type Matrix = Pick<MatrixQuantization, "layout" | "k" | "n" | "isTight">;

export type StorageOptions = Pick<
  NbitsOptions,
  "bits" | "blockSize" | "scheme" | "algorithm" | "percentile" | "scaleDtype"
>;

/** How a weight is stored as a matrix. */
export function storageOf(
  weight: SeenWeight,
  options: StorageOptions,
  matrix: Matrix,
): Pick<Proposal, "job" | "tensors"> {
  const job = jobFor(weight, options, matrix);
  const shape = [matrix.n, job.blocks, job.stride / job.blocks];
  return { job, tensors: (names) => tensorsOf(job, shape, names) };
}

/** The same of a table, whose rows are codes without blocks, and end with the last one. */
export function tableStorageOf(
  weight: SeenWeight,
  options: StorageOptions,
  { k, n }: Pick<Matrix, "k" | "n">,
): Pick<Proposal, "job" | "tensors" | "rows"> {
  // Where blocks fill rows, the codes are those of a matrix [N, K], too.
  const cut = k % options.blockSize === 0 ? {} : { isTight: true };
  const job = jobFor(weight, options, { layout: "NK", k, n, ...cut });
  const rows = [n, job.stride];
  return { job, rows, tensors: (names) => tensorsOf(job, rows, names) };
}

function jobFor(
  { constant, type }: SeenWeight,
  { bits, blockSize, scheme, algorithm, percentile, scaleDtype }: StorageOptions,
  matrix: Matrix,
): NbitsJob {
  const how = { bits, blockSize, algorithm, percentile, symmetric: scheme === "symmetric" };
  return new NbitsJob(constant, { ...matrix, ...how, scaleDtype: scaleDtype ?? type });
}

/** Codes, scales, and zero points where they are stored. */
function tensorsOf(job: NbitsJob, shape: readonly number[], names: FreshNames): Tensor[] {
  const { constant, quantization, blocks, zeroStride } = job;
  const { n, bits, scaleDtype } = quantization;
  const name = (suffix: string) => names.fresh(`${constant.name}_${suffix}`);
  const tensors = [
    makeTensor(name(`Q${bits}`), "uint8", shape, job.codes),
    makeTensor(name("scales"), scaleDtype, [n, blocks], job.scale),
  ];
  if (job.zeroPoint) tensors.push(makeTensor(name("zero_points"), "uint8", [n, zeroStride], job.zeroPoint));
  return tensors;
}

/** How the matrix of a product lies, or why it is none. */
export function sidesOf(
  node: Node,
  { constant: { tensor }, isSwapped }: SeenWeight,
  isTransposed = false,
): Pick<Matrix, "layout" | "k" | "n"> | string {
  const [first = 0, second = 0] = tensor.shape;
  if (tensor.shape.length !== 2) return `${node.opType} with a weight of rank ${tensor.shape.length}`;
  return isSwapped === isTransposed ? { layout: "KN", k: first, n: second } : { layout: "NK", k: second, n: first };
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
