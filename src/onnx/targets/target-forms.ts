import type { CodeDType } from "../../dtypes.ts";
import type { BitWidth } from "../../engine/blockwise/quantize-matrix.ts";
import type { Target } from "./target.ts";

/** The forms of quantized weights that a target runs, for who chooses among them. */
export interface TargetForms {
  /** What to do where layers do not run on integers, for an error; undefined where they do. */
  readonly instead: string | undefined;
  /** The type of weights' codes with which ConvInteger runs in every version since 1.22, where it does. */
  readonly convDtype: "int8" | "uint8" | undefined;
  /** Types that Cast and Mul restore; constants are restored once, when a model is loaded. */
  readonly cast: readonly CodeDType[];
  /** Types that DequantizeLinear restores without leaving for the CPU. */
  readonly dequantize: readonly CodeDType[];
  /** The type that a table of codes must have for Gather to take rows of it, where not any will do. */
  readonly table: "uint8" | undefined;
  readonly nbits: NBitsForms;
}

export interface NBitsForms {
  /** Bits that MatMulNBits takes, those that run in the oldest versions first. */
  readonly bits: readonly BitWidth[];
  /** The same of GatherBlockQuantized. */
  readonly gatherBits: readonly BitWidth[];
  /**
   * The accuracy_level to write when none is wanted. 4 lets a kernel round activations to 8 bits, in blocks: faster, and
   * about 0.5 % off. On CPUs it is taken at its word; on WebGPU it is used with K a multiple of 128, N of 16 and blocks of
   * 32 and up, on GPUs that have such dot products (contrib_ops/webgpu/quantization/dp4a_matmul_nbits.cc).
   */
  readonly accuracyLevel: 0 | 4;
}

const eight: readonly CodeDType[] = ["int8", "uint8"];
const four: readonly CodeDType[] = ["int4", "uint4"];
const sixteen: readonly CodeDType[] = ["int16", "uint16"];

/** onnxruntime-node and the wasm build: the same kernels. ConvInteger takes int8 after 1.23 (cpu-rules.ts). */
const cpu: TargetForms = {
  instead: undefined,
  convDtype: "uint8",
  cast: [...eight, ...sixteen],
  dequantize: [...eight, ...sixteen, ...four],
  table: undefined,
  nbits: { bits: [4, 8, 2], gatherBits: [4, 8, 2], accuracyLevel: 0 },
};

const forms: Readonly<Record<Target, TargetForms>> = {
  node: cpu,
  "web-wasm": cpu,
  webgpu: {
    instead: "weights alone as codes: MatMulNBits for MatMul, Cast and Mul (8 bits) for others",
    convDtype: undefined,
    // The build has no kernel for 16-bit integers, not even to compute constants (webgpu-operators.ts).
    cast: eight,
    dequantize: [...eight, ...four],
    table: "uint8",
    // "'bits' must be 4 or 8": onnxruntime issue 28895; 1.30.0 takes 2, too.
    nbits: { bits: [4, 8, 2], gatherBits: [4, 8], accuracyLevel: 0 },
  },
};

/** What runs where: seen as `findingsFor` says. */
export function formsOn(target: Target): TargetForms {
  return forms[target];
}
