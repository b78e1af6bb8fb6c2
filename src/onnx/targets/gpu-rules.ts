import { elementsOf } from "../../engine/tensors/shape.ts";
import type { Tensor } from "../ir/graph.ts";
import { bitsOf, type ElementType, elementTypeOf } from "../proto/schema.ts";
import { SEEN_WITH, type TargetVerdict } from "./target.ts";
import type { TargetNode } from "./target-node.ts";
import { cpuOnly, everyType, gpuTypes, leftOut, missing, outgrown } from "./webgpu-operators.ts";

const FALLS = "runs on the CPU, its values are copied there and back";

/** What is known of a node in onnxruntime-web/webgpu. */
export function* gpuVerdicts(site: TargetNode): Generator<TargetVerdict> {
  const { op } = site;
  if (missing.has(op) || site.node.domain === "ai.onnx.ml") {
    yield {
      severity: "fails",
      reason: `has no kernel at all in the WebGPU build (${SEEN_WITH}); the wasm build has one`,
    };
    return;
  }
  const [type, ...others] = typesOf(site);
  const rare = [type, ...others].find((each) => each && leftOut.has(each) && !everyType[op]?.includes(each));
  if (rare) {
    const reason = `no kernel for ${rare} in the WebGPU build (${SEEN_WITH}), on the CPU neither`;
    yield { severity: "fails", reason, advice: instead(rare) };
    return;
  }
  yield* buffers(site);
  // What is computed when a model is loaded, and shapes, belong on the CPU.
  if (!site.isLight) yield* placement(site, type, others);
}

function* placement(site: TargetNode, type: ElementType | undefined, others: Types): Generator<TargetVerdict> {
  const { op, opset } = site;
  const allowed = gpuTypes.get(op);
  if (!allowed) {
    if (site.node.domain !== "" && !cpuOnly.has(op)) return;
    yield { severity: "falls back", reason: `no WebGPU kernel: ${FALLS}`, advice: remedies[op] };
    return;
  }
  const end = outgrown.get(op);
  if (end !== undefined && opset >= end) {
    const advice = `at opset ${end - 1} and below it stays on the GPU`;
    yield { severity: "falls back", reason: `no WebGPU kernel for it as of opset ${end}: ${FALLS}`, advice };
    return;
  }
  const wrong = [type, ...others].find(
    (each, i) => each !== undefined && !allowed.includes(each) && !(i > 0 && each === "int64" && op.startsWith("Cast")),
  );
  if (wrong) {
    const advice = wrong === "int8" && (op === "Gather" || op === "Cast") ? "uint8 codes stay on the GPU" : undefined;
    yield { severity: "falls back", reason: `no WebGPU kernel for ${wrong}: ${FALLS}`, advice };
    return;
  }
  const zeros = op === "com.microsoft.MatMulNBits" ? site.typeOf(3) : undefined;
  if (zeros && zeros !== "uint8") {
    yield {
      severity: "falls back",
      reason: `no WebGPU kernel for zero points in ${zeros}: ${FALLS}`,
      advice: "packed zero points, or none",
    };
  }
}

type Types = readonly (ElementType | undefined)[];

/** The types that decide about a node: that of its main input, of a Cast what it makes, of a Pow the exponent. */
function typesOf(site: TargetNode): Types {
  if (site.op === "Where") return [site.typeOf(1)];
  if (site.op === "Pow" || site.op === "CastLike") return [site.typeOf(0), site.typeOf(1)];
  if (site.op === "Cast") return [site.typeOf(0), elementTypeOf(site.int("to", 0))];
  if (site.op.endsWith("QuantizeLinear") && !site.op.startsWith("Dynamic")) return [site.typeOf(0), site.typeOf(2)];
  return [site.typeOf(0)];
}

function instead(type: ElementType): string | undefined {
  if (type === "float64" || type === "bfloat16") return "float32 there";
  if (type === "int16" || type === "uint16") return "8 bits, or DequantizeLinear, which runs on the CPU";
  return undefined;
}

const NBITS = "weights in MatMulNBits stay on the GPU";
const remedies: Readonly<Record<string, string>> = {
  MatMulInteger: NBITS,
  QLinearMatMul: NBITS,
  "com.microsoft.DynamicQuantizeMatMul": NBITS,
  "com.microsoft.MatMulIntegerToFloat": NBITS,
  "com.microsoft.QGemm": NBITS,
  "com.microsoft.QAttention": NBITS,
  DynamicQuantizeLinear: "weights alone as codes: activations stay in floating point",
  QuantizeLinear: "weights alone as codes: activations stay in floating point",
  ConvInteger: "weights restored by Cast and Mul, computed when the model is loaded",
  QLinearConv: "weights restored by Cast and Mul, computed when the model is loaded",
  "com.microsoft.DynamicQuantizeLSTM": "LSTM in float32 stays on the GPU",
  "com.microsoft.DequantizeLinear": "ONNX's own DequantizeLinear, of 8 or 4 bits",
};

/** maxStorageBufferBindingSize that the WebGPU standard promises; ONNX Runtime asks for as much as a device has. */
const PROMISED = 128 * 2 ** 20;

function* buffers(site: TargetNode): Generator<TargetVerdict> {
  for (let i = 0; i < site.node.inputs.length; i++) {
    const tensor = site.constantAt(i);
    const bytes = tensor ? sizeOf(tensor) : 0;
    if (bytes <= PROMISED || !gpuTypes.has(site.op)) continue;
    yield {
      severity: "fails",
      reason: `a constant of ${Math.round(bytes / 2 ** 20)} MiB: devices need not take more than 128 MiB in a buffer`,
      advice: site.op === "Gather" ? "GatherBlockQuantized holds a table in 4 bits" : "fewer bits",
    };
  }
}

function sizeOf({ shape, type }: Tensor): number {
  return Math.ceil((elementsOf(shape) * (bitsOf(type) ?? 0)) / 8);
}
