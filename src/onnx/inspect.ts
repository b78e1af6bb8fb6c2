import type { Engine } from "../core/engine.ts";
import type { Granularity } from "../core/granularity.ts";
import type { ResidentTensor } from "../core/resident.ts";
import { elementsOf } from "../core/shape.ts";
import type { FloatTensor } from "../core/tensor.ts";
import { isWasmQuantError } from "../errors.ts";
import type { ByteSource } from "../formats/source.ts";
import { type TaskOptions, type Tracker, trackerOf } from "../task/progress.ts";
import { checkedScope } from "./checked.ts";
import { bytesOfTensor, TensorFiles } from "./data.ts";
import { type Decision, decide } from "./decide.ts";
import { readModel } from "./decode.ts";
import { graphsOf, type Model, type ValueInfo } from "./graph.ts";
import { Loader } from "./load.ts";
import { opNameOf } from "./ops.ts";
import { granularityFor, type Wishes } from "./recipe.ts";
import { requirementOf } from "./requirements.ts";
import { findRestored } from "./restored.ts";
import { findingsFor } from "./targets/index.ts";
import type { Target, TargetFinding } from "./targets/target.ts";
import { isTold } from "./told.ts";
import { type FloatConstant, usersOf } from "./weights.ts";

/** What a weight would lose, as signal-to-quantization-noise ratio in dB. */
export interface WeightProspects {
  readonly int8PerTensor: number;
  readonly int8PerChannel: number;
  readonly int4PerTensor: number;
  readonly int4PerChannel: number;
}

/** A float constant of a model. */
export interface WeightInspection {
  readonly name: string;
  /** Types of the nodes that use it. */
  readonly ops: readonly string[];
  /** Names of the nodes to which it is a weight. */
  readonly nodes: readonly string[];
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly bytes: number;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** Of weights. */
  readonly sqnr?: WeightProspects | undefined;
  /** Why it would not be quantized (as int8, in the format "cast"). */
  readonly reason?: string | undefined;
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
  readonly format: "onnx";
  /** Data files among them. */
  readonly bytes: number;
  readonly irVersion: number;
  /** Of each domain; ONNX's own is "". */
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly ValueInspection[];
  readonly outputs: readonly ValueInspection[];
  /** How many nodes of each type there are, subgraphs among them. */
  readonly nodes: Readonly<Record<string, number>>;
  /** Other files that hold its tensors. */
  readonly dataFiles: readonly string[];
  readonly weights: readonly WeightInspection[];
  readonly quantized: readonly QuantizedWeight[];
  /** If asked about one. */
  readonly target?: Target | undefined;
  /** What of it fails, runs elsewhere, is off or slow on the target, the worst first. */
  readonly findings?: readonly TargetFinding[] | undefined;
}

export interface InspectOptions extends TaskOptions {
  /** Where the model is to run: what is known of its nodes there is listed as `findings`. */
  readonly target?: Target | undefined;
}

/** What the command does when nothing is said. */
const wishes: Wishes = { dtype: "int8", scheme: "symmetric", perChannel: true, reduceRange: false, form: "cast" };

/**
 * What is in a model, what of it would be quantized, and what that would cost.
 *
 * @throws FormatError, the signal's reason
 */
