import type { Engine } from "../engine/engine.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { inspectStored, isFinding } from "../pipeline/inspect-work.ts";
import type { InspectedTensor, Remark } from "../pipeline/model-report.ts";
import { shareOf, type TaskOptions, type Tracker, trackerOf, workersFor } from "../pipeline/progress.ts";
import { allInOrder, Schedule } from "../pipeline/schedule.ts";
import { inlinedFunctions } from "./function-remarks.ts";
import { readModel } from "./io/decode.ts";
import { storedTensorOf } from "./io/load-tensor.ts";
import { bytesOfTensor, TensorFiles, tensorsOf } from "./io/tensor-data.ts";
import { graphsOf, type Model, type Tensor, type ValueInfo } from "./ir/graph.ts";
import { opNameOf } from "./ir/operators.ts";
import { Scope } from "./ir/scopes.ts";
import { validateGraph } from "./ir/validate-graph.ts";
import type { Decision } from "./passes/pass-result.ts";
import { planWeights } from "./passes/weight-only/plan-weights.ts";
import { foldFor, type PlanOptions } from "./plan-model.ts";
import { isReported } from "./report.ts";
import { type RuntimeNeed, runtimeNeeds } from "./targets/runtime-versions.ts";
import type { Target, TargetFinding } from "./targets/target.ts";
import { findingsFor } from "./targets/target-findings.ts";
import { type UnreachedTensor, unreachedTensors } from "./unreached-tensors.ts";
import { findQuantized, type QuantizedConstant } from "./weights/find-quantized.ts";
import { type FloatConstant, usersOf } from "./weights/find-weights.ts";
import type { WeightSelection } from "./weights/select-weights.ts";
import { granularityFor, type WeightOnlyOptions } from "./weights/weight-granularity.ts";

/** What a weight would lose, as signal-to-quantization-noise ratio in dB. */
export interface ExpectedWeightErrors {
  readonly int8PerTensor: number;
  readonly int8PerChannel: number;
  readonly int4PerTensor: number;
  readonly int4PerChannel: number;
}

/** A float constant of a model, with the reason where it would stay as it is. */
export interface WeightInspection extends InspectedTensor {
  readonly dtype: string;
  /** Types of the nodes that use it. */
  readonly ops: readonly string[];
  /** Names of the nodes to which it is a weight. */
  readonly nodes: readonly string[];
  /** Whether nodes compute it from constants in each run: quantizing computes it once. */
  readonly isComputed?: boolean | undefined;
  /** Of weights, as int8 in the format "cast" and as int4. */
  readonly sqnr?: ExpectedWeightErrors | undefined;
}

/** A weight that is quantized already. */
export interface QuantizedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** With scales and zero points. */
  readonly bytes: number;
  /** How many scales it has. */
  readonly scales: number;
}

export interface ValueInspection {
  readonly name: string;
  /** Undefined for what is no tensor. */
  readonly dtype: string | undefined;
  /** Strings are symbolic dimensions; undefined where the rank is not known. */
  readonly shape: readonly (number | string)[] | undefined;
}

export interface ModelInspection {
  readonly fileType: "onnx";
  /** Data files among them. */
  readonly bytes: number;
  readonly irVersion: number;
  /** Of each domain; ONNX's own is "". */
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly ValueInspection[];
  readonly outputs: readonly ValueInspection[];
  /** How many nodes of each type there are, subgraphs among them; functions of the model's own are types of their own. */
  readonly nodes: Readonly<Record<string, number>>;
  /** Other files that hold its tensors. */
  readonly dataFiles: readonly string[];
  /** Weights, and all other floats of 4 kB or more; scales of quantized weights are counted with these. */
  readonly weights: readonly WeightInspection[];
  readonly quantized: readonly QuantizedWeight[];
  /** Notes on functions that hold weights and on weights that nodes compute from constants, where there are any. */
  readonly remarks?: readonly Remark[] | undefined;
  /**
   * Why versions of ONNX Runtime that this package works with, 1.20 and newer, do not run it on CPUs; first what no version
   * runs, then what runs in the newest alone.
   */
  readonly runtimeNeeds: readonly RuntimeNeed[];
  /** If asked about one. */
  readonly target?: Target | undefined;
  /** What of it fails, runs elsewhere, is off or slow on the target, the worst first. */
  readonly findings?: readonly TargetFinding[] | undefined;
}

export interface InspectOptions extends TaskOptions, Pick<WeightSelection, "include" | "exclude" | "opTypes"> {
  /** Where the model is to run: what is known of its nodes there is listed as `findings`. */
  readonly target?: Target | undefined;
}

/** What the command does when nothing is said. */
const defaults: WeightOnlyOptions & { readonly kind: "restored" } = {
  kind: "restored",
  dtype: "int8",
  scheme: "symmetric",
  perChannel: true,
  reduceRange: false,
  form: "cast",
};

/**
 * What is in a model, what of it would be quantized, and what that would cost.
 *
 * @throws FormatError, the signal's reason
 */
