import { elementsOf } from "../../engine/tensors/shape.ts";
import type { Scope } from "../ir/scopes.ts";
import type { Target, TargetFinding, TargetVerdict } from "./target.ts";
import type { TargetNode } from "./target-node.ts";

/** What holds on every target. */
export function* commonVerdicts(site: TargetNode, target: Target): Generator<TargetVerdict> {
  if (!known.has(site.node.domain)) {
    yield {
      severity: "fails",
      reason: UNKNOWN_OP,
      advice: "a library of custom ops, which onnxruntime-web does not take",
    };
  }
  if (nowhere.has(site.op)) yield { severity: "fails", reason: "has no kernel on CPUs, nor in WebGPU" };
  yield* dequantize(site);
  yield* integers(site, target);
  yield* nbits(site);
  if (isDepthwise(site) && hasOneScale(site)) {
    // MobileNet at one scale per weight: 0 % top-1.
    const reason = "a depthwise convolution whose channels share one scale in 8 bits: accuracy may collapse";
    yield { severity: "inexact", reason, advice: "a scale per channel" };
  }
}

/** A library of custom ops may have it. */
export const UNKNOWN_OP = "neither ONNX nor ONNX Runtime has this op";

/** Domains that ONNX Runtime has kernels in. */
const known = new Set([
  ...["", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft"],
  ...["com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"],
]);

/** Made by ONNX Runtime's optimizer for other nodes. */
const nowhere = new Set(["com.microsoft.GroupNorm", "com.microsoft.NhwcConv"]);

/** What the file may say, but the op's version in it does not know. */
function* dequantize(site: TargetNode): Generator<TargetVerdict> {
  if (site.op !== "DequantizeLinear" && site.op !== "QuantizeLinear") return;
  const { opset } = site;
  const scale = site.constantAt(1);
  const isPerChannel = scale !== undefined && elementsOf(scale.shape) > 1;
  const codes = site.op === "DequantizeLinear" ? site.typeOf(0) : site.typeOf(2);
  if (isPerChannel && opset < 13) {
    yield { severity: "fails", reason: `a scale per channel, which the op has from opset 13 on (this is ${opset})` };
  } else if (opset < 21 && codes !== undefined && /^u?int(4|16)$/.test(codes)) {
    yield { severity: "fails", reason: `${codes}, which the op takes from opset 21 on (this is ${opset})` };
  } else if (opset < 21 && site.int("block_size", 0) > 0) {
    yield { severity: "fails", reason: `scales of blocks, which the op has from opset 21 on (this is ${opset})` };
  }
}

const convolutions: Readonly<Record<string, number>> = { Conv: 1, ConvInteger: 1, QLinearConv: 3 };

/** A filter per channel, as MobileNet has them. */
function isDepthwise(site: TargetNode): boolean {
  const weight = convolutions[site.op];
  const group = site.int("group", 1);
  if (weight === undefined || group === 1) return false;
  const shape = (site.constantAt(weight) ?? restoredFrom(site.before(weight))?.constantAt(0))?.shape;
  return shape !== undefined && shape[1] === 1 && shape[0]! >= group;
}

/** The node that makes a float weight of codes: DequantizeLinear, or the Cast before a Mul. */
function restoredFrom(site: TargetNode | undefined): TargetNode | undefined {
  const cast = site?.op === "Mul" ? site.before(0) : site;
  return cast?.op === "DequantizeLinear" || cast?.op === "Cast" ? cast : undefined;
}

function hasOneScale(site: TargetNode): boolean {
  if (site.op === "QLinearConv") return isSingle(site, 4);
  const restoring = site.op === "Conv" ? site.before(1) : undefined;
  if (restoring) {
    const codes = restoredFrom(restoring)?.typeOf(0);
    return (codes === "int8" || codes === "uint8") && isSingle(restoring, 1);
  }
  const scales = site.op === "ConvInteger" ? scalesAfter(site) : [];
  return scales.length > 0 && scales.every((count) => count === 1);
}

/** How many elements the constants have by which the sums of an integer op are multiplied: Cast, and a Mul or two. */
function scalesAfter(site: TargetNode): number[] {
  const constantsOf = (site: TargetNode) =>
    [0, 1].flatMap((i) => site.constantAt(i) ?? []).map(({ shape }) => elementsOf(shape));
  const follow = (site: TargetNode, steps: number): number[] =>
    site.after().flatMap((user) => {
      if (steps === 0) return [];
      if (user.op === "Cast") return follow(user, steps - 1);
      if (user.op !== "Mul") return [];
      // The scale of the activations times that of the weights is a Mul of its own.
      const beside = [0, 1].map((i) => user.before(i)).filter((each) => each?.op === "Mul");
      return [...constantsOf(user), ...beside.flatMap((each) => constantsOf(each!)), ...follow(user, steps - 1)];
    });
  return follow(site, 3);
}

function isSingle(site: TargetNode, input: number): boolean {
  const scale = site.constantAt(input);
  return scale !== undefined && elementsOf(scale.shape) === 1;
}

/** Where an op's arithmetic is in integers: the inputs that are activations and weights. */
const operands: Readonly<Record<string, readonly [number, number]>> = {
  MatMulInteger: [0, 1],
  ConvInteger: [0, 1],
  QLinearConv: [0, 3],
  QLinearMatMul: [0, 3],
  "com.microsoft.QGemm": [0, 3],
  "com.microsoft.MatMulIntegerToFloat": [0, 1],
};

function* integers(site: TargetNode, target: Target): Generator<TargetVerdict> {
  const inputs = operands[site.op];
  if (!inputs) return;
  const [a, b] = [site.typeOf(inputs[0]), site.typeOf(inputs[1])];
  if (a === "int8" && b === "uint8") {
    if (site.op === "MatMulInteger") {
      yield { severity: "fails", reason: "int8 activations with uint8 weights", upTo: "1.23.2" };
    } else if (site.op !== "ConvInteger") {
      yield { severity: "fails", reason: "no kernel takes int8 activations with uint8 weights" };
    }
  }
  if (site.op === "ConvInteger") {
    if (a === "int8" || b === "int8") {
      // onnxruntime issues 3130, 12558, 15888, 23985; pull request 26585.
      const advice = "uint8 weights run in all versions";
      yield { severity: "fails", reason: "ConvInteger with int8 operands", advice, upTo: "1.23.2" };
    }
    if ((site.constantAt(3)?.shape.length ?? 0) > 0) {
      yield { severity: "fails", reason: "ConvInteger takes a scalar zero point of the weights, not one per channel" };
    }
  }
  // onnxruntime issues 5849, 6004, 14642; not in WebAssembly, whose dot products are 16 bits wide (issue 9191).
  if (target === "node" && a === "uint8" && b === "int8") {
    yield {
      severity: "inexact",
      reason: "sums saturate on x64 processors without VNNI where weights use all of int8",
      advice: "a reduced range of the weights, if such processors matter",
    };
  }
}

function* nbits(site: TargetNode): Generator<TargetVerdict> {
  if (site.op !== "com.microsoft.MatMulNBits") return;
  const bits = site.int("bits", 4);
  const zeros = site.typeOf(3);
  if (![2, 4, 8].includes(bits)) yield { severity: "fails", reason: `no kernel for ${bits} bits, but for 2, 4 and 8` };
  if (bits === 8 && zeros !== undefined && zeros !== "uint8") {
    yield { severity: "fails", reason: "8 bits with zero points in floating point" };
  }
}

/** What is to be said of the model as a whole. */
export function modelVerdicts(target: Target, root: Scope): TargetFinding[] {
  if (target !== "webgpu") return [];
  const halves = [...root.all()].some(({ graph }) => graph.initializers.some(({ type }) => type === "float16"));
  if (!halves) return [];
  // transformers.js issues 867 and, on overflow, onnxruntime issue 26732.
  const reason = "float16 runs on devices with shader-f16 alone; values beyond 65504 become infinite";
  return [{ severity: "depends", reason, advice: "a float32 model for devices without" }];
}
