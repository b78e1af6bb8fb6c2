import type { Engine } from "../core/engine.ts";
import { oneOf } from "../core/options.ts";
import type { CodeDType } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";
import { type Layer, type LayerOptions, type QuantizedLayer, quantizeLayer } from "./layer.ts";

/** [out, in] as PyTorch, ONNX Gemm with transB; [in, out] as TensorFlow, ONNX MatMul. */
export type LinearLayout = "OI" | "IO";

/**
 * Quantizes a fully connected layer: a weight matrix and, if it has one, a bias for each output.
 *
 * @throws ArgumentError, NonFiniteError, MemoryError (resident weights)
 */
export function quantizeLinear<D extends CodeDType = "int8">(
  engine: Engine,
  layer: Layer,
  { layout = "OI", ...options }: LayerOptions<D> & { readonly layout?: LinearLayout | undefined } = {},
): QuantizedLayer<D> {
  const axis = oneOf("layout", layout, ["OI", "IO"]) === "OI" ? 0 : 1;
  const { shape } = layer.weight;
  if (shape.length !== 2) {
    throw new ArgumentError("weight", `shape [${shape.join(", ")}] given; a fully connected layer has two dimensions`);
  }
  return quantizeLayer(engine, layer, { axis, outputs: shape[axis]! }, options);
}
