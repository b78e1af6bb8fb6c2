import type { CodeDType } from "../dtypes.ts";
import type { SafetensorsDType } from "../formats/safetensors.ts";

/** What became of one tensor. */
export interface TensorReport {
  readonly name: string;
  readonly shape: readonly number[];
  /** Codes by the engine's name for them (int8), all else by the file's (F32). */
  readonly from: CodeDType | SafetensorsDType;
  readonly to: CodeDType | SafetensorsDType;
  /** With scales, zero points and all. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Signal-to-quantization-noise ratio in dB; Infinity where nothing was lost, undefined where the tensor was copied. */
  readonly sqnr?: number | undefined;
  /** Largest absolute error. */
  readonly maxAbs?: number | undefined;
  /** Why it was copied as it is. */
  readonly reason?: string | undefined;
}

export interface ModelReport {
  readonly tensors: readonly TensorReport[];
  /** Of the whole files. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}
