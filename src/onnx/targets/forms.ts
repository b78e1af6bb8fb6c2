import type { CodeDType } from "../../dtypes.ts";
import type { Target } from "./target.ts";

/** Ops that compute with codes. */
export type IntegerOp = "MatMulInteger" | "ConvInteger" | "DynamicQuantizeLSTM" | "QAttention";

/** The forms of quantized weights that a target runs, for who chooses among them. */
export interface TargetForms {
  /** The type of weights' codes with which an op runs in every version since 1.22; undefined: it runs on the CPU. */
  readonly integers: Readonly<Record<IntegerOp, "int8" | "uint8" | undefined>>;
  /** What to do where `integers` has nothing, for an error; undefined where it has all. */
  readonly instead: string | undefined;
  /** Types that Cast and Mul restore; constants are restored once, when a model is loaded. */
  readonly cast: readonly CodeDType[];
  /** Types that DequantizeLinear restores without leaving for the CPU. */
  readonly dequantize: readonly CodeDType[];
  /** The type of a table of codes that Gather takes rows of, before Cast and Mul. */
  readonly table: "int8" | "uint8";
  readonly nbits: NBitsForms;
  /** Whether float16 arithmetic is the target's own: on CPUs it is done in float32, with casts around it. */
  readonly half: boolean;
}

export interface NBitsForms {
  /** Bits that MatMulNBits takes, those that run in the oldest versions first. */
  readonly bits: readonly (2 | 4 | 8)[];
  /** For each of `bits` the first version of ONNX Runtime that was seen to run it, of float32 and float16. */
  readonly since: Readonly<Record<2 | 4 | 8, { readonly float32: string; readonly float16: string }>>;
  readonly gatherBits: readonly (2 | 4 | 8)[];
  readonly blockSizes: readonly number[];
  /** Bits at which zero points may be in floating point (HQQ), not packed codes. */
  readonly floatZeroPoints: readonly (2 | 4 | 8)[];
  /**
   * The accuracy_level to write when none is wanted. 4 lets a kernel round activations to 8 bits, in blocks: faster, and
   * about 0.5 % off. On CPUs it is taken at its word; on WebGPU it is used with K a multiple of 128, N of 16 and blocks of
   * 32 and up, on GPUs that have such dot products (contrib_ops/webgpu/quantization/dp4a_matmul_nbits.cc).
   */
  readonly accuracyLevel: 0 | 4;
}

const since = {
  2: { float32: "1.24.3", float16: "1.30.0" },
  4: { float32: "1.22.0", float16: "1.22.0" },
  8: { float32: "1.23.2", float16: "1.23.2" },
} as const;

const blockSizes = [16, 32, 64, 128, 256];
const eight: readonly CodeDType[] = ["int8", "uint8"];
const four: readonly CodeDType[] = ["int4", "uint4"];
const sixteen: readonly CodeDType[] = ["int16", "uint16"];

/** onnxruntime-node and the wasm build: the same kernels. ConvInteger takes int8 after 1.23 (cpu.ts). */
const cpu: TargetForms = {
  integers: { MatMulInteger: "int8", ConvInteger: "uint8", DynamicQuantizeLSTM: "int8", QAttention: "int8" },
  instead: undefined,
  cast: [...eight, ...sixteen],
  dequantize: [...eight, ...sixteen, ...four],
  table: "int8",
  nbits: { bits: [4, 8, 2], since, gatherBits: [4, 8, 2], blockSizes, floatZeroPoints: [4, 2], accuracyLevel: 0 },
  half: false,
};

const forms: Readonly<Record<Target, TargetForms>> = {
  node: cpu,
  "web-wasm": cpu,
  webgpu: {
    integers: {
      MatMulInteger: undefined,
      ConvInteger: undefined,
      DynamicQuantizeLSTM: undefined,
      QAttention: undefined,
    },
    instead: "weights alone as codes: MatMulNBits for MatMul, Cast and Mul (8 bits) for others",
    // The build has no kernel for 16-bit integers, not even to compute constants (webgpu.ts).
    cast: eight,
    dequantize: [...eight, ...four],
    table: "uint8",
    nbits: { bits: [4, 8, 2], since, gatherBits: [4, 8], blockSizes, floatZeroPoints: [], accuracyLevel: 0 },
    half: true,
  },
};

/** What runs where: seen as `findingsFor` says. */
export function formsOn(target: Target): TargetForms {
  return forms[target];
}
