import { roundHalfToEven } from "./rounding.ts";

// Half precision, one number at a time, bits in and bits out: so that NaN payloads are the same on every engine.

/** float16 (IEEE 754 binary16) to float32: exact. */
export function float16ToFloat32(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  const shift = Math.clz32(mantissa) - 21;
  return sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
}

/** float32 to float16, half to even; beyond its range infinity. */
export function float32ToFloat16(bits: number): number {
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

/** bfloat16 to float32: exact. */
export function bfloat16ToFloat32(half: number): number {
  return half << 16;
}

/** float32 to bfloat16, half to even. */
export function float32ToBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
