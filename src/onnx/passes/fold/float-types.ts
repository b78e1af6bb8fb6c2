import { bytesOf } from "../../../engine/tensors/tensor.ts";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "../../../kernels/half-bits.ts";

/** The float types that are computed in; halves are held as float32, rounded after each operator. */
export type FloatType = "float32" | "float64" | "float16" | "bfloat16";

export type HalfType = "float16" | "bfloat16";

const halves = {
  float16: { narrow: float32ToFloat16, widen: float16ToFloat32 },
  bfloat16: { narrow: float32ToBfloat16, widen: bfloat16ToFloat32 },
} as const;

export function isFloat(type: string): type is FloatType {
  return type === "float32" || type === "float64" || isHalf(type);
}

export function isHalf(type: string): type is HalfType {
  return Object.hasOwn(halves, type);
}

/** What is left of float32 values in a half type. */
export function roundToHalf(values: Float32Array<ArrayBuffer>, type: HalfType): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const { narrow, widen } = halves[type];
  for (let i = 0; i < bits.length; i++) bits[i] = widen(narrow(bits[i]!));
}

export function widened(bytes: ArrayBuffer, type: HalfType): Float32Array<ArrayBuffer> {
  const bits = Int32Array.from(new Uint16Array(bytes), halves[type].widen);
  return new Float32Array(bits.buffer);
}

/** The bytes of float32 values in a half type. */
export function narrowed(values: Float32Array<ArrayBuffer>, type: HalfType): Uint8Array {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  return bytesOf(Uint16Array.from(bits, halves[type].narrow));
}
