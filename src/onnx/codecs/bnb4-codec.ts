import type { FloatDType } from "../../dtypes.ts";
import type { Sums } from "../../engine/blockwise/block-sums.ts";
import { bnb4Rows } from "../../engine/blockwise/quantize-bnb4.ts";
import type { BlockSize, MatrixLayout } from "../../engine/blockwise/quantize-matrix.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import type { QUANT_TYPES } from "../ir/operators.ts";
import { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";
import type { Codec, Job, JobSpec } from "./codec.ts";
import { lossOfRows, rowStretches, wholeMatrix } from "./matrix-rows.ts";

export interface Bnb4Quantization {
  readonly layout: MatrixLayout;
  readonly blockSize: BlockSize;
  readonly quantType: (typeof QUANT_TYPES)[number];
}

export interface Bnb4Spec extends JobSpec {
  readonly kind: "bnb4";
  readonly quantization: Bnb4Quantization;
  readonly scaleDtype: FloatDType;
}

/** A matrix as MatMulBnb4 takes it: 4-bit floats, blocks over all values of the transpose. */
export class Bnb4Job implements Job<Bnb4Spec> {
  readonly codes: Pending;
  readonly absMax: Pending;
  readonly blocks: number;

  constructor(
    readonly constant: FloatConstant,
    readonly quantization: Bnb4Quantization,
    readonly scaleDtype: FloatDType,
  ) {
    const elements = elementsOf(constant.tensor.shape);
    this.blocks = Math.ceil(elements / quantization.blockSize);
    this.codes = new Pending(Math.ceil(elements / 2));
    this.absMax = new Pending(this.blocks * (this.scaleDtype === "float32" ? 4 : 2));
  }

  get dtype(): string {
    return this.quantization.quantType;
  }

  get spec(): Bnb4Spec {
    return { kind: "bnb4", quantization: this.quantization, scaleDtype: this.scaleDtype };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.absMax];
  }
}

export const bnb4Codec: Codec<Bnb4Spec, readonly Sums[]> = {
  whole: wholeMatrix,

  cut(tensor, spec, { share }) {
    const k = tensor.shape[spec.quantization.layout === "NK" ? 1 : 0]!;
    return rowStretches(tensor, spec, bnb4Rows(k, spec.quantization.blockSize), share);
  },

  encode(values, { quantization, scaleDtype }, { first, length, count }, { engine }) {
    const start = count === 0 ? 0 : first * (length / count);
    const firstBlock = start / quantization.blockSize;
    const { codes, absmax, sums } = engine.quantizeBnb4(values, { ...quantization, scaleDtype, firstBlock });
    const scale = { part: 1, offset: firstBlock * absmax.BYTES_PER_ELEMENT, bytes: bytesOf(absmax) };
    return { sums, bytes: [{ part: 0, offset: start / 2, bytes: codes }, scale] };
  },

  lossOf: lossOfRows,
};
