import type { TensorReport } from "../task/report.ts";
import type { TensorFiles } from "./data.ts";
import { graphsOf, type Model, type Tensor } from "./graph.ts";
import { opNameOf } from "./ops.ts";
import { typeNameOf } from "./proto.ts";
import type { Scope } from "./scopes.ts";

/**
 * Constants of data types that this version does not know. No pass touches them: they are written as they were read.
 *
 * @returns a line of the report for each, in the order of the file
 */
export function unknownConstants(root: Scope, files: TensorFiles): TensorReport[] {
  const users = usersByName(root);
  return Array.from(root.all()).flatMap((scope) => {
    const { initializers, nodes } = scope.graph;
    const names = new Set([...initializers.map(({ name }) => name), ...nodes.flatMap(({ outputs }) => outputs)]);
    return Array.from(names).flatMap((name) => {
      const definition = name === "" ? undefined : scope.find(name);
      if (definition?.kind !== "constant" || definition.constant.tensor.type !== undefined) return [];
      const { tensor } = definition.constant;
      const bytes = bytesHeld(tensor, files);
      const type = typeNameOf(tensor);
      return {
        ...{ name, shape: tensor.shape, ops: users.get(name) ?? [], from: type, to: type },
        ...{ bytesBefore: bytes, bytesAfter: bytes, reason: `${type} is not known` },
      };
    });
  });
}

/** A line for the report where sparse tensors and attributes hold data types that this version does not know. */
export function unknownElsewhere(model: Model): string[] {
  const found: string[] = [];
  for (const { sparse, nodes } of graphsOf(model.graph)) {
    for (const { name, type, typeCode } of sparse) {
      if (type === undefined) found.push(`sparse tensor ${JSON.stringify(name)} (data type ${typeCode})`);
    }
    for (const node of nodes) {
      if (opNameOf(node) === "Constant") continue; // what it gives is a constant like any other
      for (const { name, value } of node.attributes) {
        if (value.kind !== "tensor" || value.value.type !== undefined) continue;
        const where = `${name} of ${opNameOf(node)} ${JSON.stringify(node.name || (node.outputs[0] ?? ""))}`;
        found.push(`attribute ${where} (data type ${value.value.typeCode})`);
      }
    }
  }
  return found.length === 0 ? [] : [`copied unchanged, as the data type is not known: ${found.join(", ")}`];
}

function usersByName(root: Scope): ReadonlyMap<string, readonly string[]> {
  const users = new Map<string, Set<string>>();
  for (const { graph } of root.all()) {
    for (const node of graph.nodes) {
      for (const name of node.inputs) users.set(name, (users.get(name) ?? new Set()).add(opNameOf(node)));
    }
  }
  return new Map(Array.from(users, ([name, ops]) => [name, [...ops]]));
}

function bytesHeld(tensor: Tensor, files: TensorFiles): number {
  const place = files.placeOf(tensor);
  if (place) return place.end - place.start;
  return tensor.message ? tensor.message.end - tensor.message.start : 0;
}
