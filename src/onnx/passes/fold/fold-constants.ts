import { elementsOf } from "../../../engine/tensors/shape.ts";
import { type Remark, remark } from "../../../pipeline/model-report.ts";
import { listNames } from "../../../pipeline/phrases.ts";
import { bytesOfTensor, type TensorFiles } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import type { Model, Tensor } from "../../ir/graph.ts";
import { Scope } from "../../ir/scopes.ts";
import { ValueUsers } from "../../ir/value-users.ts";
import { FREE_INITIALIZERS, GraphEdits } from "../graph-edits.ts";
import { TOO_MANY } from "./constant-regions.ts";
import { NoFloats, NotComputed } from "./constant-value.ts";
import { equalWeights, placeOnce, Renames } from "./equal-weights.ts";
import { Evaluator } from "./evaluator.ts";
import { type ComputedWeight, type FoldOptions, findComputedWeights } from "./find-computed-weights.ts";
import { freedBy, groupsOf } from "./weight-groups.ts";

export type { FoldOptions } from "./find-computed-weights.ts";

/**
 * Computes weights that a model makes of constants by Slice, Concat, arithmetic and the like, where the codes of the result
 * take less room than the constants that are no longer needed: weight normalization, merged adapters, LSTM weights as
 * PyTorch exports them. Weights that are only laid out otherwise (Transpose, Reshape) stay: passes see through that.
 *
 * @returns remarks on what was computed, and on what was not and why
 * @throws FormatError where constants are damaged
 */
export async function foldConstants(model: Model, files: TensorFiles, options: FoldOptions): Promise<Remark[]> {
  const file = files.source.name;
  const root = new Scope(file, model.graph);
  const { weights, tooMany } = await findComputedWeights(model, root, files, options);
  const beyond = tooMany.length === 0 ? [] : [remark("not-folded", notFolded(tooMany, TOO_MANY))];
  if (weights.length === 0) return beyond;
  const users = new ValueUsers(root);
  const candidates = withFreedNodes(weights, users);
  const freeing = groupsOf(candidates).filter((group) => freedBy(group, users).sources.length > 0);
  const { tensors, remarks: failed } = await computed(freeing, files);
  const remarks = [...failed, ...beyond];
  const kept = [...tensors.keys()];
  const folded = groupsOf(kept).filter((group) => isSmaller(group, tensors, users, options));
  if (folded.length === 0) return remarks;
  const edits = new GraphEdits();
  const names = new FreshNames(model);
  const renames = new Renames(edits, users, (base) => names.fresh(base));
  const { nodes, sources } = freedBy(folded.flat(), users);
  for (const node of nodes) edits.replace(node, []);
  for (const source of sources) edits.substitute(source, []);
  for (const group of folded) for (const each of equalWeights(group, tensors)) placeOnce(each, nodes, renames);
  renames.apply();
  edits.need({ ir: FREE_INITIALIZERS });
  edits.apply(file, model);
  const all = folded.flat().map(({ name }) => name);
  const many = all.length === 1 ? "1 weight" : `${all.length} weights`;
  return [remark("folded", `${many} computed once, from constants: ${listNames(all)}`), ...remarks];
}

/** Weights whose node nobody needs for another of its outputs, as of a Split: a node left in place would make them twice. */
function withFreedNodes(weights: readonly ComputedWeight[], users: ValueUsers): ComputedWeight[] {
  const { nodes } = freedBy(weights, users);
  return weights.filter(({ region }) => nodes.has(region.nodes.at(-1)!.node));
}

/** The values of weights, and remarks on those that are not computed. */
async function computed(groups: readonly (readonly ComputedWeight[])[], files: TensorFiles) {
  const evaluator = new Evaluator(files);
  const tensors = new Map<ComputedWeight, Tensor>();
  const failed = new Map<string, string[]>();
  for (const group of groups) {
    for (const [weight, made] of await evaluator.tensorsOf(group)) {
      if (!(made instanceof NotComputed)) {
        tensors.set(weight, made);
        continue;
      }
      if (made instanceof NoFloats) continue;
      const alike = failed.get(made.message);
      if (alike) alike.push(weight.name);
      else failed.set(made.message, [weight.name]);
    }
  }
  return { tensors, remarks: [...failed].map(([why, names]) => remark("not-folded", notFolded(names, why))) };
}

function notFolded(names: readonly string[], why: string): string {
  if (names.length === 1) return `${names[0]} is computed from constants in each run and stays float: ${why}`;
  const many = `${names.length} weights are computed from constants in each run and stay float`;
  return `${many}: ${why}: ${listNames(names)}`;
}

/** Whether the codes of a group take less room than the constants that they make unnecessary. */
function isSmaller(
  group: readonly ComputedWeight[],
  tensors: ReadonlyMap<ComputedWeight, Tensor>,
  users: ValueUsers,
  { floatBits }: FoldOptions,
): boolean {
  const sizes = equalWeights(group, tensors).map(({ tensor, weights }) => {
    return Math.min(elementsOf(tensor.shape) * Math.max(...weights.map(({ bits }) => bits)), bytesOfTensor(tensor) * 8);
  });
  const left = freedBy(group, users).sources.map(({ tensor }) => {
    return tensor.type === "float32" ? elementsOf(tensor.shape) * floatBits : bytesOfTensor(tensor) * 8;
  });
  return sum(sizes) < sum(left);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
