import type { Attribute, ModelFunction, Node } from "../ir/graph.ts";
import { functionField } from "../proto/schema.ts";
import { attributeFrom, nodeFrom, opsetsFrom, reading } from "./decode.ts";

/** What a function does. */
export interface FunctionBody {
  /** Names that its nodes have for what a call gives, and for what the call gets. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes that have a value where a call gives none. */
  readonly defaults: readonly Attribute[];
  /** Of each domain; ONNX's own is "". */
  readonly opsets: ReadonlyMap<string, number>;
  readonly nodes: readonly Node[];
}

/**
 * Reads a function's body. Its tensors' data stays in the file.
 *
 * @throws FormatError where it is damaged
 */
export function readFunctionBody({ message }: ModelFunction): FunctionBody {
  const { texts, messages } = reading(message);
  return {
    inputs: texts(functionField.input),
    outputs: texts(functionField.output),
    defaults: messages(functionField.attributeDefault).map((attribute) => attributeFrom(attribute, 0)),
    opsets: opsetsFrom(messages(functionField.opsetImport)),
    nodes: messages(functionField.node).map((node) => nodeFrom(node, 0)),
  };
}
