import type { FloatDType } from "../../dtypes.ts";
import { SUMMED_ROWS, type Sums } from "../../engine/blockwise/block-sums.ts";
import type { BitWidth, BlockAlgorithm, BlockSize, MatrixLayout } from "../../engine/blockwise/quantize-matrix.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";
import type { Codec, Job, JobSpec } from "./codec.ts";
import { lossOfRows, rowStretches, wholeMatrix } from "./matrix-rows.ts";

/** How a matrix is cut into blocks along K and stored: `[N, blocks, bytes]` with a scale for each block. */
export interface MatrixQuantization {
  readonly layout: MatrixLayout;
  readonly k: number;
  readonly n: number;
  readonly bits: BitWidth;
  readonly blockSize: BlockSize;
  readonly symmetric: boolean;
  readonly algorithm: BlockAlgorithm;
  readonly percentile?: number | undefined;
  readonly scaleDtype: FloatDType;
  /** Whether rows end where their values do, as a table's, and not with the last block, as a matrix'. */
  readonly isTight?: boolean;
}

export interface NbitsSpec extends JobSpec {
  readonly kind: "nbits";
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
    readonly quantization: MatrixQuantization,
  ) {
    const { n, symmetric, scaleDtype } = quantization;
    const { blocks, stride } = sizesOf(quantization);
    this.blocks = blocks;
    this.stride = stride;
    this.codes = new Pending(n * this.stride);
    this.scale = new Pending(n * this.blocks * (scaleDtype === "float32" ? 4 : 2));
    if (!symmetric) this.zeroPoint = new Pending(n * this.zeroStride);
  }

  /** Bytes of a column's zero points. */
  get zeroStride(): number {
    return Math.ceil((this.blocks * this.quantization.bits) / 8);
  }

  get dtype(): string {
    return `int${this.quantization.bits}`;
  }

  get spec(): NbitsSpec {
    return { kind: "nbits", quantization: this.quantization };
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

export const nbitsCodec: Codec<NbitsSpec, readonly Sums[]> = {
  whole: wholeMatrix,
  cut: (tensor, spec, { share }) => rowStretches(tensor, spec, SUMMED_ROWS, share),

  encode(values, { quantization }, { first, count }, { engine, nonFinite, buffers }) {
    const { bits, blockSize, symmetric, layout, scaleDtype, algorithm, percentile } = quantization;
    const { blocks, stride } = sizesOf(quantization);
    const full = (blocks * blockSize * bits) / 8;
    const out = buffers.bytes(count * full);
    const { codes, scale, zeroPoint, sums } = engine.quantizeMatrix(values, {
      ...{ bits, blockSize, symmetric, layout, scaleDtype, algorithm, percentile, nonFinite, out, firstRow: first },
    });
    if (stride < full) {
      for (let row = 1; row < count; row++) codes.copyWithin(row * stride, row * full, row * full + stride);
    }
    const scaleStride = blocks * scale.BYTES_PER_ELEMENT;
    const zeroStride = Math.ceil((blocks * bits) / 8);
    const zeros = zeroPoint && { part: 2, offset: first * zeroStride, bytes: zeroPoint };
    return {
      sums,
      bytes: [
        { part: 0, offset: first * stride, bytes: codes.subarray(0, count * stride) },
        { part: 1, offset: first * scaleStride, bytes: bytesOf(scale) },
        ...(zeros ? [zeros] : []),
      ],
    };
  },

  lossOf: lossOfRows,
};
