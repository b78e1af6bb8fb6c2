import { FormatError } from "../errors.ts";
import { checkedScope } from "./checked.ts";
import type { TensorFiles } from "./data.ts";
import { type Decision, decide } from "./decide.ts";
import { Edits } from "./edits.ts";
import type { Draft } from "./forms/draft.ts";
import type { Model } from "./graph.ts";
import type { Wishes } from "./recipe.ts";
import { Scope } from "./scopes.ts";
import type { WeightSelection } from "./select.ts";

export interface PlanOptions extends WeightSelection, Wishes {
  /** Raises the model to this opset first. */
  readonly opset?: number | undefined;
}

/** What becomes of a model. */
export interface Plan {
  readonly decisions: readonly Decision[];
  readonly edits: Edits;
  /** Of weights that are restored in the graph. */
  readonly drafts: readonly Draft[];
  /** What changed besides weights. */
  readonly remarks: readonly string[];
  readonly isRaised: boolean;
}

/**
 * Decides what becomes of a model and changes its graph so; what weights become is to be made when it is written.
 *
 * @throws FormatError, ArgumentError
 */
export async function changeModel(model: Model, files: TensorFiles, options: PlanOptions): Promise<Plan> {
  const { source } = files;
  const found = checkedScope(source.name, model);
  const isRaised = options.opset !== undefined;
  const remarks = isRaised ? await raise(model, files, options.opset) : [];
  const root = isRaised ? new Scope(source.name, model.graph) : found;
  const decisions = await decide(model, files, root, options);
  const drafts = decisions.flatMap(({ draft }) => draft ?? []);
  if (drafts.length > 0) importOps(model, drafts);
  checkForm(source.name, model, drafts);
  const edits = new Edits();
  for (const draft of drafts) draft.putInto(edits);
  edits.apply(source.name, model);
  return { decisions, edits, drafts, remarks, isRaised };
}

/** The newest opset that a runtime was seen to take. */
const RUNTIMES_TAKE = 26;

async function raise(model: Model, files: TensorFiles, opset: number): Promise<string[]> {
  // Loaded when it is wanted: it knows every op there is.
  const { raiseOpset } = await import("./opset/raise.ts");
  const { from, to, rewritten } = await raiseOpset(model, files, opset, files.source.name);
  if (from === to) return [];
  const beyond = to > RUNTIMES_TAKE ? [`ONNX Runtime up to 1.30 takes opsets up to ${RUNTIMES_TAKE}`] : [];
  return [`opset ${from} raised to ${to}`, ...beyond, ...rewritten];
}

/** A common opset, for models that so far have nodes of other domains only. */
const COMMON_OPSET = 13;

/** What restores weights are ONNX's own ops. Before IR 3 they could not but be those of opset 1. */
function importOps(model: Model, drafts: readonly Draft[]): void {
  if (model.opsets.has("")) return;
  const needed = drafts.map(({ requirement }) => requirement.opset);
  model.opsets.set("", model.irVersion < 3 ? 1 : needed.reduce((a, b) => Math.max(a, b), COMMON_OPSET));
}

/** @throws FormatError when the model's opset has not what the form needs */
function checkForm(file: string, model: Model, drafts: readonly Draft[]): void {
  const opset = model.opsets.get("") ?? 0;
  for (const { requirement } of drafts) {
    const { opset: least, what, others } = requirement;
    if (opset >= least) continue;
    const advice = `raise it (opset: ${least})${others ? ` or take the format "${others}"` : ""}`;
    throw new FormatError(file, `has opset ${opset}, and ${what} came with ${least}; ${advice}`);
  }
}
