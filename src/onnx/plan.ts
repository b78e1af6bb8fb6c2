import { checkedScope } from "./checked.ts";
import type { TensorFiles } from "./data.ts";
import type { Decision } from "./decide.ts";
import type { DynamicWishes } from "./dynamic/pass.ts";
import { DYNAMIC_OPSET, planDynamic } from "./dynamic/plan.ts";
import type { Draft } from "./forms/draft.ts";
import { planRestored } from "./forms/plan.ts";
import type { Model, Node } from "./graph.ts";
import type { HalfOptions } from "./half/convert.ts";
import type { Job } from "./jobs/job.ts";
import type { Bnb4Wishes } from "./nbits/bnb4.ts";
import { planBnb4, planNbits } from "./nbits/plan.ts";
import type { NbitsWishes } from "./nbits/wishes.ts";
import type { Wishes } from "./recipe.ts";
import type { Rewritten } from "./rewrite/rewritten.ts";
import { Scope } from "./scopes.ts";
import type { WeightSelection } from "./select.ts";
import { remarksFor } from "./targets/remarks.ts";
import type { Target } from "./targets/target.ts";
import { findConstants, readIntegers } from "./weights.ts";

interface Shared extends WeightSelection {
  /** What comes after, on what this leaves. */
  readonly next?: PlanOptions | undefined;
  /** Where the model is to run. */
  readonly target?: Target | undefined;
  /** Raises the model to this opset first. */
  readonly opset?: number | undefined;
}

/** What is to become of a model, in one of the forms there are. */
export type PlanOptions =
  | (Shared & { readonly kind: "restored" } & Wishes)
  | (Shared & { readonly kind: "dynamic" } & DynamicWishes)
  | (Shared & { readonly kind: "nbits" } & NbitsWishes)
  | (Shared & { readonly kind: "bnb4" } & Bnb4Wishes)
  | (Shared & { readonly kind: "half" } & HalfOptions);

/** What becomes of a model. */
export interface Plan {
  readonly decisions: readonly Decision[];
  readonly jobs: readonly Job[];
  /** Nodes that were put in. */
  readonly nodes: readonly Node[];
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
  const before = checkedScope(source.name, model);
  let isRaised = options.opset !== undefined;
  const remarks = options.opset === undefined ? [] : await raise(model, files, options.opset);
  let made = await decidedBy(options, model, files, isRaised ? new Scope(source.name, model.graph) : before);
  // What has nothing to quantize is not raised for it.
  if (made.needsOpset !== undefined && !made.edits.isEmpty && (model.opsets.get("") ?? 0) < made.needsOpset) {
    remarks.push(...(await raise(model, files, made.needsOpset)));
    isRaised = true;
    made = await decidedBy(options, model, files, new Scope(source.name, model.graph));
  }
  let plan = applied({ decisions: [], jobs: [], nodes: [], drafts: [], remarks, isRaised }, made, model, files);
  for (let { next } = options; next; { next } = next) {
    plan = applied(plan, await decidedBy(next, model, files, new Scope(source.name, model.graph)), model, files);
  }
  if (options.target === undefined) return plan;
  const found = remarksFor(options.target, model, new Scope(source.name, model.graph));
  return { ...plan, remarks: [...plan.remarks, ...found] };
}

/** A plan with what another pass decided, which is done to the model. */
function applied(
  plan: Plan,
  { decisions, edits, drafts = [], remarks = [] }: Decided,
  model: Model,
  files: TensorFiles,
): Plan {
  edits.apply(files.source.name, model);
  const later = new Map(decisions.map((decision) => [decision.constant.tensor, decision]));
  const before = plan.decisions.map((each) =>
    each.jobs.length > 0 ? each : (later.get(each.constant.tensor) ?? each),
  );
  return {
    ...plan,
    decisions: plan.decisions.length > 0 ? before : decisions,
    jobs: [...plan.jobs, ...edits.jobs],
    nodes: [...plan.nodes, ...edits.nodes()],
    drafts: [...plan.drafts, ...drafts],
    remarks: [...plan.remarks, ...remarks],
  };
}

/** What a pass decides; nodes and tensors are not changed yet. */
interface Decided extends Rewritten {
  readonly drafts?: readonly Draft[];
}

async function decidedBy(options: PlanOptions, model: Model, files: TensorFiles, root: Scope): Promise<Decided> {
  if (options.kind === "restored") return planRestored(model, files, root, options);
  if (options.kind === "half") return halve(model, files, options);
  const constants = findConstants(root, await readIntegers(model, files));
  switch (options.kind) {
    case "dynamic":
      return { ...planDynamic(model, root, constants, options), needsOpset: DYNAMIC_OPSET };
    case "nbits":
      return planNbits(model, root, constants, options);
    case "bnb4":
      return planBnb4(model, root, constants, options);
  }
}

async function halve(model: Model, files: TensorFiles, options: HalfOptions): Promise<Decided> {
  // Loaded when it is wanted, as it knows every op there is.
  const { convertHalf } = await import("./half/convert.ts");
  return convertHalf(model, files, options);
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
