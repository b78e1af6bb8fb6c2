import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Attribute, Graph, Model, Node, Tensor, ValueInfo } from "../ir/graph.ts";
import {
  attributeField,
  attributeType,
  codeOf,
  EXTERNAL,
  entryField,
  graphField,
  modelField,
  nodeField,
  opsetField,
  tensorField,
  tensorTypeField,
  typeField,
  valueInfoField,
} from "../proto/schema.ts";
import {
  delimited,
  type Field,
  fieldsOf,
  floatField,
  integerAt,
  integerField,
  type Message,
  messageAt,
  rewrite,
  type Segment,
  textAt,
  textField,
} from "../proto/wire-format.ts";

/**
 * A model as bytes. What no pass changed is a stretch of the file it was read from; a model that no pass changed is that
 * file, from end to end.
 */
export function encodeModel(model: Model): Segment[] {
  const { message, was } = model.origin;
  const changes = new Map<number, Segment[]>();
  if (model.irVersion !== was.irVersion) {
    changes.set(modelField.irVersion, integerField(modelField.irVersion, model.irVersion));
  }
  if (!sameEntries(model.opsets, was.opsets)) changes.set(modelField.opsetImport, encodeOpsets(model.opsets));
  if (!sameList(model.functions, was.functions)) {
    changes.set(
      modelField.functions,
      fields(modelField.functions, model.functions, ({ message }) => [message]),
    );
  }
  if (isGraphChanged(model.graph)) changes.set(modelField.graph, delimited(modelField.graph, encodeGraph(model.graph)));
  return changes.size === 0 ? [message] : rewrite(message, changes);
}

function encodeOpsets(opsets: ReadonlyMap<string, number>): Segment[] {
  return Array.from(opsets, ([domain, version]) =>
    delimited(modelField.opsetImport, [
      ...textField(opsetField.domain, domain),
      ...integerField(opsetField.version, version),
    ]),
  ).flat();
}

function encodeGraph(graph: Graph): Segment[] {
  const { message, was } = graph.origin;
  const changes = new Map<number, Segment[]>();
  if (!sameList(graph.nodes, was.nodes) || graph.nodes.some(isNodeChanged)) {
    changes.set(graphField.node, fields(graphField.node, graph.nodes, encodeNode));
  }
  if (!sameList(graph.initializers, was.initializers)) {
    changes.set(graphField.initializer, fields(graphField.initializer, graph.initializers, encodeTensor));
  }
  for (const [list, number] of valueLists) {
    if (!sameList(graph[list], was[list])) changes.set(number, fields(number, graph[list], encodeValueInfo));
  }
  return rewrite(message, changes);
}

const valueLists = [
  ["inputs", graphField.input],
  ["outputs", graphField.output],
  ["valueInfos", graphField.valueInfo],
] as const;

function isGraphChanged(graph: Graph): boolean {
  const { nodes, initializers, origin } = graph;
  const { was } = origin;
  if (!sameList(nodes, was.nodes) || !sameList(initializers, was.initializers)) return true;
  return valueLists.some(([list]) => !sameList(graph[list], was[list])) || nodes.some(isNodeChanged);
}

/** Name and type are written anew where they are others than were read; the shape and all else stay as they lie. */
function encodeValueInfo(info: ValueInfo): Segment[] {
  const { message, name } = info;
  const changes = new Map([...renamed(message, valueInfoField.name, name), ...retyped(info)]);
  return changes.size === 0 ? [message] : rewrite(message, changes);
}

type Change = readonly [field: number, segments: readonly Segment[]];

/** The field with a name, where that is another than was read. */
function renamed(message: Message, field: number, name: string): Change[] {
  const there = lastField(message, field);
  return (there ? textAt(message.index, there) : "") === name ? [] : [[field, textField(field, name)]];
}

function retyped({ message, elementType }: ValueInfo): Change[] {
  const type = elementType && messageIn(message, valueInfoField.type);
  const tensor = type && messageIn(type, typeField.tensor);
  const element = tensor && lastField(tensor, tensorTypeField.elementType);
  if (!element || integerAt(message.index, element) === codeOf(elementType)) return [];
  const code = integerField(tensorTypeField.elementType, codeOf(elementType));
  const nested = rewrite(tensor, new Map([[tensorTypeField.elementType, code]]));
  const typed = rewrite(type, new Map([[typeField.tensor, delimited(typeField.tensor, nested)]]));
  return [[valueInfoField.type, delimited(valueInfoField.type, typed)]];
}

function messageIn(message: Message, number: number): Message | undefined {
  const field = lastField(message, number);
  return field && messageAt(message.index, field);
}

/** Of a field that should be there once the last counts, as protobuf has it. */
function lastField(message: Message, number: number): Field | undefined {
  return fieldsOf(message).findLast((field) => field.number === number);
}

function isNodeChanged({ origin, name, opType, inputs, outputs, attributes }: Node): boolean {
  if (!origin) return true;
  const { was } = origin;
  if (name !== was.name || opType !== was.opType) return true;
  if (!sameList(inputs, was.inputs) || !sameList(outputs, was.outputs)) return true;
  return !sameList(attributes, was.attributes) || attributes.some(isAttributeChanged);
}

function isAttributeChanged({ graphs, value }: Attribute): boolean {
  return graphs.some(isGraphChanged) || (value.kind === "tensor" && value.value.data.kind === "placed");
}

