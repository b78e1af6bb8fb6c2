import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { elementTypes, type OnnxModel, readModel, readTensor } from "../helpers/onnx.ts";
import { codesOf, floatsOf, storedCodes } from "../helpers/onnx-values.ts";
import { writeModel, writeTensor } from "../helpers/onnx-writer.ts";

// What the other suites of this folder stand on.

/** A tensor with its numbers in a typed field, packed or one by one, as protobuf allows. */
function typedTensor(
  type: keyof typeof elementTypes,
  shape: readonly number[],
  fill: (writer: BinaryWriter) => void,
): Uint8Array {
  const writer = new BinaryWriter();
  for (const dimension of shape) writer.tag(1, WireType.Varint).int64(dimension);
  writer.tag(2, WireType.Varint).int32(elementTypes[type].code);
  fill(writer);
  return writer.finish();
}

function int32Data(values: readonly number[]): (writer: BinaryWriter) => void {
  return (writer) => {
    writer.tag(5, WireType.LengthDelimited).fork();
    for (const value of values) writer.int32(value);
    writer.join();
  };
}

describe("the reader of ONNX tensors and models", () => {
  it("reads back what the writer wrote", () => {
    const tensor = { name: "w", type: "int4", shape: [3], bytes: Uint8Array.of(0xf8, 0x07) } as const;
    expect(readTensor(writeTensor(tensor))).toEqual(tensor);
    expect([...codesOf(tensor)]).toEqual([-8, -1, 7]);
    expect(storedCodes("int4", [-8, -1, 7])).toEqual(tensor.bytes);

    const model: OnnxModel = {
      irVersion: 10,
      opset: 21,
      nodes: [
        { op: "QuantizeLinear", inputs: ["x", "s", ""], outputs: ["q"], attributes: { axis: -1, block_size: 32 } },
        { op: "Cast", inputs: ["q"], outputs: ["y"], attributes: { to: 3 } },
      ],
      initializers: [{ name: "s", type: "float32", shape: [], bytes: new Uint8Array(4) }, tensor],
      inputs: [{ name: "x", type: "float32", shape: [2, 300] }],
      outputs: [{ name: "y", type: "int8", shape: [] }],
    };
    expect(readModel(writeModel(model))).toEqual(model);
  });

  it("reads typed fields", () => {
    const floats = typedTensor("float32", [2], (writer) =>
      writer.tag(4, WireType.Bit32).float(1.5).tag(4, WireType.Bit32).float(-2),
    );
    expect([...floatsOf(readTensor(floats))]).toEqual([1.5, -2]);
    expect([...codesOf(readTensor(typedTensor("int8", [2, 2], int32Data([-128, -1, 0, 127]))))]).toEqual([
      -128, -1, 0, 127,
    ]);
    expect([...codesOf(readTensor(typedTensor("int32", [2], int32Data([-2147483648, 2147483647]))))]).toEqual([
      -2147483648, 2147483647,
    ]);
    expect([...codesOf(readTensor(typedTensor("uint16", [], int32Data([65535]))))]).toEqual([65535]);
    expect([...codesOf(readTensor(typedTensor("uint4", [3], int32Data([0xf1, 0x02]))))]).toEqual([1, 15, 2]);
    expect([...floatsOf(readTensor(typedTensor("float16", [2], int32Data([0xc000, 0x0001]))))]).toEqual([-2, 2 ** -24]);
    expect([...floatsOf(readTensor(typedTensor("bfloat16", [2], int32Data([0xc000, 0x3fc0]))))]).toEqual([-2, 1.5]);
  });

  it("refuses what it would have to guess", () => {
    expect(() => readTensor(typedTensor("int8", [3], int32Data([1, 2])))).toThrow("2 bytes where 3 were expected");
    const unknown = new BinaryWriter().tag(2, WireType.Varint).int32(24).finish();
    expect(() => readTensor(unknown)).toThrow("element type 24");
  });

  it("refuses attributes that are not whole numbers", () => {
    const delimited = WireType.LengthDelimited;
    const attribute = (writer: BinaryWriter) =>
      writer.tag(1, delimited).string("mode").tag(20, WireType.Varint).int32(3).tag(4, delimited).string("linear");
    const writer = new BinaryWriter();
    writer.tag(8, delimited).fork().tag(2, WireType.Varint).int64(21).join();
    writer.tag(7, delimited).fork().tag(1, delimited).fork().tag(5, delimited).fork();
    const bytes = attribute(writer).join().join().join().finish();
    expect(() => readModel(bytes)).toThrow("attribute mode is not an int");
  });
});
