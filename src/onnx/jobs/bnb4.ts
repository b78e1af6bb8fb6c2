import type { BlockSize, MatrixLayout } from "../../core/blocks.ts";
import type { ResidentTensor } from "../../core/resident.ts";
import { elementsOf } from "../../core/shape.ts";
import { bytesOf, type FloatTensor } from "../../core/tensor.ts";
import type { FloatDType } from "../../dtypes.ts";
import { type FloatConstant, weightTypeOf } from "../weights.ts";
import { Pending } from "../wire.ts";
import type { Job, Made, Tools } from "./job.ts";

/** By the numbers that MatMulBnb4 has for them. */
export const QUANT_TYPES = ["fp4", "nf4"] as const;

export interface Bnb4Recipe {
  readonly layout: MatrixLayout;
  readonly blockSize: BlockSize;
  readonly quantType: (typeof QUANT_TYPES)[number];
}

/** A matrix as MatMulBnb4 takes it: 4-bit floats, blocks over all values of the transpose. */
export class Bnb4Job implements Job {
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

  get key(): string {
    return `bnb4 ${JSON.stringify(this.recipe)}`;
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.absMax];
  }

  make(values: FloatTensor | ResidentTensor, { engine }: Tools): Made {
    const { codes, absmax, error } = engine.quantizeBnb4(values, { ...this.recipe, scaleDtype: this.scaleDtype });
    const bytes = [[this.codes, codes] as const, [this.absMax, bytesOf(absmax)] as const];
    return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, bytes };
  }
}
