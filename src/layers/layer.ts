import type { CodeDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { checkIsTensor } from "../engine/tensors/check-tensors.ts";
import { type Axis, scaleShapeOf } from "../engine/tensors/granularity.ts";
import { checkBoolean, type QuantizeOptions } from "../engine/tensors/quantize-options.ts";
import { type RangeMethod, rangeRuleOf } from "../engine/tensors/range-method.ts";
import { type ResidentQuantizedTensor, type ResidentTensor, release } from "../engine/tensors/resident-tensor.ts";
import { checkShape, elementsOf } from "../engine/tensors/shape.ts";
import { checkData, type FloatTensor, floatTypeOf, type QuantizedTensor } from "../engine/tensors/tensor.ts";
import { ArgumentError } from "../errors.ts";
import { type BiasDType, magnitudesOf, planBias, quantizeLayerBias, widenForBias } from "./bias.ts";

export interface Layer {
  readonly weight: FloatTensor | ResidentTensor;
  /** One value for each output channel. */
  readonly bias?: FloatTensor | undefined;
}

/** `dtype`, `scheme` and `reduceRange` are the weight's; `nonFinite` is about weight and bias, `range` too. */
export interface LayerOptions<D extends CodeDType = CodeDType>
  extends Pick<QuantizeOptions<D>, "dtype" | "scheme" | "reduceRange" | "nonFinite"> {
  /** How the range of each channel is chosen, and that of a bias that is quantized over its own. Default: `minmax`. */
  readonly range?: RangeMethod | undefined;
  /** A scale for each output channel (the default), or one for the whole weight. */
  readonly perChannel?: boolean | undefined;
  /** Scale of the layer's quantized input: the bias becomes int32 with scale `inputScale * weight scale`. */
  readonly inputScale?: number | undefined;
  /**
   * Default: `int32` with `inputScale`, `float32` (left as it is) without it. Any other type quantizes the bias over its
   * own range, with the weight's scheme.
   */
  readonly biasDtype?: BiasDType | undefined;
}

export interface QuantizedLayer<D extends CodeDType = CodeDType> {
  readonly weight: QuantizedTensor<D>;
  /** Codes, or the bias as it was given where it stays float. */
  readonly bias: QuantizedTensor | FloatTensor | undefined;
}

/** A layer whose weight is in linear memory. */
export interface ResidentLayer extends Layer {
  readonly weight: ResidentTensor;
}

export interface ResidentQuantizedLayer<D extends CodeDType = CodeDType> extends QuantizedLayer<D> {
  readonly weight: ResidentQuantizedTensor<D>;
}

/** The quantized form of a layer: in linear memory where its weight is. */
export type QuantizedFrom<L extends Layer, D extends CodeDType> = L extends ResidentLayer
  ? ResidentQuantizedLayer<D>
  : QuantizedLayer<D>;

/** @throws ArgumentError unless there is a weight, with a shape. */
export function weightShapeOf(layer: Layer): readonly number[] {
  const weight = (layer as Layer | undefined)?.weight;
  if (weight === undefined) throw new ArgumentError("weight", "missing; expected { weight: { data, shape }, bias }");
  checkIsTensor("weight", weight);
  return checkShape(weight.shape);
}

/** Where a layer's output channels are. */
export interface OutputChannels {
  readonly axis: Axis;
  /** How many outputs there are; each channel of a grouped, transposed convolution's weight serves several. */
  readonly outputs: number;
}

/** The options of every layer. */
export const layerOptions = [
  "dtype",
  "scheme",
  "perChannel",
  "reduceRange",
  "range",
  "nonFinite",
  "inputScale",
  "biasDtype",
];

/** Quantizes weight and bias together: the bias takes its scale from the weight's, and may have to widen it. */
export function quantizeLayer<D extends CodeDType, L extends Layer>(
  engine: Engine,
  layer: L,
  channels: OutputChannels,
  options: LayerOptions<D>,
): QuantizedFrom<L, D> {
  return quantizeTogether(engine, layer, channels, options) as QuantizedFrom<L, D>;
}

function quantizeTogether<D extends CodeDType>(
  engine: Engine,
  { weight, bias }: Layer,
  { axis, outputs }: OutputChannels,
  options: LayerOptions<D>,
): QuantizedLayer<D> {
  const { dtype, scheme, reduceRange, nonFinite } = options;
  const range = checkMethod(options.range);
  const granularity = checkBoolean("perChannel", options.perChannel, true) ? { axis } : {};
  const plan = planBias(options);
  if (bias) checkBias(bias, outputs);
  const how = { dtype, scheme, reduceRange, range, nonFinite, ...granularity };
  if (!bias || plan.dtype === "float32") return { weight: engine.quantize(weight, how), bias };

  // Whatever is wrong with the bias shows before anything is made of the weight.
  const scales = "axis" in granularity ? elementsOf(scaleShapeOf(weight.shape, granularity)) : 1;
  const magnitudes = magnitudesOf(engine, bias, scales, plan);
  const codes = engine.quantize(weight, how);
  const wider = plan.dtype === "int32" ? widenForBias(codes.scale, magnitudes, plan) : undefined;
  const widened = wider ? requantize(engine, weight, codes, wider) : codes;
  try {
    return { weight: widened, bias: quantizeLayerBias(engine, bias, widened, plan) };
  } catch (error) {
    release(widened);
    throw error;
  }
}

/** @throws ArgumentError: a range of the weight's would not do for the bias */
function checkMethod(range: RangeMethod | undefined): RangeMethod | undefined {
  if (range !== undefined) rangeRuleOf("range", range);
  return range;
}

function checkBias(bias: FloatTensor, outputs: number): void {
  checkIsTensor("bias", bias);
  const shape = checkShape(bias.shape);
  checkData("bias", bias.data, floatTypeOf(bias), shape);
  if (shape.length === 1 && shape[0] === outputs) return;
  throw new ArgumentError("bias", `shape [${shape.join(", ")}] given; the weight has ${outputs} output channels`);
}

function requantize<D extends CodeDType>(
  engine: Engine,
  weight: FloatTensor | ResidentTensor,
  codes: QuantizedTensor<D>,
  scale: Float32Array,
): QuantizedTensor<D> {
  const { dtype, scheme, zeroPoint, axis } = codes;
  release(codes);
  return engine.quantize(weight, { dtype, scheme, scale, zeroPoint, axis });
}
