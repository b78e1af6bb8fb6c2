import type { CodeDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { codeNames, type NonFinite, oneOf } from "../engine/tensors/quantize-options.ts";
import type { RangeMethod } from "../engine/tensors/range-method.ts";
import type { SchemeName } from "../engine/tensors/schemes.ts";
import type { FloatTensor, QuantizedTensor } from "../engine/tensors/tensor.ts";
import { ArgumentError } from "../errors.ts";

export type BiasDType = "float32" | "int32" | CodeDType;

/** What becomes of a layer's bias: options made definite. */
export interface BiasPlan {
  readonly dtype: BiasDType;
  /** In float32; 0 where there is none. */
  readonly inputScale: number;
  readonly scheme: SchemeName | undefined;
  readonly nonFinite: NonFinite | undefined;
  readonly range: RangeMethod | undefined;
}

/** int32 has 2^32 - 2 steps between its extremes, the lowest left out; the factor keeps rounding off the edge. */
const STEPS = 2 ** 32 - 2;
const MARGIN = 1.0001;

/** @throws ArgumentError for a type or input scale that is not allowed, alone or together. */
export function planBias(options: {
  readonly biasDtype?: BiasDType | undefined;
  readonly inputScale?: number | undefined;
  readonly scheme?: SchemeName | undefined;
  readonly nonFinite?: NonFinite | undefined;
  readonly range?: RangeMethod | undefined;
}): BiasPlan {
  const { biasDtype, inputScale, scheme, nonFinite, range } = options;
  const scale = Math.fround(inputScale ?? 0);
  if (inputScale !== undefined && !(scale > 0 && Number.isFinite(scale))) {
    throw new ArgumentError("inputScale", `${inputScale} given; a finite float32 number above 0 is allowed`);
  }
  const otherwise = inputScale === undefined ? "float32" : "int32";
  const dtype = oneOf<BiasDType>("biasDtype", biasDtype ?? otherwise, ["float32", "int32", ...codeNames]);
  if (dtype === "int32" && inputScale === undefined) throw new ArgumentError("inputScale", "an int32 bias needs it");
  if (dtype === "int32" && scheme === "float-offset") {
    throw new ArgumentError(
      "scheme",
      "float-offset keeps an offset that an int32 bias cannot; take asymmetric or symmetric",
    );
  }
  if (dtype !== "int32" && dtype !== "float32" && inputScale !== undefined) {
    throw new ArgumentError("biasDtype", `${dtype} takes the bias's own range; leave inputScale out, or take int32`);
  }
  return { dtype, inputScale: scale, scheme, nonFinite, range };
}

/**
 * Codes of a bias: int32 with scale input scale * weight scale, or another type over its own range.
 *
 * @throws ArgumentError where the product of the scales is no float32 number, NonFiniteError
 */
export function quantizeLayerBias(
  engine: Engine,
  bias: FloatTensor,
  weight: QuantizedTensor,
  { dtype, inputScale, scheme, nonFinite, range }: BiasPlan,
): QuantizedTensor {
  if (dtype !== "int32") return engine.quantize(bias, { dtype: dtype as CodeDType, scheme, nonFinite, range });
  const products = weight.scale.map((s) => inputScale * s);
  const p = products.findIndex((product) => product === 0 || !Number.isFinite(product));
  if (p >= 0) {
    const product = `${inputScale} times the weight's scale ${weight.scale[p]} is ${products[p]} in float32`;
    throw new ArgumentError("inputScale", `${product}, which no bias can be divided by`);
  }
  if (products.length === 1) return engine.quantizeBias(bias, { scale: products });
  const scale = Float32Array.from({ length: bias.shape[0]! }, (_, c) => products[c % products.length]!);
  return engine.quantizeBias(bias, { scale, axis: 0 });
}

/** The largest magnitude of the biases behind each of `scales` scales. */
export function magnitudesOf(engine: Engine, bias: FloatTensor, scales: number, { nonFinite }: BiasPlan): Float64Array {
  const { min, max } = engine.range(bias, { axis: 0, nonFinite });
  const largest = new Float64Array(scales);
  min.forEach((low, c) => {
    largest[c % scales] = Math.max(largest[c % scales]!, -low, max[c]!);
  });
  return largest;
}

/**
 * Where input scale * weight scale is so small that the bias would not fit int32, the weight's scale grows until it does:
 * ONNX Runtime's guard, which it has for symmetric weights; here every weight that takes an int32 bias has it. The new
 * scales, or undefined if all is well as it is.
 */
export function widenForBias(
  scale: Float32Array,
  magnitudes: Float64Array,
  { inputScale }: BiasPlan,
): Float32Array | undefined {
  let widened = false;
  const wider = scale.map((s, p) => {
    const smallest = (MARGIN * 2 * magnitudes[p]!) / STEPS;
    const product = inputScale * s;
    if (!(product > 0 && product < smallest)) return s;
    widened = true;
    return s * (smallest / product);
  });
  return widened ? wider : undefined;
}
