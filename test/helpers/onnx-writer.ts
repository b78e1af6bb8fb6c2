import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { attributeInt, elementTypes, type OnnxModel, type OnnxNode, type OnnxTensor, type OnnxValue } from "./onnx.ts";

export function writeModel(model: OnnxModel): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(model.irVersion);
  message(writer, 8, () => writer.tag(2, WireType.Varint).int64(model.opset));
  message(writer, 7, () => {
    for (const node of model.nodes) message(writer, 1, () => writeNode(writer, node));
    string(writer, 2, "graph");
    for (const tensor of model.initializers) message(writer, 5, () => writeTensorFields(writer, tensor));
    for (const value of model.inputs) message(writer, 11, () => writeValue(writer, value));
    for (const value of model.outputs) message(writer, 12, () => writeValue(writer, value));
  });
  return writer.finish();
}

export function writeTensor(tensor: OnnxTensor): Uint8Array {
  const writer = new BinaryWriter();
  writeTensorFields(writer, tensor);
  return writer.finish();
}

function writeNode(writer: BinaryWriter, node: OnnxNode): void {
  for (const name of node.inputs) string(writer, 1, name);
  for (const name of node.outputs) string(writer, 2, name);
  string(writer, 4, node.op);
  for (const [name, value] of Object.entries(node.attributes)) {
    message(writer, 5, () => {
      string(writer, 1, name);
      writer.tag(3, WireType.Varint).int64(value);
      writer.tag(20, WireType.Varint).int32(attributeInt);
    });
  }
}

function writeTensorFields(writer: BinaryWriter, { name, type, shape, bytes }: OnnxTensor): void {
  for (const dimension of shape) writer.tag(1, WireType.Varint).int64(dimension);
  writer.tag(2, WireType.Varint).int32(elementTypes[type].code);
  string(writer, 8, name);
  writer.tag(9, WireType.LengthDelimited).bytes(bytes);
}

function writeValue(writer: BinaryWriter, { name, type, shape }: OnnxValue): void {
  string(writer, 1, name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(elementTypes[type].code);
      message(writer, 2, () => {
        for (const dimension of shape) message(writer, 1, () => writer.tag(1, WireType.Varint).int64(dimension));
      });
    }),
  );
}

function string(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}
