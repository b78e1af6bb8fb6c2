import { codeTypes } from "../dtypes.ts";
import { ArgumentError, FormatError } from "../errors.ts";
import { option, type Words, words } from "../messages.ts";
import { type Remark, remark } from "../pipeline/model-report.ts";
import type { Job } from "./codecs/codec.ts";
import { type InlinedFunctions, inlinedFunctions } from "./function-remarks.ts";
import type { TensorFiles } from "./io/tensor-data.ts";
import { refuseExternalInFunctions } from "./io/unsupported-external.ts";
import type { Model, Node } from "./ir/graph.ts";
import { opNameOf } from "./ir/operators.ts";
import { Scope } from "./ir/scopes.ts";
import { validateGraph } from "./ir/validate-graph.ts";
import { planDynamic, weightOnlyInDynamic } from "./passes/dynamic/dynamic-pass.ts";
import type { DynamicOptions } from "./passes/dynamic/rewrite-context.ts";
import type { HalfOptions } from "./passes/float16/float16-pass.ts";
import { type FoldOptions, foldConstants } from "./passes/fold/fold-constants.ts";
import type { Bnb4PassOptions } from "./passes/nbits/matmul-bnb4.ts";
import type { NbitsOptions } from "./passes/nbits/nbits-options.ts";
import { planBnb4, planNbits } from "./passes/nbits/nbits-pass.ts";
import { foldOutliers } from "./passes/outlier-channels/fold-outliers.ts";
import type { Decision, OpsetNeed, PassResult } from "./passes/pass-result.ts";
import type { WeightDraft } from "./passes/weight-only/weight-draft.ts";
import { planWeightOnly } from "./passes/weight-only/weight-only-pass.ts";
import { NEWEST, newestOpset, versionRemarks } from "./targets/runtime-versions.ts";
import type { Target } from "./targets/target.ts";
import { findingsFor, remarksOf } from "./targets/target-findings.ts";
import { findQuantized, type QuantizedConstant } from "./weights/find-quantized.ts";
import { findConstants, readIntegers } from "./weights/find-weights.ts";
import { hasFloatWeights, type WeightSelection } from "./weights/select-weights.ts";
import type { WeightOnlyOptions } from "./weights/weight-granularity.ts";

interface Shared extends WeightSelection {
  /** What comes after, on what this leaves. */
  readonly next?: PlanOptions | undefined;
  /** Where the model is to run. */
  readonly target?: Target | undefined;
  /** Raises the model to this opset first. */
  readonly opset?: number | undefined;
  /** The tool whose choices and bytes are wanted, where it is another one. */
  readonly like?: "onnxruntime" | undefined;
  /** Quantizes what is left of a model that is quantized already. */
  readonly again?: boolean | undefined;
}

/** What is to become of a model, in one of the forms there are. */
export type PlanOptions =
  | (Shared & { readonly kind: "restored" } & WeightOnlyOptions)
  | (Shared & { readonly kind: "dynamic" } & DynamicOptions)
  | (Shared & { readonly kind: "nbits" } & NbitsOptions)
  | (Shared & { readonly kind: "bnb4" } & Bnb4PassOptions)
  | (Shared & { readonly kind: "half" } & HalfOptions);

/** What becomes of a model. */
export interface Plan {
  readonly decisions: readonly Decision[];
  readonly jobs: readonly Job[];
  /** Nodes that were put in. */
  readonly nodes: readonly Node[];
  /** Of weights that are restored in the graph. */
  readonly drafts: readonly WeightDraft[];
  /** Whether values between nodes are of another type from now on. */
  readonly changesValues: boolean;
  /** What changed besides weights. */
  readonly remarks: readonly Remark[];
  readonly isRaised: boolean;
  /** How many weights the model had as codes before. */
  readonly quantized: number;
}

/**
 * Decides what becomes of a model and changes its graph so; what weights become is to be made when it is written.
 *
 * @throws FormatError, ArgumentError
 */
