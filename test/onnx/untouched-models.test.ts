import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { graph, model, node, opsetOf, value } from "../helpers/onnx-build.ts";
import { sparseTensor, tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { plainInner, richModel } from "../helpers/rich-model.ts";
import { values } from "../helpers/weights-of-types.ts";
import { concat, field, integer, padded, paddedField } from "../helpers/wire-fields.ts";

// What no pass changes comes out as the bytes it came in as, whatever an exporter has put there and however it was
// encoded; and what is quantized restores to what the engine says, to the bit.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const plainNodes = [node("Relu", "x", "y")];

const plainGraph = graph({
  nodes: plainNodes,
  inputs: [value("x", "float32[2]")],
  outputs: [value("y", "float32[2]")],
});

const plainInput = paddedField(11, value("x", "float32[2]"), 2);

const opset13 = field(8, opsetOf(["", 13]));

/** Bytes that no encoder of ours would make, and that mean a model all the same. */
const oddities: Readonly<Record<string, Uint8Array>> = {
  "lengths as padded varints": concat([
    Uint8Array.of(0x08),
    padded(8, 3),
    paddedField(7, concat([plainInput, paddedField(1, plainNodes[0]!), paddedField(12, value("y", "float32"), 3)])),
    paddedField(8, opsetOf(["", 13]), 2),
  ]),
  "tags as padded varints": concat([
    concat([padded(0x08, 2), padded(8, 10)]),
    concat([padded(0x3a, 5), padded(plainGraph.length, 5), plainGraph]),
    opset13,
  ]),
  "the graph first, the version last": concat([field(7, plainGraph), opset13, integer(1, 8)]),
  "nodes after outputs": concat([
    integer(1, 8),
    field(7, concat([field(12, value("y", "float32[2]")), field(2, "g"), plainInput, field(1, plainNodes[0]!)])),
    opset13,
  ]),
  "a version said twice": concat([integer(1, 3), integer(1, 8), field(7, plainGraph), opset13]),
  "no version": concat([field(7, plainGraph), opset13]),
  "an opset import for ai.onnx": concat([integer(1, 8), field(7, plainGraph), field(8, opsetOf(["ai.onnx", 13]))]),
  "no opset imports": concat([integer(1, 3), field(7, plainGraph)]),
  "names that are no UTF-8": concat([
    integer(1, 8),
    field(
      7,
      concat([
        field(2, Uint8Array.of(0xff, 0xfe)),
        field(
          1,
          concat([
            field(1, "x"),
            field(2, Uint8Array.of(0x79, 0xc3)),
            field(4, "Relu"),
            field(3, Uint8Array.of(0xed, 0xa0, 0x80)),
          ]),
        ),
        field(11, value("x", "float32[2]")),
        field(12, concat([field(1, Uint8Array.of(0x79, 0xc3))])),
      ]),
    ),
    opset13,
  ]),
  "dims packed and not": concat([
    integer(1, 8),
    field(
      7,
      concat([
        plainGraph,
        field(5, tensor("a", "float32", [2, 3], values.slice(0, 6), { packedDims: true })),
        field(5, tensor("b", "float32", [2, 3], values.slice(0, 6))),
        field(5, concat([tensor("c", "float32", [1], [1]), field(1, Uint8Array.of(1, 1))])),
      ]),
    ),
    opset13,
  ]),
  "an attribute of each kind": concat([
    integer(1, 8),
    field(
      7,
      concat([
        plainGraph,
        field(
          1,
          node(
            "Everything",
            "x",
            "e",
            {
              ...{ i: 1, s: "text", ints: [1, -1], f: { float: 0.1 }, floats: { floats: [1e-40] } },
              ...{ strings: { strings: ["", "x"] }, t: { tensor: tensor("", "float32", [1], [1]) } },
              ...{ tensors: { tensors: [tensor("t", "float32", [2, 2], [1, 2, 3, 4])] } },
              ...{ g: { graph: plainInner("g") }, graphs: { graphs: [plainInner("h"), plainInner("i")] } },
              packed: concat([field(1, "packed"), field(8, Uint8Array.of(1, 2, 3)), integer(20, 7)]),
              empty: concat([field(1, "empty")]),
              future: concat([field(1, "future"), field(77, "?"), integer(20, 99)]),
            },
            { domain: "com.example" },
          ),
        ),
      ]),
    ),
    opset13,
  ]),
  "a tensor type yet to come": concat([
    integer(1, 99),
    field(7, concat([plainGraph, field(5, concat([integer(1, 2 ** 40), integer(2, 99), field(8, "later")]))])),
    opset13,
  ]),
};

describe("a model with nothing to quantize comes out as it went in", () => {
  it.each([20, 5000, 20_000, 70_000])("with all that may be in a model, documentation of %i bytes", async (size) => {
    const bytes = richModel({ weights: false, size });
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });

  it("with its weights excluded", async () => {
    const bytes = richModel();
    const result = await quantized(bytes, { exclude: ["*"] });
    expect(result.bytes).toEqual(bytes);
    expect(result.report).toMatchObject({ bytesBefore: bytes.length, bytesAfter: bytes.length });
  });

  it("at the opset that is asked for", async () => {
    const bytes = richModel();
    expect((await quantized(bytes, { exclude: ["*"], opset: 13 })).bytes).toEqual(bytes);
  });

  it.each(Object.keys(oddities))("%s", async (name) => {
    const bytes = oddities[name]!;
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });

  it("a sparse initializer of many values", async () => {
    const bytes = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: plainNodes,
        inputs: [value("x", "float32[2]")],
        outputs: [value("y", "float32[2]")],
        sparse: [
          sparseTensor(
            tensor("S", "float32", [4000], new Float32Array(4000)),
            tensor(
              "",
              "int64",
              [1200],
              Array.from({ length: 1200 }, (_, i) => i),
            ),
            [5000],
          ),
        ],
      }),
    });
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });
});
