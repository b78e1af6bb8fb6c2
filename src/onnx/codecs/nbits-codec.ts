import type { FloatDType } from "../../dtypes.ts";
import type { BitWidth, BlockAlgorithm, BlockSize, MatrixLayout } from "../../engine/blockwise/quantize-matrix.ts";
import type { Engine } from "../../engine/engine.ts";
import type { ResidentTensor } from "../../engine/tensors/resident-tensor.ts";
import { bytesOf, type FloatTensor } from "../../engine/tensors/tensor.ts";
import { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";
import type { Encoder, Job, JobSpec, Tools } from "./codec.ts";

/** How a matrix is cut into blocks along K and stored: `[N, blocks, bytes]` with a scale for each block. */
export interface MatrixQuantization {
  readonly layout: MatrixLayout;
  readonly k: number;
  readonly n: number;
  readonly bits: BitWidth;
  readonly blockSize: BlockSize;
  readonly symmetric: boolean;
  readonly algorithm: BlockAlgorithm;
  readonly scaleDtype: FloatDType;
  /** Whether rows end where their values do, as a table's, and not with the last block, as a matrix'. */
  readonly isTight?: boolean;
}

export interface NbitsSpec extends JobSpec {
  readonly kind: "matrix";
  readonly quantization: MatrixQuantization;
}

/** A matrix as MatMulNBits takes it, or a table as GatherBlockQuantized does. */
export class NbitsJob implements Job<NbitsSpec> {
  readonly codes: Pending;
  readonly scale: Pending;
  readonly zeroPoint: Pending | undefined;
  /** Blocks of a column. */
  readonly blocks: number;
  /** Bytes of a column's codes. */
  readonly stride: number;

  constructor(
    readonly constant: FloatConstant,
    readonly recipe: MatrixQuantization,
  ) {
    const { n, symmetric, scaleDtype } = recipe;
    const { blocks, stride } = sizesOf(recipe);
    this.blocks = blocks;
    this.stride = stride;
    this.codes = new Pending(n * this.stride);
    this.scale = new Pending(n * this.blocks * (scaleDtype === "float32" ? 4 : 2));
    if (!symmetric) this.zeroPoint = new Pending(n * this.zeroStride);
  }

  /** Bytes of a column's zero points. */
  get zeroStride(): number {
    return Math.ceil((this.blocks * this.recipe.bits) / 8);
  }

  get dtype(): string {
    return `int${this.recipe.bits}`;
  }

  get spec(): NbitsSpec {
    return { kind: "matrix", quantization: this.recipe };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.scale, ...(this.zeroPoint ? [this.zeroPoint] : [])];
  }
}

/** Blocks of a column, and bytes of its codes. */
function sizesOf({ k, bits, blockSize, isTight }: MatrixQuantization) {
  const blocks = Math.ceil(k / blockSize);
  return { blocks, stride: ((isTight ? k : blocks * blockSize) * bits) / 8 };
}

export const encodeNbits: Encoder<NbitsSpec> = (values, spec, { engine, nonFinite, buffers }) => {
  const { n } = spec.quantization;
  const { bytes, error } = matrixBytes(engine, values, spec, { n, firstRow: 0, nonFinite, buffers });
  return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, bytes };
};

interface Rows extends Omit<Tools, "engine"> {
  /** How many, and how many there are before them. */
  readonly n: number;
  readonly firstRow: number;
}

/** Codes, scales and zero points of some rows as they are stored, and what a row takes of each. */
export function matrixBytes(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  { quantization: recipe }: NbitsSpec,
  { n, firstRow, nonFinite, buffers }: Rows,
) {
  const { bits, blockSize, symmetric, layout, scaleDtype, algorithm } = recipe;
  const { blocks, stride } = sizesOf(recipe);
  const full = (blocks * blockSize * bits) / 8;
  const out = buffers.bytes(n * full);
  const { codes, scale, zeroPoint, error, sums } = engine.quantizeMatrix(values, {
    ...{ bits, blockSize, symmetric, layout, scaleDtype, algorithm, nonFinite, out, firstRow },
  });
  if (stride < full) for (let row = 1; row < n; row++) codes.copyWithin(row * stride, row * full, row * full + stride);
  const bytes = [codes.subarray(0, n * stride), bytesOf(scale), ...(zeroPoint ? [zeroPoint] : [])];
  return { bytes, strides: [stride, blocks * scale.BYTES_PER_ELEMENT, Math.ceil((blocks * bits) / 8)], error, sums };
}
