import { formatWord, words } from "../../../messages.ts";
import { type Remark, remark } from "../../../pipeline/model-report.ts";
import { listNames } from "../../../pipeline/phrases.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import type { Model } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";
import type { WeightOnlyOptions } from "../../weights/weight-granularity.ts";
import { GraphEdits } from "../graph-edits.ts";
import type { OpsetNeed, PassResult } from "../pass-result.ts";
import { type PlannedWeight, planWeights } from "./plan-weights.ts";
import type { WeightDraft } from "./weight-draft.ts";

/** Weights stored as codes, and the nodes that restore them. */
export interface WeightOnlyPlan extends PassResult {
  readonly drafts: readonly WeightDraft[];
}

/**
 * Plans weights that are stored as codes and restored in the graph, by Cast and Mul or DequantizeLinear.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export async function planWeightOnly(
  model: Model,
  files: TensorFiles,
  root: Scope,
  options: WeightSelection & WeightOnlyOptions,
): Promise<WeightOnlyPlan> {
  const decisions = await planWeights(model, files, root, options);
  const drafts = decisions.flatMap(({ draft }) => draft ?? []);
  if (drafts.length > 0) importOps(model, drafts);
  const edits = new GraphEdits();
  for (const draft of drafts) draft.putInto(edits);
  return { decisions, edits, drafts, needs: needsOf(drafts, options), remarks: unsuitedBlocks(decisions, options) };
}

/** The opset that the most demanding of the drafts needs. */
function needsOf(drafts: readonly WeightDraft[], { form }: WeightOnlyOptions): OpsetNeed | undefined {
  const [most] = drafts.map(({ requirement }) => requirement).sort((a, b) => b.opset - a.opset);
  if (!most) return undefined;
  const instead = most.others === undefined ? undefined : words`take ${formatWord(most.others)}`;
  return { opset: most.opset, what: `${most.what} (format "${form}")`, instead };
}

/** Weights to which blocks were of no use. */
function unsuitedBlocks(decisions: readonly PlannedWeight[], { blockSize }: WeightOnlyOptions): Remark[] {
  if (blockSize === undefined) return [];
  const others = decisions.filter(({ draft }) => draft && draft.job.quantization.granularity.blockSize === undefined);
  if (others.length === 0) return [];
  const names = listNames(others.map(({ constant }) => constant.name));
  const many = `${others.length} weight${others.length === 1 ? "" : "s"}`;
  return [
    remark("per-channel-instead", `a scale per channel or tensor, as blocks do not suit them: ${names} (${many})`),
  ];
}

/** A common opset, for models that so far have nodes of other domains only. */
const COMMON_OPSET = 13;

/** What restores weights are ONNX's own ops. Before IR 3 they could not but be those of opset 1. */
function importOps(model: Model, drafts: readonly WeightDraft[]): void {
  if (model.opsets.has("")) return;
  const needed = drafts.map(({ requirement }) => requirement.opset);
  model.opsets.set("", model.irVersion < 3 ? 1 : needed.reduce((a, b) => Math.max(a, b), COMMON_OPSET));
}
