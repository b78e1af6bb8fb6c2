import type { HalfDType } from "../dtypes.ts";
import { halfReference } from "../kernels/reference/half.ts";

/** float32 to the bits of float16, half to even. What is beyond float16 becomes infinite. */
export function narrowHalves(values: Float32Array): Uint16Array {
  const { floats, bits, kernels } = workspace(values.length);
  floats.set(values);
  kernels.convertF32F16(0, bits.byteOffset, values.length);
  return bits;
}

/** The bits of float16, or of bfloat16, to float32. */
export function widenHalves(halves: Uint16Array, dtype: HalfDType = "float16"): Float32Array {
  const { floats, bits, kernels } = workspace(halves.length);
  bits.set(halves);
  const widen = dtype === "float16" ? kernels.convertF16F32 : kernels.convertBF16F32;
  widen(bits.byteOffset, 0, halves.length);
  return floats;
}

/** The reference kernels, on memory of their own: the values of a feed are few. */
function workspace(n: number) {
  const buffer = new ArrayBuffer(6 * n);
  const kernels = halfReference(() => new DataView(buffer));
  return { floats: new Float32Array(buffer, 0, n), bits: new Uint16Array(buffer, 4 * n, n), kernels };
}
