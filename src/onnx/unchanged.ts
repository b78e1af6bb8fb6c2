import { isWasmQuantError } from "../errors.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { listReasons } from "../pipeline/phrases.ts";
import { readModel } from "./io/decode.ts";
import type { TensorFiles } from "./io/tensor-data.ts";
import { opNameOf } from "./ir/operators.ts";
import { isHalf } from "./onnx-options.ts";
import type { Decision } from "./passes/pass-result.ts";
import { type Plan, type PlanOptions, planModel } from "./plan-model.ts";

/** Other options that may do what these do not, and what they come to. */
export interface Alternative {
  readonly options: Readonly<Record<string, unknown>>;
  readonly plan: PlanOptions;
}

/** Whether a plan leaves every weight of a model as it is. */
export function isUnchanged(plan: Plan, options: PlanOptions): boolean {
  // Of 4-bit weights whose other values become float16, the first are what the run is for.
  if (options.kind !== "half") return plan.jobs.every(({ dtype }) => options.next?.kind === "half" && isHalf(dtype));
  const weights = weightsOf(plan);
  if (weights.length > 0) return weights.every(({ jobs }) => jobs.length === 0);
  // A model without weights may still compute in another type.
  return plan.jobs.length === 0 && !plan.changesValues;
}

/** How many weights there are, and why none of them changes. */
export function whyUnchanged(plan: Plan, options: PlanOptions): string {
  const weights = weightsOf(plan);
  const verb = options.kind === "half" ? "converted" : "quantized";
  if (weights.length === 0) {
    const { quantized, remarks } = plan;
    const computed = remarks.find(({ code }) => code === "not-folded");
    if (quantized === 0 && computed) return `nothing ${verb}: ${computed.message}`;
    const left = remarks.find(({ code }) => code === "functions-left");
    const more = left ? `; ${left.message}` : "";
    if (quantized === 0) return `nothing ${verb}: no layer of the model has a constant weight${more}`;
    return `nothing ${verb}: ${quantized === 1 ? "its only weight is" : `all ${quantized} weights are`} quantized already`;
  }
  const why = whyNoMatrix(weights, options) ?? listReasons(weights.map(({ reason, before = "" }) => reason ?? before));
  return `0 of ${weights.length} weights ${verb}: ${why}`;
}

/**
 * The first of other options that would change something, tried on the model itself: what is advised works.
 *
 * @throws FormatError when the model cannot be read
 */
export async function remedyAmong(
  alternatives: Iterable<Alternative>,
  source: ByteSource,
  files: TensorFiles,
): Promise<Alternative["options"] | undefined> {
  for (const { options, plan } of alternatives) {
    const model = await readModel(source);
    try {
      if (!isUnchanged(await planModel(model, files, plan), plan)) return options;
    } catch (error) {
      if (!isWasmQuantError(error)) throw error; // those options do not suit the model either
    }
  }
  return undefined;
}

function weightsOf({ decisions }: Plan): Decision[] {
  return decisions.filter(({ isWeight, isPart }) => isWeight && !isPart);
}

/** What is said where matrices are wanted, and no weight is one. */
function whyNoMatrix(weights: readonly Decision[], options: PlanOptions): string | undefined {
  if (options.kind !== "nbits" && options.kind !== "bnb4") return undefined;
  if (options.next?.kind === "restored") return undefined; // which takes other weights, too
  const types = options.opTypes ?? options.usual;
  const counts = new Map<string, number>();
  for (const { constant } of weights) {
    const ops = new Set(constant.uses.filter(({ axes }) => axes).map(({ node }) => opNameOf(node)));
    if (types.some((type) => ops.has(type))) return undefined;
    for (const op of ops) counts.set(op, (counts.get(op) ?? 0) + 1);
  }
  const name = options.kind === "bnb4" ? "bnb4" : options.bits === 4 ? "int4" : `${options.bits}-bit MatMulNBits`;
  const there = Array.from(counts, ([op, count]) => `${count} ${op}`).join(", ");
  return `${name} stores ${types.join(" and ")} weights, this model has ${there}`;
}