export async function planModel(model: Model, files: TensorFiles, options: PlanOptions): Promise<Plan> {
  const { source } = files;
  let before = validateGraph(source.name, model);
  const inlining = await inlinedFor(options, model, files);
  if (inlining) before = validateGraph(source.name, model);
  const quantized = findQuantized(before);
  if (quantized.length > 0 && !options.again && options.kind !== "half") {
    const hasMore = hasFloatWeights(findConstants(before, await readIntegers(model, files)), quantized);
    refuseQuantized(source.name, quantized, hasMore);
  }
  const folded = await foldFor(options, model, files);
  const raised = options.opset === undefined ? [] : await raise(model, files, options, options.opset);
  let plan: Plan = {
    ...{ decisions: [], jobs: [], nodes: [], drafts: [] },
    ...{
      changesValues: false,
      remarks: [...(inlining?.remarks ?? []), ...folded, ...raised],
      isRaised: options.opset !== undefined,
      quantized: quantized.length,
    },
  };
  for (let next: PlanOptions | undefined = options; next; next = next.next) {
    if (next.isSecond && next.kind === "restored" && !plan.decisions.some(isOpen)) continue;
    const done = plan.decisions.filter(({ jobs }) => jobs.length > 0);
    const pass = { ...next, done: new Set(done.map(({ constant }) => constant.tensor)) };
    let made = await decidedBy(pass, model, files);
    // What has nothing to quantize is not raised for it.
    const isLow =
      made.needs && (model.opsets.get("") ?? 0) < made.needs.opset && (made.isBlocked || !made.edits.isEmpty);
    if (isLow) {
      const more = await raiseFor(made.needs!, model, files, options);
      plan = { ...plan, remarks: [...plan.remarks, ...more], isRaised: true };
      made = await decidedBy(pass, model, files);
    }
    if (next.kind === "dynamic" && !next.like) {
      const { isFolded, remarks } = await foldOutliers(model, files, made.edits, next);
      plan = { ...plan, remarks: [...plan.remarks, ...remarks] };
      if (isFolded) made = await decidedBy(pass, model, files);
    }
    plan = applied(plan, made, model, files);
  }
  if (inlining && isUntouched(plan)) {
    inlining.undo();
    plan = {
      ...plan,
      remarks: plan.remarks.filter(({ code }) => code !== "functions-inlined" && code !== "functions-removed"),
    };
  }
  refuseExternalInFunctions(model);
  return {
    ...plan,
    remarks: [...remarksOnForms(options, plan), ...plan.remarks, ...runtimeRemarks(options, model, source.name)],
  };
}

/** What the target does not run as it should, where one is named, and what older versions of ONNX Runtime do not run. */
function runtimeRemarks({ target }: PlanOptions, model: Model, file: string): Remark[] {
  const findings = findingsFor(target ?? "node", model, new Scope(file, model.graph));
  return [...versionRemarks(findings), ...(target ? remarksOf(target, findings) : [])];
}

/**
 * Has weights computed that a model makes of constants, where that helps what is to become of it.
 *
 * @returns remarks on what was computed, and on what was not and why
 * @throws FormatError
 */
export async function foldFor(options: PlanOptions, model: Model, files: TensorFiles): Promise<Remark[]> {
  return options.like ? [] : foldConstants(model, files, foldOptionsOf(options));
}

/** Which weights are worth computing beforehand: those that a pass takes, and others unless op types are named. */
function foldOptionsOf(options: PlanOptions): FoldOptions {
  const { opTypes } = options;
  const passes = [options, ...(options.next ? [options.next] : [])];
  return {
    floatBits: passes.some(({ kind }) => kind === "half") ? 16 : 32,
    bitsAfter(node) {
      const op = opNameOf(node);
      if (opTypes && !opTypes.includes(op)) return undefined;
      const taking = passes.find((pass) => opTypesOf(pass)?.includes(op) ?? true);
      return taking ? bitsAfter(taking) : 32;
    },
  };
}

function opTypesOf(options: PlanOptions): readonly string[] | undefined {
  return options.opTypes ?? (options.kind === "nbits" || options.kind === "bnb4" ? options.usual : undefined);
}

/** Bits of a weight's element in a form. */
function bitsAfter(options: PlanOptions): number {
  if (options.kind === "half") return 16;
  if (options.kind === "bnb4") return 4;
  return options.kind === "nbits" ? options.bits : codeTypes[options.dtype].bits;
}

/**
 * Weights in functions are found where these are inlined; nodes become half as wide nowhere else. The tool inlines none.
 */
async function inlinedFor(
  options: PlanOptions,
  model: Model,
  files: TensorFiles,
): Promise<InlinedFunctions | undefined> {
  if (options.like || model.functions.length === 0) return undefined;
  let isHalf = false;
  for (let next: PlanOptions | undefined = options; next; next = next.next) isHalf ||= next.kind === "half";
  return isHalf
    ? inlinedFunctions(model, files, "all", "")
    : inlinedFunctions(model, files, "weights", " for the weights in them");
}

/** Whether nothing came of what was looked for: such a model is written as it was read. */
function isUntouched({ jobs, nodes, changesValues, isRaised, remarks }: Plan): boolean {
  const isFolded = remarks.some(({ code }) => code === "folded");
  return jobs.length === 0 && nodes.length === 0 && !changesValues && !isRaised && !isFolded;
}

/** @throws QuantizedError */
function refuseQuantized(file: string, quantized: readonly QuantizedConstant[], hasMore: boolean): never {
  const types = [...new Set(quantized.map(({ dtype }) => dtype))].join(", ");
  const many = quantized.length === 1 ? "1 weight" : `${quantized.length} weights`;
  const more = hasMore ? words` (${option("again", true)} quantizes the float weights that are left)` : "";
  const advice = words`quantize the float model it was made from${more}`;
  throw new QuantizedError(file, words`is quantized already: ${many} of ${types}; ${advice}`);
}

/** A model has weights that are codes already, and `again` is not set. */
export class QuantizedError extends FormatError {
  constructor(
    file: string,
    /** What it has, and what to do. */
    readonly detail: Words,
  ) {
    super(file, detail, undefined, { code: "already-quantized" });
  }
}

