import type { HalfDType } from "../../../dtypes.ts";
import {
  type Attribute,
  attributeOf,
  type Graph,
  intAttribute,
  makeAttribute,
  makeTensor,
  type Node,
  type ValueInfo,
} from "../../ir/graph.ts";
import type { Value, Values } from "../../ir/types/type-inference.ts";
import { codeOf } from "../../proto/schema.ts";
import type { GraphEdits } from "../graph-edits.ts";
import { isFloat, type TypedNode } from "./node-order.ts";
import { isCast, type Precision, type Roles } from "./node-precision.ts";
import type { Versions } from "./value-versions.ts";

/** Gives each node the precisions of its inputs and outputs that it takes and gives. */
export function rewriteNodes(roles: Roles, versions: Versions, edits: GraphEdits, dtype: HalfDType): void {
  for (const place of roles.places) {
    const { node, outputs } = place;
    if (outputs.some((value) => value?.constant)) continue;
    if (isCast(node) && outputs[0] && isFloat(outputs[0])) {
      rewriteCast(place, outputs[0], versions, edits);
    } else if (outputs[0] && versions.isGone(outputs[0])) {
      edits.replace(node, []);
    } else {
      const changed = rewritten(place, roles, versions, dtype);
      if (changed) edits.replace(node, [changed]);
    }
  }
}

function rewritten(place: TypedNode, roles: Roles, versions: Versions, dtype: HalfDType): Node | undefined {
  const { node, inputs: taken, outputs: given } = place;
  const inputs = node.inputs.map((name, i) => {
    const value = taken[i];
    return value ? versions.nameOf(value, isFloat(value) ? roles.takes(place, i) : "any") : name;
  });
  const outputs = node.outputs.map((name, i) => {
    const value = given[i];
    return isFloat(value) ? versions.nameOf(value, roles.gives(place, i) as Precision) : name;
  });
  const attributes = typed(place, roles, versions, dtype);
  const isSame = same(inputs, node.inputs) && same(outputs, node.outputs) && attributes === node.attributes;
  return isSame ? undefined : { ...node, inputs, outputs, attributes };
}

/** Attributes that name the type of what a node gives, or hold a number of it. */
function typed(place: TypedNode, roles: Roles, versions: Versions, dtype: HalfDType): readonly Attribute[] {
  const { node, scope, outputs } = place;
  const { attributes } = node;
  if (!isFloat(outputs[0]) || roles.gives(place, 0) !== "half" || node.domain !== "") return attributes;
  if (attributeOf(node, "dtype", "int") !== undefined) {
    return attributes.map((each) => (each.name === "dtype" ? intAttribute("dtype", codeOf(dtype)) : each));
  }
  if (node.opType !== "ConstantOfShape") return attributes;
  const tensor = attributeOf(node, "value", "tensor");
  const filling = tensor
    ? versions.halve(outputs[0], { graph: scope.graph, tensor, name: outputs[0].name }, true).halves
    : new Uint8Array(2);
  const value = makeTensor("", dtype, tensor?.shape ?? [1], filling);
  return [...attributes.filter(({ name }) => name !== "value"), makeAttribute("value", { kind: "tensor", value })];
}

/** A Cast for each precision that is wanted of what it gives. */
function rewriteCast(place: TypedNode, output: Value, versions: Versions, edits: GraphEdits): void {
  const { node, inputs } = place;
  if (versions.isGone(output)) {
    edits.replace(node, []);
    return;
  }
  const given = Object.entries(versions.casts.get(node) ?? {}) as [Precision, string][];
  const input = inputs[0] ? versions.nameOf(inputs[0], "any") : node.inputs[0]!;
  const [only] = given;
  if (given.length === 1 && only![0] === "float" && only![1] === node.outputs[0] && input === node.inputs[0]) return;
  const casts = given.map(([precision, name], i): Node => {
    const { origin, ...made } = node;
    const changed = { ...made, inputs: [input], outputs: [name], attributes: [versions.castTo(precision)] };
    return i === 0 ? { ...changed, origin } : { ...changed, name };
  });
  edits.replace(node, casts);
}

/** Tells what a graph's values are from now on, where it declares them. */
export function declare(graph: Graph, values: Values, versions: Versions, dtype: HalfDType): void {
  const scope = values.scopeOf(graph);
  const narrowed = (info: ValueInfo): ValueInfo => {
    const value = values.within(scope, info.name);
    const isHalved = info.elementType === "float32" && isFloat(value) && versions.precisionAt(value) === "half";
    return isHalved ? { ...info, elementType: dtype } : info;
  };
  const isThere = ({ name }: ValueInfo) => {
    const value = values.within(scope, name);
    return !value || !(versions.isGone(value) || (isFloat(value) && versions.precisionAt(value) === undefined));
  };
  graph.inputs = graph.inputs.map(narrowed);
  graph.outputs = graph.outputs.map(narrowed);
  graph.valueInfos = graph.valueInfos.filter(isThere).map(narrowed);
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}
