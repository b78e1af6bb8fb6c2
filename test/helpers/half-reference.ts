import { lossOf } from "../../src/engine/measure/quantization-error.ts";
import {
  bytesSink,
  bytesSource,
  createEngine,
  type HalfDType,
  type QuantizeModelOptions,
  quantizeModel,
  readSafetensorsHeader,
  type SafetensorsItem,
} from "../../src/index.ts";

// Files of tensors in half precision.

export const engine = await createEngine();

export const scalar = await createEngine({ kernels: "scalar" });

// a little more than a window
export const odd = [3, 1027, 1023];

export async function convert(file: Uint8Array, options: QuantizeModelOptions = {}, name = "model.safetensors") {
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(file, name), sink, {
    dtype: "float16",
    allowUnchanged: true,
    ...options,
  });
  return { report, file: sink.result() };
}

export async function contents(file: Uint8Array) {
  const { tensors, metadata } = await readSafetensorsHeader(bytesSource(file));
  const byName = new Map(tensors.map((t) => [t.name, { ...t, bytes: file.slice(t.start, t.end) }]));
  return { metadata, byName };
}

export const bytes = (array: Float32Array | Float64Array | Uint16Array) => new Uint8Array(array.slice().buffer);

export const f64 = (name: string, shape: readonly number[], values: Float64Array) => {
  return { name, dtype: "F64", shape, data: bytes(values) } as const;
};

export const ids: SafetensorsItem & { data: Uint8Array } = {
  name: "ids",
  dtype: "I64",
  shape: [2],
  data: new Uint8Array(16).fill(7),
};

/** Of a float32 array what the reference kernels make of it, with what they lose. */
export function reference(values: Float32Array, shape: readonly number[], dtype: HalfDType) {
  const out = new Uint16Array(values.length);
  const { sums } = scalar.convertToHalf({ data: values, shape }, { dtype, out });
  const { sqnr, maxAbs } = lossOf(sums, values.length);
  return { bytes: bytes(out), loss: { sqnr, maxAbs } };
}
