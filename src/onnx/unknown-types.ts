import { type Remark, remark, type TensorReport } from "../pipeline/model-report.ts";
import type { TensorFiles } from "./io/tensor-data.ts";
import { graphsOf, type Model, type Tensor } from "./ir/graph.ts";
import { opNameOf } from "./ir/operators.ts";
import type { Scope } from "./ir/scopes.ts";
import { elementTypeOf, graphField, longFields, type MessageType, tensorField, typeNameOf } from "./proto/schema.ts";
import { fieldsOf, integerAt, type Message, messageAt, messagesOf } from "./proto/wire-format.ts";

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

/** A line for the report where sparse tensors, attributes and functions hold data types that this version does not know. */
export function unknownElsewhere(model: Model): Remark[] {
  const found: string[] = [];
  for (const { sparse, nodes, origin } of graphsOf(model.graph)) {
    for (const [i, message] of messagesOf(origin.message, graphField.sparseInitializer).entries()) {
      const name = JSON.stringify(sparse[i]!.name);
      for (const code of unknownIn(message, "sparse")) found.push(`sparse tensor ${name} (data type ${code})`);
    }
    for (const node of nodes) {
      for (const { name, value, message } of node.attributes) {
        if (value.kind !== "tensor" && value.kind !== "other") continue;
        if (value.kind === "tensor" && opNameOf(node) === "Constant") continue; // a constant like any other
        const where = `${name} of ${opNameOf(node)} ${JSON.stringify(node.name || (node.outputs[0] ?? ""))}`;
        for (const code of message ? unknownIn(message, "attribute") : [])
          found.push(`attribute ${where} (data type ${code})`);
      }
    }
  }
  for (const { name, message } of model.functions) {
    for (const code of unknownIn(message, "function")) {
      found.push(`function ${JSON.stringify(name)} (data type ${code})`);
    }
  }
  return found.length === 0
    ? []
    : [remark("unknown-type", `copied unchanged, as the data type is not known: ${found.join(", ")}`)];
}

/** The data types of tensors in a message that are not known, each once. */
function unknownIn(message: Message, type: MessageType): ReadonlySet<number> {
  const codes = new Set<number>();
  for (const field of fieldsOf(message)) {
    const kind = longFields[type][field.number];
    if (type === "tensor" && field.number === tensorField.dataType) {
      const code = integerAt(message.index, field);
      if (elementTypeOf(code) === undefined) codes.add(code);
    } else if (kind !== undefined && kind !== "keep") {
      for (const code of unknownIn(messageAt(message.index, field), kind)) codes.add(code);
    }
  }
  return codes;
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
