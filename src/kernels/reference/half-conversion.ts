import type { Kernels } from "../abi.ts";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "../half-bits.ts";
import type { ViewOf } from "./groups.ts";

type Halves = Pick<Kernels, Extract<keyof Kernels, `convert${string}`>>;

/** Reference for assembly/half-conversion.ts. */
export function halfReference(viewOf: ViewOf): Halves {
  const widening = (toFloat32: (half: number) => number) => (src: number, dst: number, n: number) => {
    const view = viewOf();
    for (let i = 0; i < n; i++) view.setInt32(dst + 4 * i, toFloat32(view.getUint16(src + 2 * i, true)), true);
  };
  const narrowing = (toHalf: (bits: number) => number) => (src: number, dst: number, n: number) => {
    const view = viewOf();
    for (let i = 0; i < n; i++) view.setUint16(dst + 2 * i, toHalf(view.getInt32(src + 4 * i, true)), true);
  };
  return {
    convertF16F32: widening(float16ToFloat32),
    convertBF16F32: widening(bfloat16ToFloat32),
    convertF32F16: narrowing(float32ToFloat16),
    convertF32BF16: narrowing(float32ToBfloat16),
  };
}
