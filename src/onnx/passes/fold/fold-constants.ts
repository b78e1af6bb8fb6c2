import { elementsOf } from "../../../engine/tensors/shape.ts";
import { type Remark, remark } from "../../../pipeline/model-report.ts";
import { listNames } from "../../../pipeline/phrases.ts";
import { bytesOfTensor, type TensorFiles } from "../../io/tensor-data.ts";
import type { Model, Node, Tensor } from "../../ir/graph.ts";
import { type Constant, Scope } from "../../ir/scopes.ts";
import { ValueUsers } from "../../ir/value-users.ts";
import { FREE_INITIALIZERS, GraphEdits } from "../graph-edits.ts";
import { NotComputed } from "./constant-value.ts";
import { Evaluator } from "./evaluator.ts";
import { type ComputedWeight, type FoldOptions, findComputedWeights } from "./find-computed-weights.ts";

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
  const candidates = await findComputedWeights(model, root, files, options);
  if (candidates.length === 0) return [];
  const users = new ValueUsers(root);
  const evaluator = new Evaluator(files);
  const folded = new Map<ComputedWeight, Tensor>();
  const left: Remark[] = [];
  for (const group of together(candidates)) {
    if (freedBy(group, users).bytes === 0) continue;
    for (const candidate of group) {
      const { name, scope, region } = candidate;
      try {
        folded.set(candidate, await evaluator.tensorOf(name, scope, region));
      } catch (error) {
        if (!(error instanceof NotComputed)) throw error;
        left.push(
          remark("not-folded", `${name} is computed from constants in each run and stays float: ${error.message}`),
        );
      }
    }
  }
  const edits = new GraphEdits();
  const names: string[] = [];
  for (const group of together([...folded.keys()])) {
    const { bytes, nodes, sources } = freedBy(group, users);
    const codes = group.reduce((sum, each) => sum + (elementsOf(folded.get(each)!.shape) * each.bits) / 8, 0);
    if (codes >= bytes) continue;
    for (const node of nodes) edits.replace(node, []);
    for (const source of sources) edits.substitute(source, []);
    for (const each of group) edits.addTensors(each.scope.graph, [folded.get(each)!]);
    names.push(...group.map(({ name }) => name));
  }
  if (names.length === 0) return left;
  edits.need({ ir: FREE_INITIALIZERS });
  edits.apply(file, model);
  const many = names.length === 1 ? "1 weight" : `${names.length} weights`;
  return [remark("folded", `${many} computed once, from constants: ${listNames(names)}`), ...left];
}

/** ComputedWeights that share constants or nodes, which go when all of these are folded, in groups. */
function together(candidates: readonly ComputedWeight[]): ComputedWeight[][] {
  const groups = new Map<object, ComputedWeight[]>();
  for (const candidate of candidates) {
    const parts = [...candidate.region.sources, ...candidate.region.nodes.map(({ node }) => node)];
    const merged = new Set(parts.flatMap((part) => (groups.has(part) ? [groups.get(part)!] : [])));
    const group = [...[...merged].flat(), candidate];
    const all = group.flatMap(({ region }) => [...region.sources, ...region.nodes.map(({ node }) => node)]);
    for (const part of all) groups.set(part, group);
  }
  return [...new Set(groups.values())];
}

/** Nodes and constants that nobody needs once these weights are computed, and the bytes of those constants. */
function freedBy(group: readonly ComputedWeight[], users: ValueUsers) {
  const folded = new Map<Scope, Set<string>>();
  for (const { scope, name } of group) folded.set(scope, (folded.get(scope) ?? new Set()).add(name));
  const sites = new Map(group.flatMap(({ region }) => region.nodes.map((site) => [site.node, site] as const)));
  const nodes = new Set<Node>();
  // Users stand behind what they use; those of several regions may be found before their users, so until nothing changes.
  for (let before = -1; before < nodes.size; ) {
    before = nodes.size;
    for (const { node, scope } of [...sites.values()].reverse()) {
      const isFree = (name: string) => folded.get(scope)?.has(name) || users.areOnly(scope, name, nodes);
      if (node.outputs.every((name) => name === "" || isFree(name))) nodes.add(node);
    }
  }
  const all = new Set<Constant>(group.flatMap(({ region }) => [...region.sources]));
  const scopes = new Map(
    [...sites.values()].flatMap(({ node, scope }) => node.inputs.map((name) => [name, scope] as const)),
  );
  const sources = [...all].filter(({ name }) => users.areOnly(scopes.get(name)!, name, nodes));
  return { nodes, sources, bytes: sources.reduce((sum, { tensor }) => sum + bytesOfTensor(tensor), 0) };
}
