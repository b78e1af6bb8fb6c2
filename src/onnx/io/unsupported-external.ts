import { FormatError } from "../../errors.ts";
import { graphsOf, type Model } from "../ir/graph.ts";
import { attributeField, EXTERNAL, graphField, longFields, type MessageType, tensorField } from "../proto/schema.ts";
import { fieldsOf, integerAt, type Message, messageAt, textAt } from "../proto/wire-format.ts";

/**
 * Data in other files is moved with the model, but not that of sparse tensors and lists of tensors: nobody writes such
 * models, and an output without its data would be worse than none.
 *
 * @throws FormatError naming the tensor
 */
export function refuseUnsupportedExternal(model: Model): void {
  for (const graph of graphsOf(model.graph)) {
    for (const tensor of childrenOf(graph.origin.message, { [graphField.sparseInitializer]: "sparse" }))
      checkInside(tensor);
    for (const node of graph.nodes) {
      for (const { message: attribute, value } of node.attributes) {
        if (!attribute || value.kind !== "other") continue;
        for (const tensor of childrenOf(attribute, { [attributeField.tensors]: "tensor" })) checkInside(tensor);
      }
    }
  }
}

/**
 * Nor is that of functions: for those that stay functions.
 *
 * @throws FormatError naming the tensor
 */
export function refuseExternalInFunctions({ functions }: Model): void {
  for (const { message } of functions) {
    for (const tensor of childrenOf(message, longFields.function)) checkInside(tensor);
  }
}

/** Tensors within a message, in fields of the numbers given and in the messages there. */
function* childrenOf(message: Message, types: Readonly<Record<number, MessageType | "keep">>): Generator<Message> {
  for (const field of fieldsOf(message)) {
    const type = types[field.number];
    if (type === undefined || type === "keep") continue;
    const child = messageAt(message.index, field);
    if (type === "tensor") yield child;
    else yield* childrenOf(child, longFields[type]);
  }
}

function checkInside(tensor: Message): void {
  const { index } = tensor;
  const fields = fieldsOf(tensor);
  const location = fields.findLast(({ number }) => number === tensorField.dataLocation);
  if (!location || integerAt(index, location) !== EXTERNAL) return;
  const name = fields.findLast(({ number }) => number === tensorField.name);
  const what = "its data is in another file, which only that of initializers and Constant nodes may be";
  throw new FormatError(index.source.name, what, name ? textAt(index, name) : "");
}
