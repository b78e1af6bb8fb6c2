import type { Tensor } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { NodeSite, Scope } from "../../ir/scopes.ts";
import { type Value, Values } from "../../ir/types/type-inference.ts";
import { isKnown } from "./half-operators.ts";

/** The values of a model that may have been quantized just now: of ops that nothing is known of nothing is assumed. */
export function valuesOf(root: Scope, overridable: ReadonlySet<Tensor>): Values {
  return new Values(root, {
    overridable,
    isPlain: isKnown,
    typeAt(node, value) {
      // A table that was quantized just now is of another type than what it stands for.
      const isTable = opNameOf(node) === "com.microsoft.GatherBlockQuantized";
      return isTable && isPending(value) ? "float32" : value?.type;
    },
    firstType(node, [, , scale]) {
      // A matrix that was quantized just now was of the type of what it is multiplied with.
      return opNameOf(node) === "com.microsoft.MatMulNBits" && isPending(scale) ? "float32" : undefined;
    },
  });
}

/** Whether a value is a constant that is yet to be made. */
export function isPending(value: Value | undefined): boolean {
  return value?.constant?.tensor.data.kind === "pending";
}

/** A node with the values it takes and gives, and the node in whose graph it stands. */
export interface TypedNode extends NodeSite {
  readonly owner: TypedNode | undefined;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
}

/** The nodes of all graphs, each before those of its own graphs and, in sorted graphs, behind those it takes from. */
export function typedNodesOf(root: Scope, values: Values): TypedNode[] {
  const places: TypedNode[] = [];
  const visit = (scope: Scope, owner: TypedNode | undefined) => {
    for (const node of scope.graph.nodes) {
      const inputs = node.inputs.map((name) => values.find(scope, name));
      const outputs = node.outputs.map((name) => values.within(scope, name));
      const place = { node, scope, owner, inputs, outputs };
      places.push(place);
      for (const { graphs } of node.attributes) for (const graph of graphs) visit(values.scopeOf(graph), place);
    }
  };
  visit(root, undefined);
  return places;
}

export function isFloat(value: Value | undefined): value is Value {
  return value?.type === "float32";
}
