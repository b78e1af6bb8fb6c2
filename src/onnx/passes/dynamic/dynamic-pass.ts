import { option, words } from "../../../messages.ts";
import { type Remark, remark } from "../../../pipeline/model-report.ts";
import { listNames } from "../../../pipeline/phrases.ts";
import { constantProducts, lacksPerm } from "../../ir/constant-products.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import type { Model, Node } from "../../ir/graph.ts";
import { opNameOf, weightOps } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant, Use } from "../../weights/find-weights.ts";
import { Selection, type WeightSelection } from "../../weights/select-weights.ts";
import { GraphEdits } from "../graph-edits.ts";
import type { Decision, OpsetNeed, PassResult } from "../pass-result.ts";
import { whyLeft, withoutWeights } from "../skip-reasons.ts";
import { type WeightUsage, WeightUsages } from "../weight-usage.ts";
import { rewriteConv, SLOWER_THAN_CONV } from "./conv-integer.ts";
import { rewriteLstm } from "./dynamic-quantize-lstm.ts";
import { dequantize, rewriteGather, rewriteTranspose, takesRows } from "./gather-codes.ts";
import { isTurned, refusalOf, rewriteGemm, rewriteMatMul } from "./matmul-integer.ts";
import { rewriteAttention } from "./q-attention.ts";
import { Activations, type Made } from "./quantized-activations.ts";
import { StoredWeights } from "./quantized-weights.ts";
import { type DynamicOptions, quantizationOf, type Rewrite, type RewriteContext } from "./rewrite-context.ts";
import { TiedTables } from "./tied-tables.ts";

const needs: OpsetNeed = { opset: 11, what: "DynamicQuantizeLinear" };

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
 * are stored as codes. With `like` it is what ONNX Runtime's `quantize_dynamic` makes of it, names included; without it Conv
 * stays in floating point unless it is asked for, uint8 weights of Conv are symmetric, with scales per channel, and weights
 * in subgraphs are quantized, too.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planDynamic(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: DynamicOptions & WeightSelection,
): PassResult {
  // Other weights than those of these types take another form, in a pass of its own (onnx-options.ts); the tool knows none.
  const types = options.like ? Object.keys(rewrites) : weightOps;
  const selection = new Selection(model, constants, root, options, types);
  const names = new FreshNames(model);
  const edits = new GraphEdits();
  const usages = new WeightUsages(root, constants, selection, options.like !== undefined);
  const activations = new Activations(names, edits);
  const weights = new StoredWeights(names);
  const rows = { quantization: quantizationOf(options, options.perChannel ? 0 : undefined) };
  const tied = new TiedTables(options.like ? new Set() : findTied(root, usages), rows, { names, edits, weights });
  const pass: RewriteContext = { names, edits, usages, activations, weights, tied, options };
  for (const scope of options.like ? [root] : root.all()) {
    for (const node of scope.graph.nodes) rewrite({ node, scope }, pass);
  }
  restoreMade(root, pass);
  restoreLeft(model, root, pass);
  usages.putInto(edits);
  edits.need({ ir: 4 });
  return {
    edits,
    needs,
    decisions: usages.decisions((constant) => {
      if (options.like && constant.uses.every(({ scope }) => scope !== root))
        return "in a subgraph, which the tool leaves";
      return whyLeft(constant, (users) => `has no dynamic form in ${users}`);
    }),
    remarks: [
      ...convInteger(usages, options),
      ...saturation(usages, options),
      ...keptBeside(usages),
      ...withoutWeights(root, constants),
    ],
  };
}

/** Tables that Gather takes rows of and products multiply with, their last two axes swapped. */
function findTied(root: Scope, usages: WeightUsages): Set<WeightUsage> {
  const [tables, matrices] = [new Set<WeightUsage>(), new Set<WeightUsage>()];
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const name = opNameOf(node);
      if (name === "Gather") {
        const table = usages.weightAt(node, 0);
        if (table && takesRows(node, table) && !usages.refusal(node, table.usage)) tables.add(table.usage);
      } else if (name === "MatMul" || name === "Gemm") {
        const weight = usages.weightAt(node, 1);
        const isTaken = weight && isTurned(node, weight) && !refusalOf({ node, scope }, weight, usages);
        if (isTaken && weight.constant === weight.usage.constant) matrices.add(weight.usage);
      }
    }
  }
  return new Set([...tables].filter((usage) => matrices.has(usage)));
}

