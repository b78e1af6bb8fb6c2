import type { Target, TargetVerdict } from "./target.ts";
import type { TargetNode } from "./target-node.ts";

/**
 * What is known of ONNX Runtime's CPU kernels, which onnxruntime-node and onnxruntime-web's wasm build share. Seen by
 * running models of a node or three in both at 1.30.0 and older versions (runtime-versions.ts), unless a rule names another
 * source.
 */
export function* cpuVerdicts(site: TargetNode, target: Target): Generator<TargetVerdict> {
  yield* blocks(site, target);
  yield* restored(site, target);
  yield* floats(site);
  if (gpuOnly.has(site.op)) yield { severity: "fails", reason: "has no kernel on the CPU" };
}

/** Ops of ONNX Runtime's own, made by its optimizer for GPUs. */
const gpuOnly = new Set(["BiasAdd", "BiasSplitGelu"].map((op) => `com.microsoft.${op}`));

const BLOCKS = [16, 256] as const;

/** What runs one time and not another: memory that nothing was written to is read. */
export const UNSTEADY = "MatMulNBits of float16 with accuracy_level 4 gives NaN at times";

/** MatMulNBits and GatherBlockQuantized. */
function* blocks(site: TargetNode, target: Target): Generator<TargetVerdict> {
  const bits = site.int("bits", 4);
  const size = site.int("block_size", 0);
  if (site.op === "com.microsoft.MatMulNBits") {
    if (size < BLOCKS[0] || size > BLOCKS[1]) {
      yield { severity: "fails", reason: `blocks of ${size}: they hold 16 to 256 values` };
    }
    const zeros = site.typeOf(3);
    const isHalf = site.typeOf(0) === "float16" || (bits === 2 && zeros !== undefined && zeros !== "uint8");
    if (bits === 2) yield { severity: "fails", reason: "2-bit MatMulNBits", upTo: isHalf ? "1.27.0" : "1.23.2" };
    // Of 8 bits 1.22.0 has the kernels that round activations, for x64 alone.
    const isQuick = target === "node" && site.int("accuracy_level", 0) === 4;
    if (bits === 8) yield { severity: "fails", reason: "8-bit MatMulNBits", upTo: isQuick ? "1.21.1" : "1.22.0" };
    if (isQuick && site.typeOf(0) === "float16") {
      yield { severity: "fails", reason: UNSTEADY, upTo: "1.22.0" };
    }
  }
  if (site.op === "com.microsoft.GatherBlockQuantized") {
    if (bits === 2) yield { severity: "fails", reason: "2-bit GatherBlockQuantized", upTo: "1.26.0" };
    else if (site.typeOf(0) === "uint8") {
      yield { severity: "fails", reason: "GatherBlockQuantized on uint8 data", upTo: "1.22.0" };
    }
  }
}

/** Float weights that DequantizeLinear restores while a model runs, while activations stay in floating point. */
function* restored(site: TargetNode, target: Target): Generator<TargetVerdict> {
  if (site.op !== "Conv" && site.op !== "MatMul" && site.op !== "Gather" && site.op !== "ConvTranspose") return;
  const weight = site.op === "Gather" ? 0 : 1;
  const restoring = site.before(weight);
  const codes = restoring?.op === "DequantizeLinear" ? restoring.constantAt(0) : undefined;
  const other = site.before(1 - weight);
  if (site.op === "MatMul" && codes && isOfBlocks(other)) {
    const reason = "fused with DequantizeLinear to a MatMulIntegerToFloat, which takes no scales of blocks";
    yield { severity: "fails", reason, advice: "weights restored by Cast and Mul, or int8 codes" };
  }
  if (!restoring || !codes || other?.op === "DequantizeLinear") return;
  if (site.op === "MatMul" && codes.shape.length === 2) {
    const perColumn = (restoring.constantAt(1)?.shape.length ?? 0) === 1 && restoring.int("axis", 1) % 2 === 0;
    const isFused = /^u?int[48]$/.test(codes.type ?? "") && !perColumn;
    // Not in WebAssembly. 0.3 to 0.6 % of the largest output.
    if (target === "node" && isFused) {
      yield {
        severity: "inexact",
        reason: "is fused with DequantizeLinear to a MatMulNBits that rounds activations to 8 bits (about 0.5 % off)",
        advice: "the session option session.qdq_matmulnbits_accuracy_level=1, or weights restored by Cast and Mul",
      };
    }
    return;
  }
  // SqueezeNet 9.7 ms instead of 5.3, rows of an embedding 10.5 ms instead of 0.02 (1.30.0, one thread).
  const what = site.op === "Gather" ? "the whole table is restored" : "the weight is restored";
  yield {
    severity: "slow",
    reason: `${what} from codes in each run: DequantizeLinear is not computed when the model is loaded`,
    advice: site.op === "Gather" ? "codes gathered first, restored after" : "weights restored by Cast and Mul",
  };
}

/** uint8 activations that DequantizeLinear restores, as rows of a table are. */
function isOfBlocks(site: TargetNode | undefined): boolean {
  return site?.op === "DequantizeLinear" && site.typeOf(0) === "uint8" && site.int("block_size", 0) > 0;
}

const heavy = new Set([
  "Conv",
  "ConvTranspose",
  "MatMul",
  "Gemm",
  "LSTM",
  "GRU",
  "RNN",
  "Einsum",
  "com.microsoft.Attention",
]);

/** Ops without a bfloat16 kernel; ops that only move values have one. */
const withoutBfloat16 = new Set([
  ...["Add", "Conv", "ConvTranspose", "Div", "Erf", "GRU", "Gemm", "LSTM", "MatMul", "Mul", "Pow", "Relu", "Sigmoid"],
  ...["Softmax", "Sqrt", "Sub", "Tanh", "com.microsoft.Attention"],
]);

function* floats(site: TargetNode): Generator<TargetVerdict> {
  const type = site.typeOf(0);
  if (type === "bfloat16" && withoutBfloat16.has(site.op)) {
    yield { severity: "fails", reason: "no kernel for bfloat16", advice: "a Cast to float32 before it" };
  }
  // Casts go around it when the model is loaded (InsertedPrecisionFreeCast nodes); arm64 has kernels for some.
  if (type === "float16" && heavy.has(site.op)) {
    yield {
      severity: "slow",
      reason: "float16 is cast to float32 and back: no kernel computes in it on x64 and in wasm",
    };
  }
}
