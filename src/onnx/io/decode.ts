import { elementsOf } from "../../engine/tensors/shape.ts";
import { FormatError } from "../../errors.ts";
import type { ByteSource } from "../../formats/byte-source.ts";
import type {
  Attribute,
  AttributeValue,
  ExternalPlace,
  Graph,
  Model,
  ModelFunction,
  Node,
  Tensor,
  TensorData,
  ValueInfo,
} from "../ir/graph.ts";
import { damaged, readFileIndex } from "../proto/file-index.ts";
import {
  attributeField,
  bitsOf,
  dimensionField,
  EXTERNAL,
  elementTypeOf,
  entryField,
  functionField,
  graphField,
  modelField,
  nodeField,
  opsetField,
  shapeField,
  sparseField,
  tensorField,
  tensorTypeField,
  typeField,
  valueInfoField,
} from "../proto/schema.ts";
import {
  type Field,
  fieldsOf,
  floatsAt,
  integerAt,
  integersAt,
  type Message,
  messageAt,
  textAt,
} from "../proto/wire-format.ts";

/**
 * Reads a model's structure: graphs, nodes, names, types and shapes, and where its tensors' data lies.
 *
 * @throws FormatError
 */
export async function readModel(source: ByteSource): Promise<Model> {
  const index = await readFileIndex(source);
  const message = { index, start: 0, end: source.byteLength };
  const read = reading(message);
  const graphs = read.messages(modelField.graph);
  const [first] = graphs;
  if (!first) throw new FormatError(source.name, "is not an ONNX model: it has no graph");
  if (graphs.length > 1) throw new FormatError(source.name, "has more than one graph");
  const irVersion = read.integer(modelField.irVersion) ?? 0;
  const opsets = opsetsFrom(read.messages(modelField.opsetImport));
  const graph = graphFrom(first, 0);
  if (graph.nodes.length === 0 && graph.outputs.length === 0) {
    throw new FormatError(source.name, "is not an ONNX model: its graph is empty");
  }
  const functions = read.messages(modelField.functions).map(functionFrom);
  const isTrainable = read.all(modelField.trainingInfo).length > 0;
  const origin = { message, was: { irVersion, opsets, functions } };
  return { irVersion, opsets: new Map(opsets), graph, functions, isTrainable, origin };
}

/** Both spellings of ONNX's own domain. */
function domainOf(text: string | undefined): string {
  return text === undefined || text === "ai.onnx" ? "" : text;
}

export function opsetsFrom(entries: readonly Message[]): Map<string, number> {
  return new Map(
    entries.map((entry) => {
      const { text, integer } = reading(entry);
      return [domainOf(text(opsetField.domain)), integer(opsetField.version) ?? 0] as const;
    }),
  );
}

/** What a function is called by; its body is read where it is wanted (decode-functions.ts). */
function functionFrom(message: Message): ModelFunction {
  const { text } = reading(message);
  const name = text(functionField.name) ?? "";
  return { domain: domainOf(text(functionField.domain)), name, overload: text(functionField.overload) ?? "", message };
}

/** Graphs within graphs; real models have three or four. */
const DEEPEST = 64;

function graphFrom(message: Message, depth: number): Graph {
  if (depth > DEEPEST) {
    throw damaged(message.index.source, message.start, `graphs are nested more than ${DEEPEST} deep`);
  }
  const read = reading(message);
  const nodes = read.messages(graphField.node).map((node) => nodeFrom(node, depth));
  const initializers = read.messages(graphField.initializer).map(tensorFrom);
  const inputs = read.messages(graphField.input).map(valueInfoFrom);
  const outputs = read.messages(graphField.output).map(valueInfoFrom);
  const valueInfos = read.messages(graphField.valueInfo).map(valueInfoFrom);
  const sparse = read.messages(graphField.sparseInitializer).map((tensor) => {
    const [values] = reading(tensor).messages(sparseField.values);
    const of = values && reading(values);
    const typeCode = of?.integer(tensorField.dataType) ?? 0;
    return { name: of?.text(tensorField.name) ?? "", typeCode, type: elementTypeOf(typeCode) };
  });
  return {
    name: read.text(graphField.name) ?? "",
    nodes: [...nodes],
    initializers: [...initializers],
    inputs: [...inputs],
    outputs,
    valueInfos,
    sparse,
    origin: { message, was: { nodes, initializers, inputs, outputs, valueInfos } },
  };
}

