import { attributeOf, makeNode, type Node } from "../../ir/graph.ts";
import { unfitGemm } from "../gemm-as-matmul.ts";
import type { Claim } from "../weight-usage.ts";
import type { Storage, Stored } from "./quantized-weights.ts";
import { centred, isFloat32, type Pass, type Rewrite, recipeOf, restoreProduct, type Site } from "./rewrite-context.ts";

/** MatMul with a constant on its right: MatMulInteger. */
export const rewriteMatMul: Rewrite = ({ node, scope }, pass) => {
  const [a = "", b = ""] = node.inputs;
  const claim = pass.claims.find(scope, b);
  if (!claim) return pass.claims.find(scope, a) ? "MatMul takes it on its left" : undefined;
  const refused = pass.claims.refusal(node, claim) ?? (pass.claims.find(scope, a) && "MatMul of two constants");
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const stored = pass.weights.plain(claim) ?? pass.weights.store(claim, storageFor(claim, false, pass));
  claim.take(node, 1);
  pass.edits.replace(node, multiply({ node, scope }, claim, stored, { name: node.name, output }, pass));
  return undefined;
};

/** Gemm as MatMulInteger and Add; its B lies transposed where transB says so. */
export const rewriteGemm: Rewrite = ({ node, scope }, pass) => {
  const [a = "", b = "", c] = node.inputs;
  const claim = pass.claims.find(scope, b);
  if (!claim) return pass.claims.find(scope, a) ? "Gemm takes it on its left" : undefined;
  const refused =
    pass.claims.refusal(node, claim) ?? unfitGemm(node) ?? (pass.claims.find(scope, a) && "Gemm of two constants");
  if (refused !== undefined) return refused;
  const [output = ""] = node.outputs;
  const isSwapped = attributeOf(node, "transB", "int") === 1;
  const plain = isSwapped ? undefined : pass.weights.plain(claim);
  const stored = plain ?? pass.weights.store(claim, storageFor(claim, isSwapped, pass));
  const product = c ? pass.names.fresh(`${output}_MatMul`) : output;
  const name = node.name === "" ? "" : `${node.name}_MatMul`;
  const nodes = multiply({ node, scope }, claim, stored, { name, output: product }, pass);
  const sum = node.name === "" ? "" : pass.names.fresh(`${node.name}_Add`);
  claim.take(node, 1);
  pass.edits.replace(node, c ? [...nodes, makeNode("Add", [product, c], [output], { name: sum })] : nodes);
  return undefined;
};

/**
 * A scale for each column, of a vector one. Of several matrices MatMulInteger takes a zero point for each column of each
 * or one for all: their columns share scales, and need no zero points, if the weights are symmetric.
 */
function storageFor({ constant: { tensor } }: Claim, isSwapped: boolean, { wishes }: Pass): Storage {
  const { shape } = tensor;
  if (wishes.perChannel && shape.length > 2) return centred(wishes, shape.length - 1);
  const column = isSwapped ? 0 : 1;
  const recipe = recipeOf(wishes, wishes.perChannel && shape.length === 2 ? column : undefined);
  return isSwapped ? { recipe, shape: [...shape].reverse(), form: { swapsLast: true } } : { recipe };
}

function multiply(
  { node, scope }: Site,
  claim: Claim,
  stored: Stored,
  { name, output }: { readonly name: string; readonly output: string },
  pass: Pass,
): Node[] {
  const a = pass.activations.quantized(scope, node.inputs[0]!, isFloat32(claim), node);
  const product = pass.names.fresh(`${output}_output_quantized`);
  const inputs = [a.codes, stored.codes, a.zeroPoint, stored.zeroPoint];
  const label = name === "" ? "" : pass.names.fresh(`${name}_quant`);
  const scales = [a.scale, stored.scale] as const;
  return [
    makeNode("MatMulInteger", inputs, [product], { name: label }),
    ...restoreProduct({ name, output, product, scales, type: claim.constant.dtype }, pass),
  ];
}
