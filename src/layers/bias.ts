import type { Engine } from "../core/engine.ts";
import { oneOf } from "../core/options.ts";
import type { NonFinite } from "../core/range.ts";
import type { SchemeName } from "../core/schemes.ts";
import type { FloatTensor, QuantizedTensor } from "../core/tensor.ts";
import { type CodeDType, codeTypes } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";

export type BiasDType = "float32" | "int32" | CodeDType;

export interface BiasPlan {
  readonly dtype: BiasDType;
  readonly inputScale: number | undefined;
  readonly scheme?: SchemeName | undefined;
  readonly nonFinite?: NonFinite | undefined;
}

/** int32 has 2^32 - 2 steps between its extremes, the lowest left out; the factor keeps rounding off the edge. */
const STEPS = 2 ** 32 - 2;
const MARGIN = 1.0001;

/**
 * Codes of a bias: int32 with scale input scale * weight scale, or another type over its own range.
 *
 * @throws ArgumentError, NonFiniteError
 */
export function quantizeLayerBias(
  engine: Engine,
  bias: FloatTensor,
  weight: QuantizedTensor,
  { dtype, inputScale, scheme, nonFinite }: BiasPlan,
): QuantizedTensor {
  const outputs = bias.shape[0]!;
  if (dtype === "int32") {
    const input = checkInputScale(inputScale);
    const products = weight.scale.map((s) => input * s);
    if (products.length === 1) return engine.quantizeBias(bias, { scale: products });
    const scale = Float32Array.from({ length: outputs }, (_, c) => products[c % products.length]!);
    return engine.quantizeBias(bias, { scale, axis: 0 });
  }
  if (inputScale !== undefined) {
    throw new ArgumentError("biasDtype", `${dtype} takes the bias's own range; leave inputScale out, or take int32`);
  }
  const type = oneOf("biasDtype", dtype as CodeDType, Object.keys(codeTypes) as CodeDType[]);
  return engine.quantize(bias, { dtype: type, scheme, nonFinite });
}

/**
 * ONNX Runtime's guard: where input scale * weight scale is so small that the bias would not fit int32, the weight's
 * scale grows until it does. The new scales, or undefined if all is well as it is.
 */
export function widenForBias(
  engine: Engine,
  bias: FloatTensor,
  weight: QuantizedTensor,
  { inputScale, scheme }: BiasPlan,
): Float32Array | undefined {
  const input = checkInputScale(inputScale);
  if (scheme === "minmax") {
    throw new ArgumentError("scheme", "minmax keeps an offset that an int32 bias cannot; take affine or symmetric");
  }
  const { scale } = weight;
  const { min, max } = engine.range(bias, { axis: 0 });
  const largest = new Float64Array(scale.length);
  min.forEach((low, c) => {
    const p = c % scale.length;
    largest[p] = Math.max(largest[p]!, Math.abs(low), Math.abs(max[c]!));
  });
  let widened = false;
  const wider = scale.map((s, p) => {
    const smallest = (MARGIN * 2 * largest[p]!) / STEPS;
    const product = input * s;
    if (!(product > 0 && product < smallest)) return s;
    widened = true;
    return s * (smallest / product);
  });
  return widened ? wider : undefined;
}

function checkInputScale(inputScale: number | undefined): number {
  const scale = Math.fround(inputScale ?? Number.NaN);
  if (scale > 0 && Number.isFinite(scale)) return scale;
  if (inputScale === undefined) throw new ArgumentError("inputScale", "an int32 bias needs it");
  throw new ArgumentError("inputScale", `${inputScale} given; a finite float32 number above 0 is allowed`);
}
