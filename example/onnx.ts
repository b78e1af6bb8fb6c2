import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Parameter } from "./network.ts";

/** Field numbers of onnx.proto, as far as they are written here. */
const field = {
  model: { irVersion: 1, producerName: 2, graph: 7, opsetImport: 8 },
  opset: { version: 2 },
  graph: { node: 1, name: 2, initializer: 5, docString: 10, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, opType: 4, attribute: 5 },
  attribute: { name: 1, int: 3, ints: 8, type: 20 },
  tensor: { dims: 1, dataType: 2, name: 8, rawData: 9 },
  valueInfo: { name: 1, type: 2 },
  type: { tensorType: 1 },
  tensorType: { elementType: 1, shape: 2 },
  shape: { dim: 1 },
  dimension: { value: 1, parameter: 2 },
} as const;

const irVersion = 8;
const opsetVersion = 17;
const float32 = 1;
const attributeType = { int: 2, ints: 7 } as const;

type Encode = (writer: BinaryWriter) => void;

interface OnnxNode {
  type: string;
  name: string;
  inputs: readonly string[];
  output: string;
  attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** The net of `network.ts`; the weights go by their own names. */
const nodes: readonly OnnxNode[] = [
  {
    type: "Conv",
    name: "conv1",
    inputs: ["image", "conv1.weight", "conv1.bias"],
    output: "conv1_out",
    attributes: { kernel_shape: [5, 5], pads: [2, 2, 2, 2], strides: [1, 1] },
  },
  { type: "Relu", name: "relu1", inputs: ["conv1_out"], output: "relu1_out" },
  maxPool("pool1", "relu1_out"),
  {
    type: "Conv",
    name: "conv2",
    inputs: ["pool1_out", "conv2.weight", "conv2.bias"],
    output: "conv2_out",
    attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [1, 1] },
  },
  { type: "Relu", name: "relu2", inputs: ["conv2_out"], output: "relu2_out" },
  maxPool("pool2", "relu2_out"),
  { type: "Flatten", name: "flatten", inputs: ["pool2_out"], output: "flatten_out", attributes: { axis: 1 } },
  gemm("fc1", "flatten_out", "fc1_out"),
  { type: "Relu", name: "relu3", inputs: ["fc1_out"], output: "relu3_out" },
  gemm("fc2", "relu3_out", "scores"),
];

function maxPool(name: string, input: string): OnnxNode {
  const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
  return { type: "MaxPool", name, inputs: [input], output: `${name}_out`, attributes };
}

function gemm(name: string, input: string, output: string): OnnxNode {
  const inputs = [input, `${name}.weight`, `${name}.bias`];
  return { type: "Gemm", name, inputs, output, attributes: { transB: 1 } };
}

/** The net with `parameters` as an ONNX file: image [batch, 1, 20, 20] of 0 to 1 in, scores [batch, 10] out. */
export function encodeOnnx(parameters: readonly Parameter[], description: string): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  int(writer, field.model.irVersion, irVersion);
  text(writer, field.model.producerName, "wasm-quant example");
  message(writer, field.model.graph, (graph) => {
    for (const node of nodes) message(graph, field.graph.node, (out) => encodeNode(out, node));
    text(graph, field.graph.name, "digits");
    for (const parameter of parameters) {
      message(graph, field.graph.initializer, (out) => encodeTensor(out, parameter));
    }
    text(graph, field.graph.docString, description);
    message(graph, field.graph.input, (out) => encodeValue(out, "image", ["batch", 1, 20, 20]));
    message(graph, field.graph.output, (out) => encodeValue(out, "scores", ["batch", 10]));
  });
  message(writer, field.model.opsetImport, (opset) => int(opset, field.opset.version, opsetVersion));
  return writer.finish();
}

function encodeNode(writer: BinaryWriter, { type, name, inputs, output, attributes = {} }: OnnxNode): void {
  for (const input of inputs) text(writer, field.node.input, input);
  text(writer, field.node.output, output);
  text(writer, field.node.name, name);
  text(writer, field.node.opType, type);
  for (const [key, value] of Object.entries(attributes)) {
    message(writer, field.node.attribute, (attribute) => encodeAttribute(attribute, key, value));
  }
}

function encodeAttribute(writer: BinaryWriter, name: string, value: number | readonly number[]): void {
  text(writer, field.attribute.name, name);
  if (typeof value === "number") int(writer, field.attribute.int, value);
  else for (const item of value) int(writer, field.attribute.ints, item);
  int(writer, field.attribute.type, typeof value === "number" ? attributeType.int : attributeType.ints);
}

function encodeTensor(writer: BinaryWriter, { name, shape, values }: Parameter): void {
  for (const dim of shape) int(writer, field.tensor.dims, dim);
  int(writer, field.tensor.dataType, float32);
  text(writer, field.tensor.name, name);
  writer.tag(field.tensor.rawData, WireType.LengthDelimited).bytes(new Uint8Array(values.buffer));
}

/** A float32 tensor that goes in or out; a dimension with a name may be any size. */
function encodeValue(writer: BinaryWriter, name: string, shape: readonly (string | number)[]): void {
  text(writer, field.valueInfo.name, name);
  message(writer, field.valueInfo.type, (type) =>
    message(type, field.type.tensorType, (tensor) => {
      int(tensor, field.tensorType.elementType, float32);
      message(tensor, field.tensorType.shape, (dims) => {
        for (const dim of shape) message(dims, field.shape.dim, (out) => encodeDimension(out, dim));
      });
    }),
  );
}

function encodeDimension(writer: BinaryWriter, dim: string | number): void {
  if (typeof dim === "string") text(writer, field.dimension.parameter, dim);
  else int(writer, field.dimension.value, dim);
}

function int(writer: BinaryWriter, number: number, value: number): void {
  writer.tag(number, WireType.Varint).int64(value);
}

function text(writer: BinaryWriter, number: number, value: string): void {
  writer.tag(number, WireType.LengthDelimited).string(value);
}

function message(writer: BinaryWriter, number: number, encode: Encode): void {
  writer.tag(number, WireType.LengthDelimited).fork();
  encode(writer);
  writer.join();
}
