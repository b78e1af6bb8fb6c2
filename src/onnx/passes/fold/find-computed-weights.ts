import type { TensorFiles } from "../../io/tensor-data.ts";
import type { Model, Node } from "../../ir/graph.ts";
import { isWeightInput } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import { ValueUsers } from "../../ir/value-users.ts";
import { viewOf } from "../../ir/views.ts";
import { findQuantized } from "../../weights/find-quantized.ts";
import { readIntegers } from "../../weights/find-weights.ts";
import { overridableIn } from "../overridable-initializers.ts";
import { type ConstantRegion, ConstantRegions, TOO_MANY } from "./constant-regions.ts";

export interface FoldOptions {
  /** Bits that an element of such a node's weight takes afterwards; undefined where the weight is to stay as it is. */
  readonly bitsAfter: (node: Node) => number | undefined;
  /** Bits that an element of a float32 constant takes where it is not computed with: 16 where it is halved. */
  readonly floatBits: 16 | 32;
}

/** A weight that nodes compute from constants in each run. */
export interface ComputedWeight {
  readonly name: string;
  /** Of the graph in which it is defined. */
  readonly scope: Scope;
  readonly region: ConstantRegion;
  /** What an element takes once it is a constant. */
  readonly bits: number;
}

/** What is found of computed weights. */
export interface ComputedWeights {
  readonly weights: readonly ComputedWeight[];
  /** Names of those that too many nodes make. */
  readonly tooMany: readonly string[];
}

/** The computed weights of nodes that take something else besides, each once; not those that are made of codes. */
export async function findComputedWeights(
  model: Model,
  root: Scope,
  files: TensorFiles,
  options: Pick<FoldOptions, "bitsAfter">,
): Promise<ComputedWeights> {
  const { all, tooMany } = candidatesIn(model, root, options);
  if (all.length === 0) return { weights: [], tooMany };
  const integers = await readIntegers(model, files);
  const users = new ValueUsers(root);
  const codes = new Set(findQuantized(root).map(({ codes }) => codes));
  const weights = all.filter(({ name, scope, region }) => {
    const isRestored = [...region.sources].some(({ tensor }) => codes.has(tensor));
    return !isRestored && !users.isOutput(scope, name) && !viewOf(name, scope, integers);
  });
  const names = new Map<Scope, Set<string>>();
  for (const { name, scope } of weights) names.set(scope, (names.get(scope) ?? new Set()).add(name));
  return { weights: weights.filter(({ name, scope }) => !isTurned(name, scope, names)), tooMany };
}

function candidatesIn(model: Model, root: Scope, { bitsAfter }: Pick<FoldOptions, "bitsAfter">) {
  const restored = new Set(findQuantized(root).map(({ name }) => name));
  const regions = new ConstantRegions(overridableIn(model));
  const found = new Map<Scope, Map<string, ComputedWeight>>();
  const tooMany = new Set<string>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const bits = bitsAfter(node);
      // What is constant as a whole is part of something else.
      if (bits === undefined || node.inputs.every((each) => each === "" || regions.isConstant(each, scope))) continue;
      for (const [input, name] of node.inputs.entries()) {
        const home = scope.home(name);
        if (!home || !isWeightInput(node, input) || found.get(home)?.has(name) || restored.has(name)) continue;
        const region = regions.regionOf(name, scope);
        if (region === TOO_MANY) tooMany.add(name);
        else if (region) found.set(home, (found.get(home) ?? new Map()).set(name, { name, scope: home, region, bits }));
      }
    }
  }
  const all = [...found.values()].flatMap((byName) => [...byName.values()]);
  return { all, tooMany: [...tooMany] };
}

/** Whether a weight is another one transposed, as a table is that is looked up and multiplied with: passes see through that. */
function isTurned(name: string, scope: Scope, weights: ReadonlyMap<Scope, ReadonlySet<string>>): boolean {
  const definition = scope.find(name);
  if (definition?.kind !== "node" || definition.node.opType !== "Transpose") return false;
  const before = definition.node.inputs[0] ?? "";
  const home = definition.scope.home(before);
  return home !== undefined && (weights.get(home)?.has(before) ?? false);
}
