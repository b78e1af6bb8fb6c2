import { attributeOf, makeNode, type Node } from "../../ir/graph.ts";
import type { NodeSite } from "../../ir/scopes.ts";
import { unfitGemm } from "../gemm-as-matmul.ts";
import type { WeightUsage } from "../weight-usage.ts";
import type { Storage, Stored } from "./quantized-weights.ts";
import {
  centred,
  isFloat32,
  quantizationOf,
  type Rewrite,
  type RewriteContext,
  restoreProduct,
} from "./rewrite-context.ts";

/** MatMul with a constant on its right: MatMulInteger. */
export const rewriteMatMul: Rewrite = ({ node, scope }, pass) => {
  const [a = "", b = ""] = node.inputs;
  const usage = pass.usages.find(scope, b);
  if (!usage) return pass.usages.find(scope, a) ? "MatMul takes it on its left" : undefined;
  const refused = pass.usages.refusal(node, usage) ?? (pass.usages.find(scope, a) && "MatMul of two constants");
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const stored = pass.weights.plain(usage) ?? pass.weights.store(usage, storageFor(usage, false, pass));
  usage.take(node, 1);
  pass.edits.replace(node, multiply({ node, scope }, usage, stored, { name: node.name, output }, pass));
  return undefined;
};

/** Gemm as MatMulInteger and Add; its B lies transposed where transB says so. */
export const rewriteGemm: Rewrite = ({ node, scope }, pass) => {
  const [a = "", b = "", c] = node.inputs;
  const usage = pass.usages.find(scope, b);
  if (!usage) return pass.usages.find(scope, a) ? "Gemm takes it on its left" : undefined;
  const refused =
    pass.usages.refusal(node, usage) ?? unfitGemm(node) ?? (pass.usages.find(scope, a) && "Gemm of two constants");
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const isSwapped = attributeOf(node, "transB", "int") === 1;
  const plain = isSwapped ? undefined : pass.weights.plain(usage);
  const stored = plain ?? pass.weights.store(usage, storageFor(usage, isSwapped, pass));
  const product = c ? pass.names.fresh(`${output}_MatMul`) : output;
  const name = node.name === "" ? "" : `${node.name}_MatMul`;
  const nodes = multiply({ node, scope }, usage, stored, { name, output: product }, pass);
  const sum = node.name === "" ? "" : pass.names.fresh(`${node.name}_Add`);
  usage.take(node, 1);
  pass.edits.replace(node, c ? [...nodes, makeNode("Add", [product, c], [output], { name: sum })] : nodes);
  return undefined;
};

/**
 * A scale for each column, of a vector one. Of several matrices MatMulInteger takes a zero point for each column of each
 * or one for all: their columns share scales, and need no zero points, if the weights are symmetric.
 */
function storageFor({ constant: { tensor } }: WeightUsage, isSwapped: boolean, { options }: RewriteContext): Storage {
  const { shape } = tensor;
  if (options.perChannel && shape.length > 2) return centred(options, shape.length - 1);
  const column = isSwapped ? 0 : 1;
  const quantization = quantizationOf(options, options.perChannel && shape.length === 2 ? column : undefined);
  return isSwapped ? { quantization, shape: [...shape].reverse(), form: { swapsLast: true } } : { quantization };
}

function multiply(
  { node, scope }: NodeSite,
  usage: WeightUsage,
  stored: Stored,
  { name, output }: { readonly name: string; readonly output: string },
  pass: RewriteContext,
): Node[] {
  const a = pass.activations.quantized(scope, node.inputs[0]!, isFloat32(usage), node);
  const product = pass.names.fresh(`${output}_output_quantized`);
  const inputs = [a.codes, stored.codes, a.zeroPoint, stored.zeroPoint];
  const label = name === "" ? "" : pass.names.fresh(`${name}_quant`);
  const scales = [a.scale, stored.scale] as const;
  return [
    makeNode("MatMulInteger", inputs, [product], { name: label }),
    ...restoreProduct({ name, output, product, scales, type: usage.constant.dtype }, pass),
  ];
}
