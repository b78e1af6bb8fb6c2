import type { Engine } from "../core/engine.ts";
import type { Axis } from "../core/granularity.ts";
import { checkKeys } from "../core/options.ts";
import type { NonFinite } from "../core/range.ts";
import type { ResidentTensor } from "../core/resident.ts";
import type { SchemeName } from "../core/schemes.ts";
import type { FloatTensor, QuantizedTensor } from "../core/tensor.ts";
import type { CodeDType } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";
import { type BiasDType, quantizeLayerBias, widenForBias } from "./bias.ts";

export interface Layer {
  readonly weight: FloatTensor | ResidentTensor;
  /** One value for each output channel. */
  readonly bias?: FloatTensor | undefined;
}

export interface LayerOptions<D extends CodeDType = CodeDType> {
  /** Of the weight; int8 if not said. */
  readonly dtype?: D | undefined;
  /** `symmetric` for signed types, `affine` for unsigned ones if not said. */
  readonly scheme?: SchemeName | undefined;
  /** A scale for each output channel (the default), or one for the whole weight. */
  readonly perChannel?: boolean | undefined;
  readonly reduceRange?: boolean | undefined;
  readonly nonFinite?: NonFinite | undefined;
  /** Scale of the layer's quantized input: the bias becomes int32 with scale `inputScale * weight scale`. */
  readonly inputScale?: number | undefined;
  /**
   * `int32` with `inputScale` and `float32` (left as it is) without it if not said; any other type quantizes the bias
   * over its own range, with the weight's scheme.
   */
  readonly biasDtype?: BiasDType | undefined;
}

export interface QuantizedLayer<D extends CodeDType = CodeDType> {
  readonly weight: QuantizedTensor<D>;
  /** Codes, or the bias as it was given where it stays float. */
  readonly bias: QuantizedTensor | FloatTensor | undefined;
}

/** Where a layer's output channels are. */
export interface OutputChannels {
  readonly axis: Axis;
  /** How many outputs there are; each channel of a grouped, transposed convolution's weight serves several. */
  readonly outputs: number;
}

/** Quantizes weight and bias together: the bias takes its scale from the weight's, and may have to widen it. */
export function quantizeLayer<D extends CodeDType>(
  engine: Engine,
  { weight, bias }: Layer,
  { axis, outputs }: OutputChannels,
  layerOptions: LayerOptions<D>,
): QuantizedLayer<D> {
  checkKeys(layerOptions, [
    "dtype",
    "scheme",
    "perChannel",
    "layout",
    "reduceRange",
    "nonFinite",
    "inputScale",
    "biasDtype",
  ]);
  const { perChannel = true, inputScale, biasDtype, ...options } = layerOptions;
  if (bias && !(bias.shape.length === 1 && bias.shape[0] === outputs)) {
    throw new ArgumentError(
      "bias",
      `shape [${bias.shape.join(", ")}] given; the weight has ${outputs} output channels`,
    );
  }
  const granularity = perChannel ? { axis } : {};
  const codes = engine.quantize(weight, { ...options, ...granularity });
  const dtype = biasDtype ?? (inputScale === undefined ? "float32" : "int32");
  if (!bias || dtype === "float32") return { weight: codes, bias };
  const how = { dtype, inputScale, scheme: options.scheme, nonFinite: options.nonFinite };
  if (dtype !== "int32") return { weight: codes, bias: quantizeLayerBias(engine, bias, codes, how) };

  const scale = widenForBias(engine, bias, codes, how);
  if (!scale) return { weight: codes, bias: quantizeLayerBias(engine, bias, codes, how) };
  const { scheme, zeroPoint } = codes;
  const wider = engine.quantize(weight, { dtype: codes.dtype, scheme, scale, zeroPoint, ...granularity });
  if ("dispose" in codes) (codes as unknown as ResidentTensor).dispose();
  return { weight: wider, bias: quantizeLayerBias(engine, bias, wider, how) };
}
