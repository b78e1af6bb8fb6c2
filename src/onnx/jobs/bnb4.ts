import type { BlockSize, MatrixLayout } from "../../core/blocks.ts";
import { elementsOf } from "../../core/shape.ts";
import { bytesOf } from "../../core/tensor.ts";
import type { FloatDType } from "../../dtypes.ts";
import { type FloatConstant, weightTypeOf } from "../weights.ts";
import { Pending } from "../wire.ts";
import type { Job, JobSpec, Maker } from "./job.ts";

/** By the numbers that MatMulBnb4 has for them. */
export const QUANT_TYPES = ["fp4", "nf4"] as const;

export interface Bnb4Recipe {
  readonly layout: MatrixLayout;
  readonly blockSize: BlockSize;
  readonly quantType: (typeof QUANT_TYPES)[number];
}

export interface Bnb4Spec extends JobSpec {
  readonly kind: "bnb4";
  readonly recipe: Bnb4Recipe;
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
    readonly recipe: Bnb4Recipe,
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
    return { kind: "bnb4", recipe: this.recipe, scaleDtype: this.scaleDtype };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.absMax];
  }
}

export const makeBnb4: Maker<Bnb4Spec> = (values, { recipe, scaleDtype }, { engine }) => {
  const { codes, absmax, error } = engine.quantizeBnb4(values, { ...recipe, scaleDtype });
  return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, bytes: [codes, bytesOf(absmax)] };
};
