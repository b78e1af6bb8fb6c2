import { tensor } from "./onnx-tensors.ts";
import { normals, randomOf } from "./random.ts";
import type { Feed } from "./sessions.ts";

export const noise = (seed: number, ...dims: number[]) =>
  normals(
    randomOf(seed),
    dims.reduce((a, b) => a * b, 1),
  );

export const weight = (name: string, ...dims: number[]) => tensor(name, "float32", dims, noise(name.length, ...dims));

export const fed = (seed: number, ...dims: number[]): Feed => ({ data: noise(seed, ...dims), dims });

export const ints = (name: string, ...values: number[]) => tensor(name, "int64", [values.length], values);

export const whole = (...values: number[]): Feed => ({
  data: BigInt64Array.from(values, BigInt),
  dims: [values.length],
});
