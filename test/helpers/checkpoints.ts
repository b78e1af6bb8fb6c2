import { bytesSink, type SafetensorsItem, writeSafetensors } from "../../src/index.ts";
import { normalsOf } from "./random.ts";

/** The bytes of a safetensors file. */
export async function safetensorsFile(
  tensors: readonly (SafetensorsItem & { readonly data: Uint8Array })[],
  metadata: Record<string, string> = {},
): Promise<Uint8Array> {
  const sink = bytesSink();
  await writeSafetensors(sink, tensors, metadata);
  return sink.result();
}

/** A float32 tensor of normal values. */
export function f32(
  name: string,
  shape: readonly number[],
  seed = 1,
): SafetensorsItem & { data: Uint8Array; values: Float32Array } {
  const length = shape.reduce((a, b) => a * b, 1);
  const values = normalsOf(seed, length);
  return { name, dtype: "F32", shape, values, data: new Uint8Array(values.buffer) };
}
