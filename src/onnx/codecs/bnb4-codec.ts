import type { FloatDType } from "../../dtypes.ts";
import type { BlockSize, MatrixLayout } from "../../engine/blockwise/quantize-matrix.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import type { QUANT_TYPES } from "../ir/operators.ts";
import { Pending } from "../proto/wire-format.ts";
import { type FloatConstant, weightTypeOf } from "../weights/find-weights.ts";
import type { Encoder, Job, JobSpec } from "./codec.ts";

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
  readonly scaleDtype: FloatDType;

  constructor(
    readonly constant: FloatConstant,
    readonly recipe: Bnb4Quantization,
  ) {
    const elements = elementsOf(constant.tensor.shape);
    this.scaleDtype = weightTypeOf(constant);
    this.blocks = Math.ceil(elements / recipe.blockSize);
    this.codes = new Pending(Math.ceil(elements / 2));
    this.absMax = new Pending(this.blocks * (this.scaleDtype === "float32" ? 4 : 2));
  }

  get dtype(): string {
    return this.recipe.quantType;
  }

  get spec(): Bnb4Spec {
    return { kind: "bnb4", quantization: this.recipe, scaleDtype: this.scaleDtype };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.absMax];
  }
}

export const encodeBnb4: Encoder<Bnb4Spec> = (values, { quantization: recipe, scaleDtype }, { engine }) => {
  const { codes, absmax, error } = engine.quantizeBnb4(values, { ...recipe, scaleDtype });
  return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, bytes: [codes, bytesOf(absmax)] };
};
