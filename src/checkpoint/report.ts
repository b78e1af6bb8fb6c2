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

/** Where a long task is: told before each tensor, and once at the end with `done` equal to `total`. */
export interface Progress {
  /** Bytes of tensors dealt with, of all there are. */
  readonly done: number;
  readonly total: number;
  /** The tensor that comes next. */
  readonly tensor: string;
}

export interface TaskOptions {
  /** May return a promise, which is waited for: a chance to draw, or to hear of a signal. */
  readonly onProgress?: ((progress: Progress) => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Counts bytes towards `total`, tells of it, and stops when asked to. */
export function trackerOf({ onProgress, signal }: TaskOptions, total: number) {
  let done = 0;
  const step = async (tensor: string, bytes: number): Promise<void> => {
    signal?.throwIfAborted();
    await onProgress?.({ done, total, tensor });
    signal?.throwIfAborted();
    done += bytes;
  };
  return { step, finish: () => step("", 0) };
}
