import type { Engine } from "../../engine/engine.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import type { ResidentTensor } from "../../engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../../engine/tensors/tensor.ts";
import type { Chunk } from "../../engine/tiling/chunks.ts";
import type { BufferPool } from "../../pipeline/buffer-pool.ts";
import type { Loss } from "../../pipeline/model-report.ts";
import type { Schedule } from "../../pipeline/schedule.ts";
import type { StoredTensor } from "../../pipeline/stored-tensor.ts";
import type { Files } from "../../pipeline/work.ts";
import type { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";

/** What is to be made of one constant when the model is written: a codec applied to a weight. */
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
  readonly kind: "integer" | "nbits" | "bnb4" | "half";
}

/** Tells which jobs make the same of the same numbers. */
export function keyOf({ spec }: Job): string {
  return JSON.stringify(spec);
}

/**
 * Some of a constant that is read and encoded at once, all of it where it fits: `length` elements from flat index `start`; or
 * columns of a matrix [K, N], whose elements do not lie together. `first` and `count` are of its groups, or rows of [N, K].
 */
export interface Section extends Chunk {
  readonly isColumns?: boolean | undefined;
}

/** Some of a constant that one unit of work takes, as its codec cut it; plain data. */
export interface Stretch {
  /** Undefined for the whole constant, which is one section to every codec. */
  readonly sections?: readonly Section[] | undefined;
  /** What a codec found beforehand, for the sections' groups. */
  readonly range?: { readonly first: number; readonly min: Float32Array; readonly max: Float32Array } | undefined;
}

/** How a constant is cut that is too large for one unit. */
export interface CutOptions {
  readonly schedule: Schedule;
  readonly files: Files;
  /** Bytes that a unit may take. */
  readonly share: number;
  readonly nonFinite: NonFinite;
}

export interface EncoderTools {
  readonly engine: Engine;
  readonly nonFinite: NonFinite;
  readonly buffers: BufferPool;
  readonly range: Stretch["range"];
  /** Of the whole constant. */
  readonly shape: readonly number[];
}

/** Bytes of a job's part, from its byte `offset` on. */
export interface EncodedBytes {
  readonly part: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Codes of 4 bits of a job's first part, packed from their first on, which may belong in the middle of a byte. */
export interface EncodedNibbles {
  readonly first: number;
  readonly length: number;
  readonly codes: Uint8Array;
}

/** What a section becomes; bytes are valid until the buffers are used again and `release` is called. */
export interface Encoded<Sums> {
  readonly bytes: readonly EncodedBytes[];
  readonly nibbles?: EncodedNibbles | undefined;
  /** Of the errors, as plain data. */
  readonly sums: Sums;
  /** Zero points that share bytes with those of other sections, from number `first` on. */
  readonly shared?: { readonly first: number; readonly values: Int32Array } | undefined;
  release?(): void;
}

/** How the constants of one kind of job become bytes: a constant as a whole is one section. */
export interface Codec<Spec extends JobSpec, Sums> {
  /** All of a constant. */
  whole(tensor: StoredTensor, spec: Spec): Section;
  /** A constant that is too large for one unit, cut so that the bytes are the same. */
  cut(tensor: StoredTensor, spec: Spec, options: CutOptions): readonly Stretch[] | Promise<readonly Stretch[]>;
  /** @throws NonFiniteError with the index within the section, ArgumentError */
  encode(values: FloatTensor | ResidentTensor, spec: Spec, section: Section, tools: EncoderTools): Encoded<Sums>;
  /** What the whole constant lost, by the sums of its sections. */
  lossOf(sums: readonly Sums[], tensor: StoredTensor): Loss;
  /** The bytes of a part that sections share, once all of them are encoded: its number, and what is in it. */
  joined?(spec: Spec, groups: readonly { readonly first: number; readonly values: Int32Array }[]): EncodedBytes;
}

/** A constant as one section. */
export function wholeOf({ shape }: Pick<StoredTensor, "shape">, first: number, count: number): Section {
  return { start: 0, length: shape.reduce((product, dimension) => product * dimension, 1), shape, first, count };
}
