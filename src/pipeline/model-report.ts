import type { CodeDType } from "../dtypes.ts";
import type { SafetensorsDType } from "../formats/safetensors.ts";
import { textOf, type Words, wordsOf } from "../messages.ts";

/** A type as the file names it: F32 in safetensors, float32 in ONNX; codes by the engine's name for them. */
type TypeName = CodeDType | SafetensorsDType | (string & {});

export type RemarkCode =
  | "like"
  | "opset-raised"
  | "opset-imported"
  | "operator-rewritten"
  | "ir-version-raised"
  | "runtime-opset"
  | "inputs-dropped"
  | "quantized-already"
  | "other-tensors"
  | "other-bytes"
  | "unknown-type"
  | "functions"
  | "functions-inlined"
  | "functions-left"
  | "functions-removed"
  | "folded"
  | "not-folded"
  | "training"
  | "unchanged"
  | "larger"
  | "float-layers"
  | "slow-operator"
  | "saturation"
  | "scales-folded"
  | "outlier-channels"
  | "stored-twice"
  | "no-weights"
  | "per-channel-instead"
  | "float32-kept"
  | "runtime-support"
  | "runtime-version"
  | "clamped"
  | "raised"
  | "non-finite"
  | "flushed-to-zero"
  | "subnormal"
  | "target"
  | "config";

/** A note on a run, beside what became of each tensor (docs/errors.md lists the codes). */
export interface Remark {
  readonly code: RemarkCode;
  /** One line. */
  readonly message: string;
  /** The message in parts, in which options stand by name and value. */
  readonly words: Words;
}

export function remark(code: RemarkCode, text: string | Words): Remark {
  return { code, message: textOf(text), words: wordsOf(text) };
}

interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A float tensor of a file, or a constant of a model. */
export interface InspectedTensor extends NamedShape {
  /** Of floats, as far as they are finite. */
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** With scales and zero points, where it is quantized. */
  readonly bytes: number;
  /** Why it would not be quantized. */
  readonly reason?: string | undefined;
}

/** What a tensor lost. */
export interface Loss {
  /** Signal-to-quantization-noise ratio in dB; Infinity where nothing was lost. */
  readonly sqnr: number;
  /** Largest absolute error. */
  readonly maxAbs: number;
  /** dB that the choice of ranges gained over the extremes, where one was made. */
  readonly rangeGain?: number | undefined;
}

/** What became of one tensor; the loss is undefined where it was copied. */
export interface TensorReport extends NamedShape, Partial<Loss> {
  /** In ONNX models, the types of the nodes that use it. */
  readonly ops?: readonly string[] | undefined;
  readonly from: TypeName;
  readonly to: TypeName;
  /** With scales, zero points and all. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Why it was copied as it is. */
  readonly reason?: string | undefined;
}

export interface ModelReport {
  readonly tensors: readonly TensorReport[];
  /** What changed besides tensors, and what was passed over. */
  readonly remarks?: readonly Remark[] | undefined;
  /** Of the whole files, a model's data files among them. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}
