/**
 * Where a model is to run:
 *
 * - `node`: onnxruntime-node, on the CPU;
 * - `web-wasm`: onnxruntime-web's WebAssembly build, whose kernels are the CPU's;
 * - `webgpu`: `onnxruntime-web/webgpu`, the build with ONNX Runtime's own WebGPU kernels. (The plain `onnxruntime-web` has
 *   an older set of them in JavaScript, JSEP, with fewer ops: no LSTM, no 8-bit MatMulNBits.)
 */
export type Target = "node" | "web-wasm" | "webgpu";

export const targetNames: readonly Target[] = ["node", "web-wasm", "webgpu"];

/** The version of ONNX Runtime that what is said here was seen with, where no other is named. */
export const SEEN_WITH = "1.30.0";

/**
 * How bad it is: `fails` (the model does not load or run), `falls back` (runs on the CPU, with its values copied there and
 * back), `inexact` (gives numbers that are off), `slow`, `depends` (on the device).
 */
export type TargetSeverity = "fails" | "falls back" | "inexact" | "slow" | "depends";

export const severities: readonly TargetSeverity[] = ["fails", "depends", "inexact", "falls back", "slow"];

/** What is known of an op on a target. */
export interface TargetVerdict {
  readonly severity: TargetSeverity;
  /** One line. */
  readonly reason: string;
  /** What to do about it, one line. */
  readonly advice?: string | undefined;
  /** The last version of ONNX Runtime seen with it, where the current one is free of it. */
  readonly upTo?: string | undefined;
}

/** A node of a model that a verdict holds for. */
export interface TargetFinding extends TargetVerdict {
  /** Its name, or that of its first output; undefined where it is about the model. */
  readonly node?: string | undefined;
  /** Its type, with the domain before it unless that is ONNX's own. */
  readonly op?: string | undefined;
  /** The graph within a node that it stands in, where it is not the model's own. */
  readonly graph?: string | undefined;
}
