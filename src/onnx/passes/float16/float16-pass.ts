import type { HalfDType } from "../../../dtypes.ts";
import { ArgumentError } from "../../../errors.ts";
import { remark } from "../../../pipeline/model-report.ts";
import type { HalfJob } from "../../codecs/half-codec.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { graphsOf, type Model, type Tensor } from "../../ir/graph.ts";
import { Scope } from "../../ir/scopes.ts";
import { sortNodes } from "../../ir/topological-sort.ts";
import { type FloatConstant, findConstants, readIntegers, usersOf } from "../../weights/find-weights.ts";
import type { WeightSelection } from "../../weights/select-weights.ts";
import { GraphEdits } from "../graph-edits.ts";
import { overridableIn } from "../overridable-initializers.ts";
import type { Decision, PassResult } from "../pass-result.ts";
import { ConstantNumbers } from "./constant-values.ts";
import { unwanted } from "./excluded-nodes.ts";
import { remarksOnRoles } from "./half-remarks.ts";
import { declare, rewriteNodes } from "./insert-casts.ts";
import { isFloat, valuesOf } from "./node-order.ts";
import { Roles } from "./node-precision.ts";
import { Versions } from "./value-versions.ts";

export interface HalfOptions extends WeightSelection {
  readonly dtype: HalfDType;
  /** What the model's own inputs and outputs are from now on, where they were float32. */
  readonly io: "float32" | HalfDType;
  /** Numbers beyond the largest half become it in weights too large to be looked at; they are an error otherwise. */
  readonly clamp: boolean;
}

/**
 * Converts a model from float32 to half precision: weights, and the values between nodes. Nodes that cannot run so stay
 * float32, with Casts around them, one for each value. Tensors that are yet to be made stay as they are. What the graphs
 * declare of their values is changed at once, all else when the edits are applied.
 *
 * Where the opset lacks the type nothing is done but to say which one is needed.
 *
 * @throws ArgumentError for a glob or a type that matches nothing
 */
export async function planHalf(model: Model, files: TensorFiles, options: HalfOptions): Promise<PassResult> {
  const { dtype, io, clamp } = options;
  const file = files.source.name;
  if (io !== "float32" && io !== dtype) throw new ArgumentError("io", `${io} given; float32 or ${dtype} is wanted`);
  const edits = new GraphEdits();
  const overridable = overridableIn(model);
  if (!valuesOf(new Scope(file, model.graph), overridable).all.some(isFloat)) {
    const constants = findConstants(new Scope(file, model.graph), await readIntegers(model, files));
    const decisions = constants.map((constant) => decisionOn(constant));
    return { edits, decisions, remarks: [remark("unchanged", `nothing to convert to ${dtype}: it has no float32`)] };
  }
  const needs = { opset: LEAST[dtype], what: dtype };
  if ((model.opsets.get("") ?? needs.opset) < needs.opset) return { edits, decisions: [], needs, isBlocked: true };
  sortNodes(file, model);

  const root = new Scope(file, model.graph);
  const values = valuesOf(root, overridable);
  const whyUnwanted = unwanted(model, values, options);
  const numbers = await ConstantNumbers.read(values, files, dtype);
  const integers = await readIntegers(model, files);
  const precision = io === "float32" ? "float" : "half";
  const roles = new Roles(model, root, values, { dtype, io: precision, whyUnwanted, numbers, integers });
  const constants = findConstants(root, integers);
  const versions = new Versions(model, values, roles, constants, edits, { dtype, clamp });
  rewriteNodes(roles, versions, edits, dtype);
  for (const graph of graphsOf(model.graph)) declare(graph, values, versions, dtype);

  const { jobs } = versions;
  edits.jobs.push(...jobs);
  edits.need({ ir: LEAST_IR, ...(model.opsets.has("") ? {} : { domain: "", opset: LEAST.bfloat16 }) });
  const byConstant = new Map(jobs.map((job) => [job.constant, job]));
  const decisions = constants.map((constant) => decisionOn(constant, byConstant.get(constant), roles, overridable));
  const changesValues = roles.places.some(({ node, outputs }) => {
    return outputs.some((value) => isFloat(value) && !value.constant) && !roles.kept.has(node);
  });
  return { edits, decisions, changesValues, remarks: remarksOnRoles(roles, dtype) };
}

/** Initializers that are no inputs. */
const LEAST_IR = 4;

/** ONNX Runtime has kernels from opset 7 on; bfloat16 came with 13. */
const LEAST = { float16: 7, bfloat16: 13 } as const;

function decisionOn(
  constant: FloatConstant,
  job?: HalfJob,
  roles?: Roles,
  overridable?: ReadonlySet<Tensor>,
): Decision {
  const { tensor, uses } = constant;
  const isWeight = uses.some(({ axes }) => axes !== undefined);
  const decision = { constant, isWeight, isPart: false, jobs: job ? [job] : [] };
  if (job) return decision;
  if (tensor.type !== "float32")
    return {
      ...decision,
      reason: tensor.type === undefined ? "of a type that is not known" : `${tensor.type} already`,
    };
  if (overridable?.has(tensor)) return { ...decision, reason: "an input that callers may set" };
  const why = uses.map(({ node }) => roles?.kept.get(node)?.reason).find((reason) => reason);
  const users = usersOf(constant).join(", ");
  return { ...decision, reason: users === "" ? "used by no node" : `used by ${users}${why ? ` (${why})` : ""}` };
}
