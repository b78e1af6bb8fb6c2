import type { CodeDType } from "../dtypes.ts";
import type { Engine } from "../engine/engine.ts";
import { checkKeys, oneOf } from "../engine/tensors/quantize-options.ts";
import { ArgumentError } from "../errors.ts";
import {
  type Layer,
  type LayerOptions,
  layerOptions,
  type QuantizedFrom,
  quantizeLayer,
  weightShapeOf,
} from "./layer.ts";

/** [out, in] as PyTorch, ONNX Gemm with transB; [in, out] as TensorFlow, ONNX MatMul. */
export type LinearLayout = "OI" | "IO";

export interface LinearOptions<D extends CodeDType = CodeDType> extends LayerOptions<D> {
  /** Default: OI. */
  readonly layout?: LinearLayout | undefined;
}

/**
 * Quantizes a fully connected layer: a weight matrix and, if it has one, a bias for each output.
 *
 * @throws ArgumentError for shapes and options that do not fit, NonFiniteError, MemoryError for residents
 */
export function quantizeLinear<D extends CodeDType = "int8", L extends Layer = Layer>(
  engine: Engine,
  layer: L,
  options: LinearOptions<D> = {},
): QuantizedFrom<L, D> {
  checkKeys(options, [...layerOptions, "layout"]);
  const axis = oneOf("layout", options.layout ?? "OI", ["OI", "IO"]) === "OI" ? 0 : 1;
  const shape = weightShapeOf(layer);
  if (shape.length !== 2) {
    throw new ArgumentError("weight", `shape [${shape.join(", ")}] given; a fully connected layer has two dimensions`);
  }
  return quantizeLayer(engine, layer, { axis, outputs: shape[axis]! }, options);
}