export function encodeNode(node: Node): Segment[] {
  const { name, domain, opType, inputs, outputs, attributes, origin } = node;
  const encoded = {
    inputs: () => inputs.flatMap((input) => textField(nodeField.input, input)),
    outputs: () => outputs.flatMap((output) => textField(nodeField.output, output)),
    attributes: () => fields(nodeField.attribute, attributes, encodeAttribute),
  };
  if (!origin) {
    return [
      ...encoded.inputs(),
      ...encoded.outputs(),
      ...textField(nodeField.name, name),
      ...textField(nodeField.opType, opType),
      ...encoded.attributes(),
      ...(domain === "" ? [] : textField(nodeField.domain, domain)),
    ];
  }
  if (!isNodeChanged(node)) return [origin.message];
  const { was } = origin;
  const changes = new Map<number, Segment[]>();
  if (!sameList(inputs, was.inputs)) changes.set(nodeField.input, encoded.inputs());
  if (!sameList(outputs, was.outputs)) changes.set(nodeField.output, encoded.outputs());
  if (name !== was.name) changes.set(nodeField.name, textField(nodeField.name, name));
  if (opType !== was.opType) changes.set(nodeField.opType, textField(nodeField.opType, opType));
  if (!sameList(attributes, was.attributes) || attributes.some(isAttributeChanged)) {
    changes.set(nodeField.attribute, encoded.attributes());
  }
  return rewrite(origin.message, changes);
}

function encodeAttribute(attribute: Attribute): Segment[] {
  const { message, name } = attribute;
  if (!message) return encodeValue(attribute);
  const changes = new Map(renamed(message, attributeField.name, name));
  if (isAttributeChanged(attribute)) changes.set(...changedValue(attribute, message));
  return changes.size === 0 ? [message] : rewrite(message, changes);
}

function changedValue({ graphs, value }: Attribute, message: Message): Change {
  const { t, g, graphs: many } = attributeField;
  if (value.kind === "tensor") return [t, delimited(t, encodeTensor(value.value))];
  // An attribute holds either one graph or a list of them.
  const number = value.kind === "graph" && graphs.length === 1 && lastField(message, g) ? g : many;
  return [number, fields(number, graphs, encodeGraphField)];
}

function encodeGraphField(graph: Graph): Segment[] {
  return isGraphChanged(graph) ? encodeGraph(graph) : [graph.origin.message];
}

function encodeValue({ name, value }: Attribute): Segment[] {
  const typed = (type: number, chunks: readonly Segment[]) => [
    ...textField(attributeField.name, name),
    ...chunks,
    ...integerField(attributeField.type, type),
  ];
  switch (value.kind) {
    case "int":
      return typed(attributeType.int, integerField(attributeField.i, value.value));
    case "float":
      return typed(attributeType.float, floatField(attributeField.f, value.value));
    case "string":
      return typed(attributeType.string, textField(attributeField.s, value.value));
    case "ints":
      return typed(
        attributeType.ints,
        value.value.flatMap((x) => integerField(attributeField.ints, x)),
      );
    case "floats":
      return typed(
        attributeType.floats,
        value.value.flatMap((x) => floatField(attributeField.floats, x)),
      );
    case "tensor":
      return typed(attributeType.tensor, delimited(attributeField.t, encodeTensor(value.value)));
    default:
      throw new Error(`attribute ${name}: only what was read can be of kind ${value.kind}`);
  }
}

export function encodeTensor(tensor: Tensor): Segment[] {
  const { name, typeCode, shape, data, message } = tensor;
  if (data.kind === "placed") return encodePlaced(tensor, data.entries);
  if (message) {
    const changes = new Map(renamed(message, tensorField.name, name));
    return changes.size === 0 ? [message] : rewrite(message, changes);
  }
  if (data.kind !== "bytes" && data.kind !== "pending") throw new Error(`tensor ${name}: made without data`);
  const payload = data.kind === "bytes" ? data.bytes : data.pending;
  return [...encodeHead(name, typeCode, shape), ...delimited(tensorField.rawData, [payload])];
}

function encodeHead(name: string, typeCode: number, shape: readonly number[]): Segment[] {
  const head = new BinaryWriter();
  for (const dimension of shape) head.tag(tensorField.dims, WireType.Varint).int64(dimension);
  head.tag(tensorField.dataType, WireType.Varint).int32(typeCode);
  return [head.finish(), ...textField(tensorField.name, name)];
}

/** A tensor whose data is in another file; entries say where. */
function encodePlaced({ name, typeCode, shape, message }: Tensor, entries: ReadonlyMap<string, string>): Segment[] {
  const place = Array.from(entries, ([key, value]) =>
    delimited(tensorField.externalData, [...textField(entryField.key, key), ...textField(entryField.value, value)]),
  ).flat();
  const location = integerField(tensorField.dataLocation, EXTERNAL);
  if (!message) return [...encodeHead(name, typeCode, shape), ...place, ...location];
  const changes = new Map([
    ...renamed(message, tensorField.name, name),
    [tensorField.externalData, place],
    [tensorField.dataLocation, location],
  ]);
  return rewrite(message, changes);
}

/** Each of `items` in a length-delimited field of its own. */
function fields<T>(number: number, items: readonly T[], encode: (item: T) => readonly Segment[]): Segment[] {
  const chunks: Segment[] = [];
  for (const item of items) for (const chunk of delimited(number, encode(item))) chunks.push(chunk);
  return chunks;
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((x, i) => x === b[i]));
}

function sameEntries<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a.size === b.size && Array.from(a).every(([key, value]) => b.get(key) === value);
}
