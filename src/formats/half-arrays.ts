import type { HalfDType } from "../dtypes.ts";
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from "../kernels/half-bits.ts";

/** float32 to the bits of float16, half to even. What is beyond float16 becomes infinite. */
export function encodeFloat16(values: Float32Array): Uint16Array {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = float32ToFloat16(bits[i]!);
  return halves;
}

/** The bits of float16, or of bfloat16, to float32. */
export function decodeHalf(halves: Uint16Array, dtype: HalfDType = "float16"): Float32Array {
  const widen = dtype === "float16" ? float16ToFloat32 : bfloat16ToFloat32;
  const bits = new Int32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = widen(halves[i]!);
  return new Float32Array(bits.buffer);
}
