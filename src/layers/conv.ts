import type { CodeDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { checkKeys, oneOf } from "../engine/tensors/quantize-options.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import { ArgumentError } from "../errors.ts";
import {
  type Layer,
  type LayerOptions,
  layerOptions,
  type OutputChannels,
  type QuantizedFrom,
  quantizeLayer,
  weightShapeOf,
} from "./layer.ts";

/**
 * How a convolution's weight lies in memory, slowest dimension first: O output channels, I input channels, D H W the
 * kernel's extent.
 *
 * - OI...: PyTorch, ONNX Conv; the group count leaves O alone and divides I.
 * - ...IO: TensorFlow, Flax.
 * - O...I: TensorFlow Lite.
 * - IO...: transposed convolutions in PyTorch and ONNX; with groups, O is the outputs of one group.
 * - ...CM: TensorFlow depthwise, C channels with M outputs each.
 */
export type ConvLayout =
  | ("OIW" | "WIO" | "OWI" | "IOW" | "WCM")
  | ("OIHW" | "HWIO" | "OHWI" | "IOHW" | "HWCM")
  | ("OIDHW" | "DHWIO" | "ODHWI" | "IODHW" | "DHWCM");

const layouts: readonly ConvLayout[] = [
  ...(["OIW", "WIO", "OWI", "IOW", "WCM"] as const),
  ...(["OIHW", "HWIO", "OHWI", "IOHW", "HWCM"] as const),
  ...(["OIDHW", "DHWIO", "ODHWI", "IODHW", "DHWCM"] as const),
];

export interface ConvOptions<D extends CodeDType = CodeDType> extends LayerOptions<D> {
  /** Default: OIW, OIHW or OIDHW, by the weight's rank. */
  readonly layout?: ConvLayout | undefined;
  /** How many groups the channels are divided into. Default: 1. Transposed weights need it to count their outputs. */
  readonly groups?: number | undefined;
}

/**
 * Quantizes a convolution in one to three dimensions, depthwise and grouped ones included: a weight and, if it has one, a
 * bias for each output channel.
 *
 * @throws ArgumentError for shapes and options that do not fit, NonFiniteError, MemoryError for residents
 */
export function quantizeConv<D extends CodeDType = "int8", L extends Layer = Layer>(
  engine: Engine,
  layer: L,
  options: ConvOptions<D> = {},
): QuantizedFrom<L, D> {
  checkKeys(options, [...layerOptions, "layout", "groups"]);
  const shape = weightShapeOf(layer);
  const channels = outputChannelsOf(shape, checkLayout(shape, options.layout), options.groups ?? 1);
  return quantizeLayer(engine, layer, channels, options);
}

function checkLayout(shape: readonly number[], layout: ConvLayout | undefined): ConvLayout {
  const ofRank = layouts.filter((name) => name.length === shape.length);
  if (ofRank.length === 0) {
    throw new ArgumentError("weight", `shape [${shape.join(", ")}] given; a convolution has 3 to 5 dimensions`);
  }
  if (layout === undefined) return ofRank[0]!;
  if (oneOf("layout", layout, layouts).length === shape.length) return layout;
  const given = `${layout} has ${layout.length} dimensions, the weight [${shape.join(", ")}] ${shape.length}`;
  throw new ArgumentError("layout", `${given}; ${ofRank.join(", ")} are allowed`);
}

function outputChannelsOf(shape: readonly number[], layout: ConvLayout, groups: number): OutputChannels {
  const depthwise = layout.endsWith("CM");
  const transposed = layout.startsWith("IO");
  if (depthwise) {
    const axis = [shape.length - 2, shape.length - 1] as const;
    if (groups !== 1 && groups !== shape[axis[0]]) {
      throw new ArgumentError(
        "groups",
        `${groups} given; a depthwise weight of ${shape[axis[0]]} channels has as many groups`,
      );
    }
    return { axis, outputs: elementsOf(shape.slice(-2)) };
  }
  const axis = layout.indexOf("O");
  const divided = shape[layout.indexOf(transposed ? "I" : "O")]!;
  if (!(Number.isSafeInteger(groups) && groups > 0 && divided % groups === 0)) {
    const what = transposed ? "input" : "output";
    throw new ArgumentError("groups", `${groups} given; a divisor of the ${divided} ${what} channels is allowed`);
  }
  return { axis, outputs: shape[axis]! * (transposed ? groups : 1) };
}
