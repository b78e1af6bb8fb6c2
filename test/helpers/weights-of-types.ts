import type { FloatTensor } from "../../src/engine/tensors/tensor.ts";
import { graph, model, node, value } from "./onnx-build.ts";
import { type Storage, tensor } from "./onnx-tensors.ts";
import { normals, randomOf } from "./random.ts";
import { halvesOf } from "./sessions.ts";

export const rows = 96;

export const columns = 24;

export const values = normals(randomOf(7), rows * columns);

export type HalfType = "float16" | "bfloat16";

export function bfloat16sOf(floats: Float32Array): Uint16Array {
  return Uint16Array.from(new Uint32Array(floats.slice().buffer), (bits) => bits >>> 16);
}

export const halves: Readonly<Record<HalfType, Uint16Array>> = {
  float16: halvesOf(values),
  bfloat16: bfloat16sOf(values),
};

export function weightOf(type: "float32" | HalfType): FloatTensor {
  const shape = [rows, columns];
  return type === "float32" ? { shape, data: values } : { dtype: type, shape, data: halves[type] };
}

/** A MatMul with W as its weight, and W a second output. */
export function withOutput(
  type: "float32" | HalfType,
  opset = 21,
  ir = 10,
  store?: Storage | Storage["kind"],
): Uint8Array {
  const elements = type === "float32" ? values : halves[type];
  const narrow = type === "bfloat16";
  const w = tensor("W", type, [rows, columns], elements, store === undefined ? {} : { store });
  return model({
    ir,
    opsets: { "": opset },
    graph: graph({
      nodes: [
        node("Cast", "W", "Wf", { to: 1 }),
        node("MatMul", "x Wf", "y"),
        // JavaScript has no bfloat16: what is inside one shows in float32.
        ...(narrow ? [node("Cast", "W", "shown", { to: 1 })] : []),
      ],
      initializers: [w],
      inputs: [value("x", `float32[2,${rows}]`)],
      outputs: [
        value("y", `float32[2,${columns}]`),
        narrow ? value("shown", `float32[${rows},${columns}]`) : value("W", `${type}[${rows},${columns}]`),
      ],
    }),
  });
}
