import type { Engine } from "../../core/engine.ts";
import type { NonFinite } from "../../core/options.ts";
import type { ResidentTensor } from "../../core/resident.ts";
import type { FloatTensor } from "../../core/tensor.ts";
import { type ArrayOf, byteLengthOf, type CodeDType, codeTypes } from "../../dtypes.ts";
import type { FloatConstant } from "../weights.ts";
import type { Pending } from "../wire.ts";

/** What is to be made of one constant when the model is written. */
export interface Job {
  readonly constant: FloatConstant;
  /** What the constant is stored as, for reports: int8, float16. */
  readonly dtype: string;
  /** What it does: jobs of one key on the same numbers make the same bytes, part by part. */
  readonly key: string;
  /** All that it makes: codes, scales, zero points. */
  readonly parts: readonly Pending[];
  /** Makes them from the constant's values; bytes are valid until the shelf lends its room again. */
  make(values: FloatTensor | ResidentTensor, tools: Tools): Made;
}

export interface Tools {
  readonly engine: Engine;
  readonly nonFinite: NonFinite;
  readonly shelf: Shelf;
}

export interface Made {
  readonly loss: Loss;
  readonly bytes: readonly (readonly [Pending, Uint8Array])[];
}

/** What a weight lost. */
export interface Loss {
  /** In dB. */
  readonly sqnr: number;
  readonly maxAbs: number;
}

/** Bytes that are lent for one weight at a time, as many as the longest needs: fresh ones would cost page faults. */
export class Shelf {
  #buffer = new ArrayBuffer(0);

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.#buffer.byteLength < length) this.#buffer = new ArrayBuffer(length);
    return new Uint8Array(this.#buffer, 0, length);
  }

  lend<D extends CodeDType>(dtype: D, elements: number): ArrayOf<D> {
    const { buffer, length } = this.bytes(byteLengthOf(dtype, elements));
    const { array } = codeTypes[dtype];
    return new array(buffer, 0, length / array.BYTES_PER_ELEMENT) as unknown as ArrayOf<D>;
  }
}
