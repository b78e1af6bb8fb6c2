import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../src/engine/engine.ts";
import { bytesOf } from "../../../src/engine/tensors/tensor.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../../helpers/onnx-read.ts";
import { type Storage, tensor } from "../../helpers/onnx-tensors.ts";
import { quantizerOf } from "../../helpers/quantized.ts";
import { columns, rows, values, weightOf, withOutput } from "../../helpers/weights-of-types.ts";
import { concat, double, field, float, integer, numbers } from "../../helpers/wire-fields.ts";

// What no pass changes comes out as the bytes it came in as, whatever an exporter has put there and however it was
// encoded; and what is quantized restores to what the engine says, to the bit.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

describe("storage", () => {
  const stores: readonly (Storage | Storage["kind"])[] = [
    "raw",
    "packed",
    "unpacked",
    { kind: "pieces", pieces: 1 },
    { kind: "pieces", pieces: 7 },
  ];
  const cases = (["float32", "float16", "bfloat16"] as const).flatMap((type) =>
    stores.map((store) => ({ type, store, title: `${type} ${JSON.stringify(store)}` })),
  );

  it.each(cases)("$title gives the codes of the engine", async ({ type, store }) => {
    const { bytes } = await quantized(withOutput(type, 13, 8, store));
    const { initializers } = readGraph(graphIn(bytes));
    const want = engine.quantize(weightOf(type), { dtype: "int8", axis: 1 });
    expect(initializers.map(({ name }) => name)).toEqual(["W_quantized", "W_scale"]);
    expect(initializers[0]!.raw).toEqual(bytesOf(want.data));
    expect(initializers[1]!.raw).toEqual(bytesOf(want.scale));
  });

  it("typed fields among others, and pieces of both kinds", async () => {
    const t = numbers.tensor;
    const some = (from: number, to: number) => bytesOf(values.slice(from, to));
    const w = concat([
      field(t.floatData, some(0, 100)),
      field(t.name, "W"),
      concat(Array.from(values.slice(100, 110), (x) => float(t.floatData, x))),
      integer(t.dims, rows),
      field(t.floatData, some(110, rows * columns)),
      double(777, 1),
      integer(t.dataType, 1),
      integer(t.dims, columns),
    ]);
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y")],
        initializers: [w],
        inputs: [value("x", "float32")],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes } = await quantized(before);
    const want = engine.quantize(weightOf("float32"), { dtype: "int8", axis: 1 });
    expect(readGraph(graphIn(bytes)).initializers[0]!.raw).toEqual(bytesOf(want.data));
  });

  it("Buffers, wherever in them a model starts", async () => {
    const bytes = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("Reshape", "W s", "V"), node("MatMul", "x V", "y")],
        initializers: [
          tensor("W", "float32", [8, rows / 8, columns], values),
          tensor("s", "int64", [2], [rows, columns]),
        ],
        inputs: [value("x", "float32")],
        outputs: [value("y", "float32")],
      }),
    });
    const want = await quantized(bytes);
    expect(want.report.tensors).toMatchObject([{ name: "W", to: "int8" }]);
    for (const offset of [0, 1, 2, 4]) {
      const buffer = Buffer.concat([Buffer.alloc(offset), bytes]).subarray(offset);
      expect((await quantized(buffer)).bytes).toEqual(want.bytes);
    }
  });

  it("float64 stays", async () => {
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y")],
        initializers: [tensor("W", "float64", [rows, columns], values)],
        inputs: [value("x", "float64")],
        outputs: [value("y", "float64")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(bytes).toEqual(before);
    expect(report.tensors).toMatchObject([{ name: "W", to: "float64", reason: "float64" }]);
  });
});
