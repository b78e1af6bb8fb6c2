import { elementsOf } from "../../../engine/tensors/shape.ts";
import type { Node } from "../../ir/graph.ts";
import { channelNorms } from "../../ir/input-roles.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Constant, NodeSite, Scope } from "../../ir/scopes.ts";
import type { ValueUsers } from "../../ir/value-users.ts";

/** A normalization: what it gives is `normalized * scale + bias`, with values along the last axis. */
export interface Norm extends NodeSite {
  /** What a report calls it. */
  readonly label: string;
  /** The value that comes of it. */
  readonly output: string;
  /** How many channels there are. */
  readonly channels: number;
  readonly scale: VectorInput;
  readonly bias: VectorInput | undefined;
  /** Whether it has a bias that is not a constant. */
  readonly isOpen: boolean;
}

/** A constant with a value for each channel, and the node that takes it. */
export interface VectorInput {
  readonly constant: Constant;
  readonly node: Node;
  readonly input: number;
}

/** Finds LayerNormalization, RMSNormalization and their like, also where they are written out, in all graphs. */
export function findNorms(root: Scope, users: ValueUsers): Norm[] {
  const norms: Norm[] = [];
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const norm = fusedNorm({ node, scope }) ?? writtenNorm({ node, scope }, users);
      if (norm) norms.push(norm);
    }
  }
  return norms;
}

function fusedNorm({ node, scope }: NodeSite): Norm | undefined {
  const label = opNameOf(node);
  const places = Object.hasOwn(channelNorms, label) ? channelNorms[label] : undefined;
  const scale = places && vectorAt({ node, scope }, places.scale);
  const [output = ""] = node.outputs;
  if (!scale || output === "") return undefined;
  const channels = elementsOf(scale.constant.tensor.shape);
  const hasBias = places.bias !== undefined && Boolean(node.inputs[places.bias]);
  const bias = hasBias ? vectorAt({ node, scope }, places.bias!, channels) : undefined;
  return { node, scope, label, output, channels, scale, bias, isOpen: hasBias && !bias };
}

/**
 * Written out, as exporters write what the opset lacks:
 *
 *   Div by the deviation, or Mul by its reciprocal -> Mul by the scale -> [Add of the bias]
 */
function writtenNorm({ node, scope }: NodeSite, users: ValueUsers): Norm | undefined {
  if (opNameOf(node) !== "Mul") return undefined;
  const [output = ""] = node.outputs;
  for (const factor of [0, 1]) {
    const scale = vectorAt({ node, scope }, factor);
    if (!scale || !isNormalized(scope, node.inputs[1 - factor] ?? "")) continue;
    const channels = elementsOf(scale.constant.tensor.shape);
    const plain = { node, scope, label: "written-out norm", output, channels, scale, bias: undefined, isOpen: false };
    const [taker, ...others] = users.of(scope, output);
    if (!taker || others.length > 0 || opNameOf(taker.node) !== "Add" || users.isOutput(scope, output)) return plain;
    const bias = vectorAt(taker, 1 - taker.input, channels);
    // An Add in another graph may run at another time, or not at all.
    if (!bias || taker.scope !== scope) return plain;
    return { ...plain, bias, output: taker.node.outputs[0] ?? "" };
  }
  return undefined;
}

function vectorAt({ node, scope }: NodeSite, input: number, channels?: number): VectorInput | undefined {
  const name = node.inputs[input];
  const definition = name ? scope.find(name) : undefined;
  if (definition?.kind !== "constant") return undefined;
  const { constant } = definition;
  const { shape, type } = constant.tensor;
  const last = shape.at(-1) ?? 1;
  const isVector = last > 1 && last === elementsOf(shape) && last === (channels ?? last);
  return isVector && type === "float32" ? { constant, node, input } : undefined;
}

/** Whether a value is one divided by its deviation. */
function isNormalized(scope: Scope, name: string): boolean {
  const [, definition] = scope.behind(name, isPlain);
  if (definition?.kind !== "node") return false;
  const { node, scope: home } = definition;
  if (opNameOf(node) === "Div") return comesOfMean(home, node.inputs[1] ?? "");
  return opNameOf(node) === "Mul" && node.inputs.some((input) => comesOfMean(home, input));
}

function isPlain({ opType, domain }: Node): boolean {
  return domain === "" && (opType === "Identity" || opType === "Cast");
}

/** What stands between a mean of squares and the deviation, or its reciprocal. */
const roots = new Set(["Sqrt", "Pow"]);
const between = new Set([...roots, "Reciprocal", "Div", "Add", "Max", "Clip", "Identity", "Cast"]);
const FARTHEST = 8;

/** Whether a value is the root of a mean, or its reciprocal: what lies between is an epsilon, a bound. */
function comesOfMean(scope: Scope, name: string): boolean {
  let edge = [{ scope, name, hasRoot: false }];
  const seen = { true: new Set<Node>(), false: new Set<Node>() };
  for (let steps = 0; steps <= FARTHEST && edge.length > 0; steps++) {
    const next: typeof edge = [];
    for (const at of edge) {
      const definition = at.scope.find(at.name);
      if (definition?.kind !== "node" || definition.node.domain !== "") continue;
      const { node, scope: home } = definition;
      if (node.opType === "ReduceMean" && at.hasRoot) return true;
      if (!between.has(node.opType) || seen[`${at.hasRoot}`].has(node)) continue;
      seen[`${at.hasRoot}`].add(node);
      const hasRoot = at.hasRoot || roots.has(node.opType);
      for (const input of node.inputs) if (input !== "") next.push({ scope: home, name: input, hasRoot });
    }
    edge = next;
  }
  return false;
}
