import { listed } from "../../../pipeline/phrases.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import type { Model } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";
import type { Wishes } from "../../weights/weight-granularity.ts";
import { Edits } from "../graph-edits.ts";
import type { OpsetNeed, Rewritten } from "../pass-result.ts";
import { decide, type PlannedWeight } from "./plan-weights.ts";
import type { Draft } from "./weight-draft.ts";

/** Weights stored as codes, and the nodes that restore them. */
export interface RestoredWeights extends Rewritten {
  readonly drafts: readonly Draft[];
}

/**
 * Plans weights that are stored as codes and restored in the graph, by Cast and Mul or DequantizeLinear.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export async function planRestored(
  model: Model,
  files: TensorFiles,
  root: Scope,
  options: WeightSelection & Wishes,
): Promise<RestoredWeights> {
  const decisions = await decide(model, files, root, options);
  const drafts = decisions.flatMap(({ draft }) => draft ?? []);
  if (drafts.length > 0) importOps(model, drafts);
  const edits = new Edits();
  for (const draft of drafts) draft.putInto(edits);
  return { decisions, edits, drafts, needs: needsOf(drafts, options), remarks: unsuitedBlocks(decisions, options) };
}

/** The opset that the most demanding of the drafts needs. */
function needsOf(drafts: readonly Draft[], { form }: Wishes): OpsetNeed | undefined {
  const [most] = drafts.map(({ requirement }) => requirement).sort((a, b) => b.opset - a.opset);
  if (!most) return undefined;
  const instead = most.others === undefined ? undefined : `take the format "${most.others}"`;
  return { opset: most.opset, what: `${most.what} (format "${form}")`, instead };
}

/** Weights to which blocks were of no use. */
function unsuitedBlocks(decisions: readonly PlannedWeight[], { blockSize }: Wishes): string[] {
  if (blockSize === undefined) return [];
  const others = decisions.filter(({ draft }) => draft && draft.job.recipe.granularity.blockSize === undefined);
  if (others.length === 0) return [];
  const names = listed(others.map(({ constant }) => constant.name));
  const many = `${others.length} weight${others.length === 1 ? "" : "s"}`;
  return [`a scale per channel, as blocks do not suit them: ${names} (${many})`];
}

/** A common opset, for models that so far have nodes of other domains only. */
const COMMON_OPSET = 13;

/** What restores weights are ONNX's own ops. Before IR 3 they could not but be those of opset 1. */
function importOps(model: Model, drafts: readonly Draft[]): void {
  if (model.opsets.has("")) return;
  const needed = drafts.map(({ requirement }) => requirement.opset);
  model.opsets.set("", model.irVersion < 3 ? 1 : needed.reduce((a, b) => Math.max(a, b), COMMON_OPSET));
}