export function nodeFrom(message: Message, depth: number): Node {
  const read = reading(message);
  const inputs = read.texts(nodeField.input);
  const outputs = read.texts(nodeField.output);
  const opType = read.text(nodeField.opType) ?? "";
  const attributes = read.messages(nodeField.attribute).map((attribute) => attributeFrom(attribute, depth));
  const name = read.text(nodeField.name) ?? "";
  const domain = domainOf(read.text(nodeField.domain));
  return {
    name,
    domain,
    overload: read.text(nodeField.overload),
    inputs,
    outputs,
    opType,
    attributes,
    origin: { message, was: { name, inputs, outputs, opType, attributes } },
  };
}

export function attributeFrom(message: Message, depth: number): Attribute {
  const read = reading(message);
  const { g, graphs } = attributeField;
  const inner = [...read.messages(g), ...read.messages(graphs)].map((graph) => graphFrom(graph, depth + 1));
  const ref = read.text(attributeField.refAttrName) || undefined;
  return {
    name: read.text(attributeField.name) ?? "",
    graphs: inner,
    value: ref === undefined ? valueFrom(message, inner.length > 0) : { kind: "other" },
    ref,
    message,
  };
}

/** Told by the field that is there: files before IR 2 have no type. */
function valueFrom(message: Message, hasGraph: boolean): AttributeValue {
  if (hasGraph) return { kind: "graph" };
  const { index } = message;
  const read = reading(message);
  const [t] = read.messages(attributeField.t);
  if (t) return { kind: "tensor", value: tensorFrom(t) };
  const type = read.integer(attributeField.type);
  const floats = read.all(attributeField.floats);
  if (floats.length > 0 || type === 6) return lazily("floats", () => floatsAt(index, floats));
  const ints = read.all(attributeField.ints);
  if (ints.length > 0 || type === 7) return lazily("ints", () => integersAt(index, ints));
  const s = read.all(attributeField.s).at(-1);
  if (s) return index.has(s.data, s.end) ? { kind: "string", value: textAt(index, s) } : { kind: "other" };
  const f = read.all(attributeField.f);
  if (f.length > 0 || type === 1) return { kind: "float", value: floatsAt(index, f).at(-1) ?? 0 };
  const i = read.integer(attributeField.i);
  if (i !== undefined || type === 2) return { kind: "int", value: i ?? 0 };
  if (type === 3) return { kind: "string", value: "" };
  return { kind: "other" };
}

/** Lists may be long, as a forest's are, and mostly nobody asks for them. */
function lazily(kind: "ints" | "floats", read: () => readonly number[]): AttributeValue {
  let values: readonly number[] | undefined;
  return {
    kind,
    get value() {
      values ??= read();
      return values;
    },
  };
}

function valueInfoFrom(message: Message): ValueInfo {
  const read = reading(message);
  const [type] = read.messages(valueInfoField.type);
  const [tensor] = type ? reading(type).messages(typeField.tensor) : [];
  const name = read.text(valueInfoField.name) ?? "";
  if (!tensor) return { name, elementType: undefined, shape: undefined, message };
  const { integer, messages } = reading(tensor);
  const [shape] = messages(tensorTypeField.shape);
  return {
    name,
    elementType: elementTypeOf(integer(tensorTypeField.elementType) ?? 0),
    shape: shape && reading(shape).messages(shapeField.dim).map(dimensionFrom),
    message,
  };
}

function dimensionFrom(message: Message): number | string {
  const { integer, text } = reading(message);
  return integer(dimensionField.value) ?? text(dimensionField.parameter) ?? "";
}

