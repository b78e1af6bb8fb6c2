import type { Kernels } from "../abi.ts";
import { roundHalfToEven } from "../arithmetic.ts";
import type { ViewOf } from "./groups.ts";

/** binary16 bits to float32 bits. */
function widen(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  const shift = Math.clz32(mantissa) - 21;
  return sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
}

/** float32 bits to binary16 bits, half to even. */
function narrow(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const exponent = Math.max(magnitude >>> 23, 1);
    const significand = (magnitude & 0x7fffff) | (magnitude >>> 23 ? 0x800000 : 0);
    return sign | roundHalfToEven(significand * 2 ** (exponent - 126)); // in steps of 2^-24
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** float32 bits to bfloat16 bits, half to even. */
function narrowBrain(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

type Halves = Pick<Kernels, Extract<keyof Kernels, `convert${string}`>>;

/** Reference for assembly/half.ts. */
export function halfReference(viewOf: ViewOf): Halves {
  const widening = (bitsOf: (half: number) => number) => (src: number, dst: number, n: number) => {
    const view = viewOf();
    for (let i = 0; i < n; i++) view.setInt32(dst + 4 * i, bitsOf(view.getUint16(src + 2 * i, true)), true);
  };
  const narrowing = (halfOf: (bits: number) => number) => (src: number, dst: number, n: number) => {
    const view = viewOf();
    for (let i = 0; i < n; i++) view.setUint16(dst + 2 * i, halfOf(view.getInt32(src + 4 * i, true)), true);
  };
  return {
    convertF16F32: widening(widen),
    convertBF16F32: widening((half) => half << 16),
    convertF32F16: narrowing(narrow),
    convertF32BF16: narrowing(narrowBrain),
  };
}
