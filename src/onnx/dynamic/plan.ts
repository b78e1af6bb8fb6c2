import { listed } from "../../task/words.ts";
import { Edits } from "../edits.ts";
import { constantProducts, lacksPerm } from "../fusion.ts";
import type { Model, Node } from "../graph.ts";
import { Names } from "../names.ts";
import { opNameOf } from "../ops.ts";
import { type Claim, Claims } from "../rewrite/claims.ts";
import { viewersOf, withoutWeights } from "../rewrite/reasons.ts";
import type { Rewritten } from "../rewrite/rewritten.ts";
import type { Scope } from "../scopes.ts";
import { Selection, type WeightSelection } from "../select.ts";
import { type FloatConstant, usersOf } from "../weights.ts";
import { Activations, type Made } from "./activations.ts";
import { rewriteAttention } from "./attention.ts";
import { rewriteConv } from "./conv.ts";
import { dequantize, rewriteGather, rewriteTranspose } from "./gather.ts";
import { rewriteLstm } from "./lstm.ts";
import { rewriteGemm, rewriteMatMul } from "./matmul.ts";
import type { DynamicWishes, Pass, Rewrite } from "./pass.ts";
import { StoredWeights } from "./stored.ts";

/** The least opset: DynamicQuantizeLinear came with it. */
export const DYNAMIC_OPSET = 11;

/** DequantizeLinear has an axis from this opset on. */
const AXIS_OPSET = 13;

const rewrites: Readonly<Record<string, Rewrite>> = {
  MatMul: rewriteMatMul,
  Gemm: rewriteGemm,
  Conv: rewriteConv,
  Gather: rewriteGather,
  LSTM: rewriteLstm,
  "com.microsoft.Attention": rewriteAttention,
};

/**
 * Plans a model whose layers work on integers: activations are quantized as they come, by DynamicQuantizeLinear, weights
 * are stored as codes. What ONNX Runtime's `quantize_dynamic` makes of it, names included, but for scales per channel of
 * Conv and for half-precision models, which that tool has no forms for.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planDynamic(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: DynamicWishes & WeightSelection,
): Rewritten {
  const selection = new Selection(model, constants, root, options, Object.keys(rewrites));
  const names = new Names(model);
  const edits = new Edits();
  const claims = new Claims(constants, selection);
  const activations = new Activations(names, edits);
  const pass: Pass = { names, edits, claims, activations, weights: new StoredWeights(names), wishes: options };
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) rewrite({ node, scope }, pass);
  }
  restoreMade(root, pass);
  restoreLeft(model, root, pass);
  claims.putInto(edits);
  edits.need({ ir: 4 });
  return {
    edits,
    decisions: claims.decisions(whyLeft),
    remarks: [...otherType(claims, options), ...keptBeside(claims), ...withoutWeights(root, constants)],
  };
}

function rewrite({ node, scope }: { node: Node; scope: Scope }, pass: Pass): void {
  const name = opNameOf(node);
  if (name === "Transpose") {
    rewriteTranspose({ node, scope }, pass);
    return;
  }
  const reason = rewrites[name]?.({ node, scope }, pass);
  if (reason === undefined) return;
  for (const input of node.inputs) pass.claims.find(scope, input)?.reasons.add(reason);
}

/** Restores values that are made of codes for those who want floats. */
function restoreMade(root: Scope, pass: Pass): void {
  const wanted = new Set<Made>();
  const want = (scope: Scope, name: string, taker?: Node) => {
    const made = pass.activations.madeAt(scope, name);
    if (made && !(taker && made.takers.has(taker))) wanted.add(made);
  };
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      // Codes are taken as first inputs; a node may want the same value for another as it was.
      for (const [i, name] of node.inputs.entries()) want(scope, name, i === 0 ? node : undefined);
    }
    for (const { name } of scope.graph.outputs) want(scope, name);
  }
  for (const made of wanted) pass.edits.follow(made.by, dequantize(made.name, made, made, pass));
}

/** Restores weights for nodes that take them as floats, still, where DequantizeLinear can. */
function restoreLeft(model: Model, root: Scope, { claims, weights, edits, ...pass }: Pass): void {
  const { either } = constantProducts(root);
  const hasAxis = (model.opsets.get("") ?? 0) >= AXIS_OPSET;
  for (const claim of claims.taken) {
    if (!claim.isLeft || claims.isSpared(claim)) continue;
    const { name, tensor, graph, viewers } = claim.constant;
    const mayHaveAxis = hasAxis && !either.has(tensor) && !viewers.some(lacksPerm);
    const stored = weights.straight(claim, mayHaveAxis);
    if (!stored) continue;
    const { axis } = stored.job.recipe.granularity;
    edits.prepend(graph, dequantize(name, stored, { type: tensor.type!, axis: axis as number | undefined }, pass));
    claim.isRestored = true;
  }
}

function keptBeside(claims: Claims): string[] {
  const names = claims.taken.flatMap((claim) => (claim.isLeft && !claim.isRestored ? [claim.constant.name] : []));
  if (names.length === 0) return [];
  return [`stored as codes and as before, as some nodes take it as it was: ${listed(names)}`];
}

function whyLeft(constant: FloatConstant): string {
  const users = usersOf(constant).join(", ");
  const viewers = viewersOf(constant);
  return viewers === undefined
    ? `has no dynamic form in ${users}`
    : `${users} takes it from ${viewers}, not as it is stored`;
}

/** A line where convolutions have another type than was asked for. */
function otherType(claims: Claims, { dtype, convDtype }: DynamicWishes): string[] {
  if (convDtype === undefined || convDtype === dtype) return [];
  const isConv = ({ constant: { uses } }: Claim) => uses.some(({ node }) => opNameOf(node) === "Conv");
  const any = claims.taken.some((claim) => isConv(claim) && claim.jobs.some((job) => job.dtype === convDtype));
  return any ? [`Conv in ${convDtype}: ONNX Runtime up to 1.23.2 has no ConvInteger of ${dtype}`] : [];
}