/** Whether a weight is left for another pass. */
function isOpen({ isWeight, isPart, jobs }: Decision): boolean {
  return isWeight && !isPart && jobs.length === 0;
}

/** What a reader of the report should know of the forms that weights have. */
function remarksOnForms(options: PlanOptions, { decisions }: Plan): Remark[] {
  if (options.like) {
    const tool = options.kind === "dynamic" ? "quantize_dynamic" : "MatMulNBitsQuantizer";
    return [remark("like", words`the choices of ONNX Runtime's ${tool} (${option("like", "onnxruntime")})`)];
  }
  return options.kind === "dynamic" ? weightOnlyInDynamic(decisions) : [];
}

/** A plan with what another pass decided, which is done to the model. */
function applied(
  plan: Plan,
  { decisions, edits, drafts = [], changesValues = false, remarks = [] }: Decided,
  model: Model,
  files: TensorFiles,
): Plan {
  edits.apply(files.source.name, model);
  const later = new Map(decisions.map((decision) => [decision.constant.tensor, decision]));
  const before = plan.decisions.map((each) => {
    const next = each.jobs.length > 0 ? undefined : later.get(each.constant.tensor);
    // To a later pass what belongs to new nodes, as the bias of an integer LSTM, looks quantized already.
    if (!next || next.isPart !== each.isPart) return each;
    return { ...next, reason: bothReasons(each, next), before: each.reason };
  });
  return {
    ...plan,
    decisions: plan.decisions.length > 0 ? before : decisions,
    jobs: [...plan.jobs, ...edits.jobs],
    nodes: [...plan.nodes, ...edits.nodes()],
    drafts: [...plan.drafts, ...drafts],
    changesValues: plan.changesValues || changesValues,
    remarks: [...plan.remarks, ...remarks],
  };
}

/** Why neither of two passes took a weight. */
function bothReasons(first: Decision, second: Decision): string | undefined {
  const reasons = [first.reason, second.reason];
  const isTwice = second.isWeight && second.reason !== undefined && first.reason !== second.reason;
  return isTwice ? reasons.filter((reason) => reason !== undefined).join("; ") : second.reason;
}

/** What a pass decides; nodes and tensors are not changed yet. */
interface Decided extends PassResult {
  readonly drafts?: readonly WeightDraft[];
}

async function decidedBy(options: PlanOptions, model: Model, files: TensorFiles): Promise<Decided> {
  const root = new Scope(files.source.name, model.graph);
  if (options.kind === "restored") return planWeightOnly(model, files, root, options);
  if (options.kind === "half") return halve(model, files, options);
  const constants = findConstants(root, await readIntegers(model, files));
  switch (options.kind) {
    case "dynamic":
      return planDynamic(model, root, constants, options);
    case "nbits":
      return planNbits(model, root, constants, options);
    case "bnb4":
      return planBnb4(model, root, constants, options);
  }
}

async function halve(model: Model, files: TensorFiles, options: HalfOptions): Promise<Decided> {
  // Loaded when it is wanted, as it knows every op there is.
  const { planHalf } = await import("./passes/float16/float16-pass.ts");
  return planHalf(model, files, options);
}

async function raise(
  model: Model,
  files: TensorFiles,
  { like }: PlanOptions,
  opset: number,
  neededBy = "",
  cure?: string | Words,
): Promise<Remark[]> {
  const isLower = (model.opsets.get("") ?? 1) < opset;
  const inlining = like || !isLower ? undefined : await inlinedFunctions(model, files, "all", " to raise the opset");
  // Loaded when it is wanted: it knows every op there is.
  const { raiseOpset } = await import("./passes/opset/raise-opset.ts");
  const { from, to, rewritten } = await raiseOpset(model, files, opset, files.source.name, cure);
  if (from === to) return [];
  const beyond = `ONNX Runtime up to ${NEWEST} takes opsets up to ${newestOpset}`;
  return [
    ...(inlining?.remarks ?? []),
    remark("opset-raised", `opset ${from} raised to ${to}${neededBy}`),
    ...(to > newestOpset ? [remark("runtime-opset", beyond)] : []),
    ...rewritten.map((line) => remark("operator-rewritten", line)),
  ];
}

/**
 * Raises a model to the opset that what is to be written needs.
 *
 * @throws ArgumentError where one was asked for that is too low, FormatError naming a node that cannot be raised
 */
async function raiseFor(
  { opset, what, instead }: OpsetNeed,
  model: Model,
  files: TensorFiles,
  options: PlanOptions,
): Promise<Remark[]> {
  const { opset: given } = options;
  if (given !== undefined) {
    const other = instead ? words`, or ${instead}` : "";
    const message = words`${given} given; ${what} needs at least ${opset}${other}`;
    throw new ArgumentError("opset", message, { code: "opset-too-low" });
  }
  return raise(model, files, options, opset, `, which ${what} needs`, instead ?? `${what} needs opset ${opset}`);
}
