import { elementsOf } from "../engine/tensors/shape.ts";
import { graphsOf, type Model } from "./ir/graph.ts";
import {
  bitsOf,
  type ElementType,
  elementTypeOf,
  graphField,
  longFields,
  type MessageType,
  nodeField,
  tensorField,
} from "./proto/schema.ts";
import { fieldsOf, integerAt, integersAt, type Message, messageAt, messagesOf, textAt } from "./proto/wire-format.ts";

/** A tensor that no pass looks at. */
export interface UnreachedTensor {
  readonly name: string;
  readonly type: ElementType | undefined;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Why it stays as it is. */
  readonly reason: string;
}

/** Tensors in the model's own functions, and the values of sparse initializers. */
export function unreachedTensors(model: Model): UnreachedTensor[] {
  const ofFunctions = model.functions.flatMap(({ message, name }) => {
    return tensorsIn(message, "function", name, `in the function ${JSON.stringify(name)}, which is copied as it is`);
  });
  const sparse = Array.from(graphsOf(model.graph)).flatMap(({ origin }) => {
    return messagesOf(origin.message, graphField.sparseInitializer).flatMap((message) => {
      return tensorsIn(message, "sparse", "", "sparse");
    });
  });
  return [...ofFunctions, ...sparse];
}

/** @param label what a tensor without a name goes by: what its node gives */
function tensorsIn(message: Message, type: MessageType, label: string, reason: string): UnreachedTensor[] {
  if (type === "tensor") return [tensorFrom(message, label, reason)];
  const own = type === "node" ? textIn(message, nodeField.output) : label;
  return fieldsOf(message).flatMap((field) => {
    const kind = longFields[type][field.number];
    if (kind === undefined || kind === "keep") return [];
    return tensorsIn(messageAt(message.index, field), kind, own, reason);
  });
}

function tensorFrom(message: Message, label: string, reason: string): UnreachedTensor {
  const { index } = message;
  const fields = fieldsOf(message);
  const code = fields.findLast(({ number }) => number === tensorField.dataType);
  const type = code && elementTypeOf(integerAt(index, code));
  const shape = integersAt(
    index,
    fields.filter(({ number }) => number === tensorField.dims),
  );
  const bytes = Math.ceil((elementsOf(shape) * (bitsOf(type) ?? 0)) / 8);
  return { name: textIn(message, tensorField.name) || label, type, shape, bytes, reason };
}

/** The first text of a field, "" where there is none. */
function textIn(message: Message, number: number): string {
  const field = fieldsOf(message).find((each) => each.number === number);
  return field ? textAt(message.index, field) : "";
}
