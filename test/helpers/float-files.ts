import type { Engine, SafetensorsDType } from "../../src/index.ts";
import { normals, randomOf } from "./random.ts";

const drawn = normals(randomOf(1), 1_600_000);

/** A tensor of normal values in any of the types of floats. */
export function floats(engine: Engine, name: string, dtype: SafetensorsDType, shape: readonly number[], seed = 1) {
  const values = drawn.slice(seed, seed + shape.reduce((a, b) => a * b, 1));
  return { name, dtype, shape, data: encoded(engine, values, dtype) };
}

function encoded(engine: Engine, values: Float32Array, dtype: SafetensorsDType): Uint8Array {
  if (dtype === "F64") return new Uint8Array(Float64Array.from(values).buffer);
  if (dtype === "F32") return new Uint8Array(values.buffer);
  const out = new Uint16Array(values.length);
  const type = dtype === "F16" ? "float16" : "bfloat16";
  if (values.length > 0) engine.convertToHalf({ data: values, shape: [values.length] }, { dtype: type, out });
  return new Uint8Array(out.buffer);
}
