import { bytesOf } from "../../../engine/tensors/tensor.ts";
import { makeNode, makeTensor } from "../../ir/graph.ts";
import type { Storage } from "./quantized-weights.ts";
import {
  centred,
  type DynamicOptions,
  isFloat32,
  quantizationOf,
  type Rewrite,
  restoreProduct,
} from "./rewrite-context.ts";

/** Why Conv stays as it is where the options do not name it. */
export const SLOWER_THAN_CONV = "ConvInteger is slower than Conv in ONNX Runtime on CPUs";

/**
 * Conv as ConvInteger, its bias added in floating point; where that is not asked for, Conv stays as it is.
 *
 * ONNX Runtime's tool gives it one scale however many are asked for. ConvInteger takes no more than one zero point; a
 * scale for each output channel needs none, if the weights are symmetric: it multiplies what comes out, as [C, 1, 1].
 */
export const rewriteConv: Rewrite = ({ node, scope }, pass) => {
  const [x = "", w = "", bias] = node.inputs;
  const usage = pass.usages.find(scope, w);
  if (!usage) return undefined;
  const refused = pass.usages.refusal(node, usage) ?? (pass.usages.find(scope, x) && "Conv of two constants");
  if (refused !== undefined) return refused;
  if (!pass.options.conv) return SLOWER_THAN_CONV;
  const { names } = pass;
  const [output = ""] = node.outputs;
  const { dtype: type, tensor } = usage.constant;
  const { shape } = tensor;
  const stored = pass.weights.store(usage, storageFor(shape, pass.options));
  const a = pass.activations.quantized(scope, x, isFloat32(usage), node);
  const product = names.fresh(`${output}_output_quantized`);
  const scaled = bias ? names.fresh(`${output}quant_scaled_output`) : output;
  const name = node.name === "" ? "" : names.fresh(`${node.name}_quant`);
  const nodes = [
    makeNode("ConvInteger", [a.codes, stored.codes, a.zeroPoint, stored.zeroPoint], [product], {
      name,
      attributes: node.attributes,
    }),
    ...restoreProduct({ name: node.name, output: scaled, product, scales: [a.scale, stored.scale], type }, pass),
  ];
  if (bias) {
    const dimensions = BigInt64Array.from([1n, -1n, ...shape.slice(2).map(() => 1n)]);
    const to = names.fresh(`${output}_bias_reshape_shape`);
    pass.edits.addTensors(scope.graph, [makeTensor(to, "int64", [shape.length], bytesOf(dimensions))]);
    const shaped = names.fresh(`${output}_bias_reshape_output`);
    nodes.push(
      makeNode("Reshape", [bias, to], [shaped], { name: names.fresh(`${output}_bias_reshape`) }),
      makeNode("Add", [scaled, shaped], [output], { name: names.fresh(`${output}_bias_add`) }),
    );
  }
  usage.take(node, 1);
  pass.edits.replace(node, nodes);
  return undefined;
};

function storageFor(shape: readonly number[], { conv, ...asked }: DynamicOptions): Storage {
  const options = { ...asked, ...conv };
  if (options.like) return { quantization: quantizationOf(options) };
  if (options.perChannel) return { ...centred(options, 0), scaleShape: [shape[0]!, ...shape.slice(2).map(() => 1)] };
  return options.scheme === "symmetric" ? centred(options) : { quantization: quantizationOf(options) };
}
