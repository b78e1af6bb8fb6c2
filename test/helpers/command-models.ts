import { join } from "node:path";
import { expect } from "vitest";
import { graph, model, node, value } from "./onnx-build.ts";
import { elementBytes, tensor } from "./onnx-tensors.ts";
import { normals, randomOf } from "./random.ts";

// The built command on ONNX models, as users run it. What it does to files of tensors is in cli.test.ts; `npm test` builds
// before.
export const digits = join(import.meta.dirname, "../../example/digits.onnx");

export const oneLine = /^wasm-quant: [^\n]*\n$/;

export interface MlpOptions {
  readonly opset?: number;
  /** The file that its weights are in, not the model's. */
  readonly location?: string;
  readonly width?: number;
  readonly input?: string;
}

export const CLASSES = 10;

/** Two layers and a bias: x [n, width] to y [n, 10]. */
export function mlp({ opset = 17, location, width = 64, input = "x" }: MlpOptions = {}) {
  const weights = [normals(randomOf(1), width * width), normals(randomOf(2), width * CLASSES)];
  const [first, second] = weights.map((each) => elementBytes("float32", each));
  const stored = (offset: number, { length }: Uint8Array) => {
    const entries = { location: location ?? "", offset: String(offset), length: String(length) };
    return location === undefined ? {} : { store: { kind: "external", entries } as const };
  };
  const bytes = model({
    opsets: { "": opset },
    graph: graph({
      nodes: [
        node("MatMul", `${input} fc1.weight`, "h", {}, { name: "fc1" }),
        node("Add", "h fc1.bias", "sum"),
        node("Relu", "sum", "r"),
        node("MatMul", "r fc2.weight", "y", {}, { name: "fc2" }),
      ],
      initializers: [
        tensor("fc1.weight", "float32", [width, width], weights[0]!, stored(0, first!)),
        tensor("fc1.bias", "float32", [width], normals(randomOf(3), width)),
        tensor("fc2.weight", "float32", [width, CLASSES], weights[1]!, stored(first!.length, second!)),
      ],
      inputs: [value(input, `float32[n,${width}]`)],
      outputs: [value("y", `float32[n,${CLASSES}]`)],
    }),
  });
  return { bytes, data: new Uint8Array(Buffer.concat([first!, second!])) };
}

export const feeds = { x: { dims: [8, 64], data: normals(randomOf(4), 8 * 64) } };

/** How far `approximate` is from `exact`, in dB. */
export function decibels(exact: Float32Array, approximate: Float32Array): number {
  expect(approximate.length).toBe(exact.length);
  const power = (values: Float32Array) => values.reduce((sum, x) => sum + x * x, 0);
  return 10 * Math.log10(power(exact) / power(exact.map((x, i) => x - approximate[i]!)));
}
