import type { Engine } from "../../engine/engine.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import type { ResidentTensor } from "../../engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../../engine/tensors/tensor.ts";
import type { BufferPool } from "../../pipeline/buffer-pool.ts";
import type { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";

/** What is to be made of one constant when the model is written. */
export interface Job<Spec extends JobSpec = JobSpec> {
  readonly constant: FloatConstant;
  /** What the constant is stored as, for reports: int8, float16. */
  readonly dtype: string;
  /** What it does, as plain data: jobs of equal specs on the same numbers make the same bytes, part by part. */
  readonly spec: Spec;
  /** All that it makes: codes, scales, zero points. */
  readonly parts: readonly Pending[];
}

/** The kinds of jobs tell their specs apart. */
export interface JobSpec {
  readonly kind: "integer" | "matrix" | "bnb4" | "narrow";
}

/** Tells which jobs make the same of the same numbers. */
export function keyOf({ spec }: Job): string {
  return JSON.stringify(spec);
}

export interface Tools {
  readonly engine: Engine;
  readonly nonFinite: NonFinite;
  readonly buffers: BufferPool;
}

/** What makes the parts that a spec tells of from a constant's values. */
export type Encoder<Spec extends JobSpec> = (values: FloatTensor | ResidentTensor, spec: Spec, tools: Tools) => Encoded;

export interface Encoded {
  readonly loss: Loss;
  /** In the order of the job's parts; valid until the buffers lends its room again, and `release` is called. */
  readonly bytes: readonly Uint8Array[];
  readonly release?: (() => void) | undefined;
}

/** What a weight lost. */
export interface Loss {
  /** In dB. */
  readonly sqnr: number;
  readonly maxAbs: number;
}
