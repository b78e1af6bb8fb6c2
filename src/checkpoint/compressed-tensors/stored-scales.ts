import type { ValueRange } from "../../engine/tensors/schemes.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import { engineFloats, type SafetensorsFloat } from "../../formats/float-types.ts";
import { encodeFloat16 } from "../../formats/half-arrays.ts";
import { roundings, storedScale } from "../../kernels/block-parameters.ts";
import { clamp, roundHalfToEven } from "../../kernels/rounding.ts";
import type { Compression } from "./compressed-layout.ts";

/** What the engine is told, so that its codes are those of the scales as the file holds them. */
export interface StoredParameters {
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
}

const SMALLEST_NORMAL = 2 ** -126;

/**
 * Scales and zero points of groups by their extremes, the scales as the type of the weights holds them: loaders compute
 * in that type. Symmetric int8 spans ±127, int4 ±7.5 (compressed-tensors' own rule, `calculate_qparams`); never negative,
 * though int4 could do better so, for vLLM's Marlin kernels with 8-bit activations take them for unsigned (vLLM issue
 * 48905). Zero points are those of the rounded scales. A group of zeros has scale 1.
 */
export function storedParameters(
  { min, max }: ValueRange,
  { bits, symmetric }: Pick<Compression, "bits" | "symmetric">,
  dtype: SafetensorsFloat,
): StoredParameters {
  const n = min.length;
  const scale = new Float32Array(n);
  const zeroPoint = new Int32Array(n);
  const [qmin, qmax] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const steps = symmetric && bits === 8 ? 2 * qmax : qmax - qmin;
  for (let i = 0; i < n; i++) {
    const [low, high] = [Math.min(min[i]!, 0), Math.max(max[i]!, 0)];
    const exact = (symmetric ? 2 * Math.max(-low, high) : high - low) / steps;
    scale[i] =
      exact < SMALLEST_NORMAL
        ? 1
        : storedScale(exact, dtype === "F64" ? roundings.float32 : roundings[engineFloats[dtype]]);
    if (!symmetric) zeroPoint[i] = clamp(roundHalfToEven(qmin - low / scale[i]!), qmin, qmax);
  }
  return { scale, zeroPoint };
}

/** The bytes of `weight_scale`, of scales that its type holds. */
export function scaleBytes(scale: Float32Array, dtype: SafetensorsFloat): Uint8Array {
  switch (dtype) {
    case "F64":
      return bytesOf(Float64Array.from(scale));
    case "F32":
      return bytesOf(scale);
    case "F16":
      return bytesOf(encodeFloat16(scale));
    case "BF16":
      return bytesOf(Uint16Array.from(new Uint32Array(bytesOf(scale).slice().buffer), (word) => word >>> 16));
  }
}