export async function inspectOnnx(
  engine: Engine,
  source: ByteSource,
  { target, include, exclude, opTypes, ...options }: InspectOptions,
): Promise<ModelInspection> {
  const model = await readModel(source);
  const files = await TensorFiles.open(source, model);
  try {
    validateGraph(source.name, model);
    const own = factsOf(model, files);
    const inlining = await inlinedFunctions(model, files, "weights", "");
    const root = validateGraph(source.name, model);
    const findings = target && findingsFor(target, model, root);
    const onCpu = target === "node" ? findings! : findingsFor("node", model, root);
    const facts = { ...own, quantized: findQuantized(root).map(quantizedFrom) };
    const unreached = unreachedTensors(model).flatMap(unreachedFrom);
    const plan = { ...defaults, include, exclude, opTypes };
    const { decisions, remarks: onComputed, computed } = await decided(model, files, plan);
    const remarks = [...inlining.remarks, ...onComputed];
    const total = decisions.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
    const tracker = trackerOf(options, total);
    const workers = workersFor(options, engine, total);
    const schedule = new Schedule(workers, tracker, isFinding);
    const run: Run = { files, schedule, share: shareOf(options, workers), tracker, computed };
    const weights = await allInOrder(decisions.map((decision) => inspectWeight(run, decision)));
    await tracker.at("");
    return {
      ...{ ...facts, weights: [...weights, ...unreached] },
      ...(remarks.length > 0 && { remarks }),
      runtimeNeeds: runtimeNeeds(onCpu),
      ...(target && { target, findings }),
    };
  } finally {
    await files.close();
  }
}

/** What would become of each constant, with those that would be computed first. Changes the graph, never a file. */
async function decided(model: Model, files: TensorFiles, plan: PlanOptions & { readonly kind: "restored" }) {
  const stored = new Set(tensorsOf(model));
  const remarks = await foldFor(plan, model, files);
  const root = new Scope(files.source.name, model.graph);
  const decisions = (await planWeights(model, files, root, plan)).filter(isInspected);
  const constants = decisions.map(({ constant }) => constant.tensor);
  return { decisions, remarks, computed: new Set(constants.filter((tensor) => !stored.has(tensor))) };
}

/** Floats of so many bytes are listed even if reports do not list them one by one. */
const LARGE = 4096;

/** Scales of quantized weights are listed with these. */
function isInspected(decision: Decision): boolean {
  return isReported(decision) || (!decision.isPart && bytesOfTensor(decision.constant.tensor) >= LARGE);
}

const floats: ReadonlySet<string | undefined> = new Set(["float32", "float16", "bfloat16", "float64"]);

function unreachedFrom({ name, type, shape, bytes, reason }: UnreachedTensor): WeightInspection[] {
  if (!floats.has(type) || bytes < LARGE) return [];
  return [{ name, ops: [], nodes: [], shape, dtype: type!, bytes, reason }];
}

function quantizedFrom({ name, shape, dtype, codes, scale, zeroPoint }: QuantizedConstant): QuantizedWeight {
  const bytes = [codes, scale, zeroPoint].reduce((sum, tensor) => sum + (tensor ? bytesOfTensor(tensor) : 0), 0);
  return { name, shape, dtype, bytes, scales: elementsOf(scale.shape) };
}

function factsOf(model: Model, files: TensorFiles) {
  const nodes = new Map<string, number>();
  for (const graph of graphsOf(model.graph)) {
    for (const node of graph.nodes) nodes.set(opNameOf(node), (nodes.get(opNameOf(node)) ?? 0) + 1);
  }
  const constants = new Set(model.graph.initializers.map(({ name }) => name));
  return {
    fileType: "onnx" as const,
    bytes: files.byteLength,
    irVersion: model.irVersion,
    opsets: Object.fromEntries(model.opsets),
    inputs: model.graph.inputs.filter(({ name }) => !constants.has(name)).map(valueFrom),
    outputs: model.graph.outputs.map(valueFrom),
    nodes: Object.fromEntries(nodes),
    dataFiles: files.locations,
  };
}

function valueFrom({ name, elementType, shape }: ValueInfo): ValueInspection {
  return { name, dtype: elementType, shape };
}

/** What the inspection of all weights has in common. */
interface Run {
  readonly files: TensorFiles;
  readonly schedule: Schedule;
  readonly share: number;
  readonly tracker: Tracker;
  /** Tensors that nodes compute. */
  readonly computed: ReadonlySet<Tensor>;
}

/** Of float64 the engine knows too little, of nothing there is nothing to know. */
function isMeasured({ constant: { tensor } }: Decision): boolean {
  return tensor.type !== "float64" && !tensor.shape.includes(0);
}

async function inspectWeight(run: Run, decision: Decision): Promise<WeightInspection> {
  const { files, schedule, share, tracker, computed } = run;
  const { constant, isWeight, reason } = decision;
  const { tensor, name, uses } = constant;
  const nodes = [...new Set(uses.filter(({ axes }) => axes).map(({ node }) => node.name))];
  const { shape, type = "?" } = tensor;
  const bytes = bytesOfTensor(tensor);
  const facts = {
    ...{ name, ops: usersOf(constant), nodes, shape, dtype: type, bytes, reason },
    ...(computed.has(tensor) && { isComputed: true }),
  };
  if (!isMeasured(decision)) return facts;
  const { source, stored } = storedTensorOf(files, name, tensor);
  const quantizations = isWeight ? quantizationsFor(constant) : [];
  const { sqnr, ...found } = await inspectStored(
    schedule,
    { sources: [source], sinks: [] },
    stored,
    share,
    quantizations,
  );
  tracker.advance(bytes);
  if (!isWeight || !sqnr) return { ...facts, ...found };
  const [int8PerTensor, int8PerChannel, int4PerTensor, int4PerChannel] = sqnr as [number, number, number, number];
  return { ...facts, ...found, sqnr: { int8PerTensor, int8PerChannel, int4PerTensor, int4PerChannel } };
}

/** In the order of the prospects. */
function quantizationsFor(constant: FloatConstant) {
  const channel = granularityFor(constant, defaults);
  const common = { scheme: "symmetric", reduceRange: false, nonFinite: "error" } as const;
  return (["int8", "int4"] as const).flatMap((dtype) => [
    { ...common, dtype, granularity: {} },
    { ...common, dtype, granularity: channel },
  ]);
}