export async function inspectOnnx(
  engine: Engine,
  source: ByteSource,
  { target, ...options }: InspectOptions,
): Promise<ModelInspection> {
  const model = await readModel(source);
  const files = await TensorFiles.open(source, model);
  try {
    const root = checkedScope(source.name, model);
    const findings = target && findingsFor(target, model, root);
    const quantized = findRestored(root);
    const opset = model.opsets.get("") ?? Number.POSITIVE_INFINITY;
    const { opset: least } = requirementOf(wishes.form, { dtype: wishes.dtype, granularity: {} });
    const tooOld = opset < least ? `opset ${opset} is too old, ${least} is needed` : undefined;
    const decisions = (await decide(model, files, root, wishes))
      .filter(isTold)
      .map((decision) => ({ ...decision, reason: decision.reason ?? tooOld }));
    const total = decisions.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
    const tracker = trackerOf(options, total);
    const weights = await inspectWeights(engine, files, decisions, tracker);
    await tracker.at("");
    return {
      ...factsOf(model, files),
      weights,
      quantized: quantized.map(({ name, shape, dtype, codes, scale, zeroPoint }) => ({
        name,
        shape,
        dtype,
        bytes: [codes, scale, zeroPoint].reduce((sum, tensor) => sum + (tensor ? bytesOfTensor(tensor) : 0), 0),
        scales: elementsOf(scale.shape),
      })),
      ...(target && { target, findings }),
    };
  } finally {
    await files.close();
  }
}

function factsOf(model: Model, files: TensorFiles) {
  const nodes = new Map<string, number>();
  for (const graph of graphsOf(model.graph)) {
    for (const node of graph.nodes) nodes.set(opNameOf(node), (nodes.get(opNameOf(node)) ?? 0) + 1);
  }
  const constants = new Set(model.graph.initializers.map(({ name }) => name));
  return {
    format: "onnx" as const,
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

async function inspectWeights(
  engine: Engine,
  files: TensorFiles,
  decisions: readonly Decision[],
  tracker: Tracker,
): Promise<WeightInspection[]> {
  const loader = new Loader(
    engine,
    files,
    decisions.filter(isMeasured).map(({ constant: { name, tensor } }) => ({ name, tensor })),
  );
  try {
    const weights: WeightInspection[] = [];
    for (const decision of decisions) {
      await tracker.at(decision.constant.name);
      weights.push(inspectWeight(engine, isMeasured(decision) ? await loader.next() : undefined, decision));
      tracker.advance(bytesOfTensor(decision.constant.tensor));
    }
    return weights;
  } finally {
    await loader.dispose();
  }
}

/** Of float64 the engine knows too little, of nothing there is nothing to know. */
function isMeasured({ constant: { tensor } }: Decision): boolean {
  return tensor.type !== "float64" && !tensor.shape.includes(0);
}

function inspectWeight(
  engine: Engine,
  values: FloatTensor | ResidentTensor | undefined,
  decision: Decision,
): WeightInspection {
  const { constant, isWeight, reason } = decision;
  const { tensor, name, uses } = constant;
  const nodes = [...new Set(uses.filter(({ axes }) => axes).map(({ node }) => node.name))];
  const { shape, type = "?" } = tensor;
  const facts = { name, ops: usersOf(constant), nodes, shape, dtype: type, bytes: bytesOfTensor(tensor), reason };
  if (!values) return facts;
  try {
    const { min, max } = engine.range(values);
    const sqnr = isWeight ? prospectsOf(engine, values, constant) : undefined;
    return { ...facts, min: min[0]!, max: max[0]!, sqnr };
  } catch (error) {
    if (!isWasmQuantError(error, "non-finite")) throw error;
    return { ...facts, reason: `holds ${error.value} at flat index ${error.index}` };
  }
}

function prospectsOf(engine: Engine, values: FloatTensor | ResidentTensor, constant: FloatConstant): WeightProspects {
  const channel = granularityFor(constant, wishes);
  const out = new Int8Array(elementsOf(constant.tensor.shape));
  const packed = new Uint8Array(Math.ceil(out.length / 2));
  const sqnr = (options: { dtype: "int8" | "int4" } & Granularity) => {
    const codes = options.dtype === "int8" ? out : packed;
    return engine.error(values, engine.quantize(values, { ...options, out: codes })).sqnr;
  };
  return {
    int8PerTensor: sqnr({ dtype: "int8" }),
    int8PerChannel: sqnr({ dtype: "int8", ...channel }),
    int4PerTensor: sqnr({ dtype: "int4" }),
    int4PerChannel: sqnr({ dtype: "int4", ...channel }),
  };
}