function rewrite({ node, scope }: { node: Node; scope: Scope }, pass: RewriteContext): void {
  const name = opNameOf(node);
  if (name === "Transpose") {
    rewriteTranspose({ node, scope }, pass);
    return;
  }
  // An op type may be the name of anything, `constructor` too.
  const reason = Object.hasOwn(rewrites, name) ? rewrites[name]!({ node, scope }, pass) : undefined;
  if (reason === undefined) return;
  for (const input of node.inputs.keys()) pass.usages.at(node, input)?.reasons.add(reason);
}

/** Restores values that are made of codes for those who want floats. */
function restoreMade(root: Scope, pass: RewriteContext): void {
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
function restoreLeft(model: Model, root: Scope, { usages, weights, edits, ...pass }: RewriteContext): void {
  const { either } = constantProducts(root);
  const hasAxis = (model.opsets.get("") ?? 0) >= AXIS_OPSET;
  for (const usage of usages.taken) {
    if (!usage.isLeft || usages.isSpared(usage)) continue;
    const { name, tensor, graph, viewers } = usage.constant;
    const mayHaveAxis = hasAxis && !either.has(tensor) && !viewers.some(lacksPerm);
    const stored = weights.straight(usage, mayHaveAxis);
    if (!stored) continue;
    const { axis } = stored.job.quantization.granularity;
    edits.prepend(graph, dequantize(name, stored, { type: tensor.type!, axis: axis as number | undefined }, pass));
    usage.isRestored = true;
  }
}

function keptBeside(usages: WeightUsages): Remark[] {
  const names = usages.taken.flatMap((usage) => (usage.isLeft && !usage.isRestored ? [usage.constant.name] : []));
  if (names.length === 0) return [];
  return [
    remark("stored-twice", `stored as codes and as before, as some nodes take it as it was: ${listNames(names)}`),
  ];
}

/** A line where Conv became ConvInteger: what that costs, and which versions do not run it. */
function convInteger(usages: WeightUsages, { dtype, conv }: DynamicOptions): Remark[] {
  if (!conv) return [];
  const isConv = ({ constant: { uses } }: WeightUsage) => uses.some(({ node }) => opNameOf(node) === "Conv");
  const count = usages.taken.filter(
    (usage) => isConv(usage) && usage.jobs.some((job) => job.dtype === conv.dtype),
  ).length;
  if (count === 0) return [];
  // onnxruntime up to 1.23.2: NOT_IMPLEMENTED at load for int8 weights (targets/common-rules.ts).
  const old = "ONNX Runtime before 1.24 does not run ConvInteger with int8 weights";
  const note = conv.dtype === "int8" ? `; ${old}` : conv.dtype === dtype ? "" : `; uint8 weights, as ${old}`;
  return [
    remark("slow-operator", `${count} Conv as ConvInteger, which is slower than Conv in ONNX Runtime on CPUs${note}`),
  ];
}

/** A line on what 16-bit sums do to the widest codes. onnxruntime issues 5849, 6004, 14642. */
function saturation(usages: WeightUsages, { reduceRange, dtype, isVariant }: DynamicOptions): Remark[] {
  const signed = usages.taken.filter(({ jobs }) => jobs.some((job) => job.dtype === "int8"));
  if (reduceRange || signed.length === 0) return [];
  const where = "int8 weights are inexact on x64 processors without VNNI, whose 16-bit sums saturate";
  // Those of LSTM are int8 whatever the type.
  const isChosen = dtype === "int8" && signed.some(({ constant: { uses } }) => !uses.every(isOfLstm));
  const other = isChosen && !isVariant ? words`, or ${option("dtype", "uint8")}` : "";
  return [remark("saturation", words`${where}; if such processors matter: ${option("reduceRange", true)}${other}`)];
}

function isOfLstm({ node }: Use): boolean {
  return opNameOf(node) === "LSTM";
}

/** Lines on weights that dynamic mode stores as codes without an integer layer, and why: one for each reason. */
export function weightOnlyInDynamic(decisions: readonly Decision[]): Remark[] {
  const counts = new Map<string, number>();
  const advised = new Set<string>();
  for (const { isRestored, before, constant } of decisions) {
    if (!isRestored) continue;
    const ops = new Set(constant.uses.filter(({ axes }) => axes).map(({ node }) => opNameOf(node)));
    const what = `${[...ops].join(", ")}: ${before}`;
    counts.set(what, (counts.get(what) ?? 0) + 1);
    if (before === SLOWER_THAN_CONV) advised.add(what);
  }
  return Array.from(counts, ([what, count]) => {
    const many = count === 1 ? "1 weight is" : `${count} weights are`;
    const advice = advised.has(what) ? words`; ${option("opTypes", "Conv")} uses it anyway` : "";
    return remark(
      "float-layers",
      words`${many} stored as codes, and the layer computes in floating point as before (${what}${advice})`,
    );
  });
}