function tensorFrom(message: Message): Tensor {
  const read = reading(message);
  const name = read.text(tensorField.name) ?? "";
  const typeCode = read.integer(tensorField.dataType) ?? 0;
  const type = elementTypeOf(typeCode);
  const shape = integersAt(message.index, read.all(tensorField.dims));
  const { source } = message.index;
  const elements = elementsOf(shape);
  if (shape.some((dimension) => dimension < 0) || !Number.isSafeInteger(elements)) {
    throw new FormatError(source.name, `its shape [${shape.slice(0, 8).join(", ")}] cannot be`, name);
  }
  const tensor = { name, typeCode, type, shape, message };
  const data = dataFrom(tensor);
  checkLength(source.name, { ...tensor, data }, elements);
  return { ...tensor, data };
}

function dataFrom({ name, type, message }: Omit<Tensor, "data"> & { readonly message: Message }): TensorData {
  const { index } = message;
  const read = reading(message);
  const span = ({ data, end }: Field): TensorData => ({ kind: "span", source: index.source, start: data, end });
  if (read.integer(tensorField.dataLocation) === EXTERNAL) return { kind: "external", place: placeFrom(message, name) };
  const raw = read.all(tensorField.rawData).at(-1);
  if (raw) return span(raw);
  const { floatData, int32Data, int64Data, doubleData, uint64Data, stringData } = tensorField;
  const strings = read.all(stringData);
  if (strings.length > 0 || type === undefined || type === "string") return { kind: "opaque" };
  const fields = [floatData, int32Data, int64Data, doubleData, uint64Data].flatMap((number) => read.all(number));
  const [only] = fields;
  const packed = only !== undefined && fields.length === 1 && only.wire === 2;
  if (packed && (only.number === floatData || only.number === doubleData)) return span(only);
  return { kind: "typed", message, fields };
}

function placeFrom(message: Message, tensor: string): ExternalPlace {
  const entries = new Map(
    reading(message)
      .messages(tensorField.externalData)
      .map((entry) => {
        const { text } = reading(entry);
        return [text(entryField.key) ?? "", text(entryField.value) ?? ""] as const;
      }),
  );
  const { name } = message.index.source;
  const whole = (key: string) => {
    const text = entries.get(key);
    if (text === undefined || text === "") return undefined;
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw new FormatError(name, `its external data has ${key} ${JSON.stringify(text.slice(0, 40))}`, tensor);
  };
  const location = entries.get("location");
  if (!location) throw new FormatError(name, "its data is said to be in another file, which is not named", tensor);
  return { location, offset: whole("offset") ?? 0, length: whole("length") };
}

/** Holds data that lies in the model's file against type and shape. */
function checkLength(file: string, { name, type, shape, data }: Tensor, elements: number): void {
  const bits = bitsOf(type);
  if (bits === undefined) return;
  const wanted = Math.ceil((elements * bits) / 8);
  const claim = `claims [${shape.slice(0, 8).join(", ")}] of ${type}, ${wanted} bytes`;
  if (data.kind === "span" && data.end - data.start !== wanted) {
    throw new FormatError(file, `${claim}; ${data.end - data.start} bytes are there`, name);
  }
  if (data.kind === "typed") {
    // A byte each at the least.
    const most = data.fields.reduce((sum, field) => sum + field.end - field.start, 0);
    if (elements > 0 && most < Math.ceil((elements * Math.min(bits, 8)) / 8)) {
      throw new FormatError(file, `${claim}; its data has ${most} bytes`, name);
    }
  }
}

/** Fields by number; of one that should be there once, the last counts, as protobuf has it. */
export function reading(message: Message) {
  const { index } = message;
  const fields = fieldsOf(message);
  const all = (number: number) => fields.filter((field) => field.number === number);
  const last = (number: number) => fields.findLast((field) => field.number === number);
  return {
    all,
    messages: (number: number) => all(number).map((field) => messageAt(index, field)),
    texts: (number: number) => all(number).map((field) => textAt(index, field)),
    text(number: number) {
      const field = last(number);
      return field && textAt(index, field);
    },
    integer(number: number) {
      const field = last(number);
      return field && integerAt(index, field);
    },
  };
}
