import { attributeOf, makeNode, type Node } from "../../ir/graph.ts";
import type { NodeSite } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import { unfitGemm } from "../gemm-as-matmul.ts";
import type { SeenWeight, WeightUsages } from "../weight-usage.ts";
import type { Quantized } from "./quantized-activations.ts";
import type { Storage } from "./quantized-weights.ts";
import { centred, quantizationOf, type Rewrite, type RewriteContext, restoreProduct } from "./rewrite-context.ts";

/** MatMul with a constant on its right: MatMulInteger. */
export const rewriteMatMul: Rewrite = ({ node, scope }, pass) => {
  const [a = ""] = node.inputs;
  const weight = pass.usages.weightAt(node, 1);
  if (!weight) return pass.usages.find(scope, a) ? "MatMul takes it on its left" : undefined;
  const refused = refusalOf({ node, scope }, weight, pass.usages);
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const stored = storedFor(weight, weight.isSwapped, pass);
  weight.usage.take(node, 1);
  pass.edits.replace(node, multiply({ node, scope }, weight, stored, { name: node.name, output }, pass));
  return undefined;
};

/** Gemm as MatMulInteger and Add; its B lies transposed where transB says so. */
export const rewriteGemm: Rewrite = ({ node, scope }, pass) => {
  const [a = "", , c] = node.inputs;
  const weight = pass.usages.weightAt(node, 1);
  if (!weight) return pass.usages.find(scope, a) ? "Gemm takes it on its left" : undefined;
  const refused = refusalOf({ node, scope }, weight, pass.usages);
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const stored = storedFor(weight, isTurned(node, weight), pass);
  const product = c ? pass.names.fresh(`${output}_MatMul`) : output;
  const name = node.name === "" ? "" : `${node.name}_MatMul`;
  const nodes = multiply({ node, scope }, weight, stored, { name, output: product }, pass);
  const sum = node.name === "" ? "" : pass.names.fresh(`${node.name}_Add`);
  weight.usage.take(node, 1);
  pass.edits.replace(node, c ? [...nodes, makeNode("Add", [product, c], [output], { name: sum })] : nodes);
  return undefined;
};

/** Why a product is not to take its weight as codes. */
export function refusalOf({ node, scope }: NodeSite, { usage }: SeenWeight, usages: WeightUsages) {
  const unfit = node.opType === "Gemm" ? unfitGemm(node) : undefined;
  const [a = ""] = node.inputs;
  return usages.refusal(node, usage) ?? unfit ?? (usages.find(scope, a) && `${node.opType} of two constants`);
}

/** Whether a product's weight lies as [N, K]. */
export function isTurned(node: Node, { isSwapped }: SeenWeight): boolean {
  return isSwapped !== (node.opType === "Gemm" && attributeOf(node, "transB", "int") === 1);
}

/** The weight's codes as MatMulInteger takes them: those of a table that lies as [N, K] are transposed. */
function storedFor({ usage, constant }: SeenWeight, isSwapped: boolean, pass: RewriteContext): Quantized {
  if (isSwapped && pass.tied.has(usage)) return pass.tied.asMatrix(usage);
  const plain = isSwapped || constant !== usage.constant ? undefined : pass.weights.plain(usage);
  return plain ?? pass.weights.store(usage, storageFor(constant, isSwapped, pass), constant);
}

/**
 * A scale for each column, of a vector one. Of several matrices MatMulInteger takes a zero point for each column of each
 * or one for all: their columns share scales, and need no zero points, if the weights are symmetric.
 */
function storageFor({ tensor: { shape } }: FloatConstant, isSwapped: boolean, { options }: RewriteContext): Storage {
  const rank = shape.length;
  const column = isSwapped ? rank - 2 : rank - 1;
  const swap = isSwapped ? { shape: [...shape.slice(0, -2), ...shape.slice(-2).reverse()] } : {};
  const form = isSwapped ? { swapsLast: true } : undefined;
  if (options.perChannel && rank > 2) {
    const middle = centred(options, column);
    return { ...middle, ...swap, form: { ...middle.form, ...form } };
  }
  const quantization = quantizationOf(options, options.perChannel && rank === 2 ? column : undefined);
  return { quantization, ...swap, ...(form && { form }) };
}

function multiply(
  { node, scope }: NodeSite,
  { type }: SeenWeight,
  stored: Quantized,
  { name, output }: { readonly name: string; readonly output: string },
  pass: RewriteContext,
): Node[] {
  const a = pass.activations.quantized(scope, node.inputs[0]!, type === "float32", node);
  const product = pass.names.fresh(`${output}_output_quantized`);
  const inputs = [a.codes, stored.codes, a.zeroPoint, stored.zeroPoint];
  const label = name === "" ? "" : pass.names.fresh(`${name}_quant`);
  const scales = [a.scale, stored.scale] as const;
  return [
    makeNode("MatMulInteger", inputs, [product], { name: label }),
    ...restoreProduct({ name, output, product, scales, type }, pass),
  ];
}
