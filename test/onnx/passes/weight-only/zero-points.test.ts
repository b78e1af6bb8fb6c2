import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, indices, nearness, type Sketch } from "../../../helpers/sketch.ts";
import { typeCodes } from "../../../helpers/wire-fields.ts";

// DequantizeLinear whose zero points are 0 says so where ONNX Runtime up to 1.24 needs it: before Transpose and its like, it
// puts a QuantizeLinear without one, which gives uint8.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten } = rewriterOf(() => engine, { format: "qdq" });

const signed: readonly (QuantizeModelOptions & { dtype: "int8" | "int16" | "int4" })[] = [
  { dtype: "int8" },
  { dtype: "int8", perChannel: false },
  { dtype: "int16", opset: 21 },
  { dtype: "int16", perChannel: false, opset: 21 },
  { dtype: "int4", opset: 21 },
  { dtype: "int4", perChannel: false, opset: 21 },
];

const least = { int8: 30, int16: 70, int4: 10 };

/** The zero point that each DequantizeLinear is given, if one is. */
async function zeroPointsOf(model: Sketch, options: QuantizeModelOptions & { dtype: keyof typeof least }) {
  const { before, bytes } = await rewritten(model, options);
  expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[options.dtype]);
  const { nodes, initializers } = readGraph(graphIn(bytes));
  const restoring = nodes.filter(({ op }) => op === "DequantizeLinear");
  expect(restoring.length).toBeGreaterThan(0);
  return restoring.map(({ inputs: [, scale, zeroPoint] }) => {
    const of = (name: string | undefined) => initializers.find((each) => each.name === name);
    const zeros = of(zeroPoint);
    if (!zeros) return undefined;
    expect(zeros.raw.every((byte) => byte === 0)).toBe(true);
    expect(zeros.shape).toEqual(of(scale)!.shape);
    expect(zeros.typeCode).toBe(typeCodes[options.dtype]);
    return options.dtype;
  });
}

const feeds = { x: floats([3, 24]) };
const turn = node("Transpose", "w", "v", { perm: [1, 0] });
const behind = (nodes: readonly Uint8Array[], weights: Sketch["weights"], op = "MatMul"): Sketch => ({
  nodes: [...nodes, node(op, "x v", "y")],
  weights: weights!,
  feeds,
  outputs: ["y"],
});

describe.each(signed)("$dtype, per channel: $perChannel", (options) => {
  it.each<[string, Sketch]>([
    ["Transpose", behind([turn], { w: [16, 24] })],
    ["Transpose that names no axes", behind([node("Transpose", "w", "v")], { w: [16, 24] })],
    ["Transpose, of Gemm", behind([turn], { w: [16, 24] }, "Gemm")],
    ["Transpose of the last two axes", behind([node("Transpose", "w", "v", { perm: [0, 2, 1] })], { w: [2, 16, 24] })],
    ["Reshape", behind([node("Reshape", "w s", "v")], { w: [4, 6, 16], s: tensor("s", "int64", [2], [24, 16]) })],
    ["Squeeze", behind([node("Squeeze", "w a", "v")], { w: [1, 24, 16], a: tensor("a", "int64", [1], [0]) })],
  ])("behind %s", async (_, model) => {
    expect(await zeroPointsOf(model, options)).toEqual([options.dtype]);
  });

  it("of a table that gives the logits, too: one set of codes serves both", async () => {
    const model: Sketch = {
      nodes: [node("Gather", "w ids", "r"), turn, node("MatMul", "x v", "y")],
      weights: { w: [40, 24] },
      feeds: { ...feeds, ids: indices([3, 1, -2]) },
      outputs: ["r", "y"],
    };
    const { bytes } = await rewritten(model, options);
    const codes = readGraph(graphIn(bytes)).initializers.filter(({ name }) => name.startsWith("w_quantized"));
    expect(codes).toHaveLength(1);
    expect(await zeroPointsOf(model, options)).toContain(options.dtype);
  });

  it("not of a weight that is taken as it is restored", async () => {
    const model = { ...behind([], { v: [24, 16] }) };
    expect(await zeroPointsOf(model, options)).toEqual([undefined]);
  });
});

describe("rows that are turned", () => {
  const model: Sketch = {
    nodes: [node("Gather", "w ids", "r"), node("Transpose", "r", "t", { perm: [0, 2, 1] }), node("Relu", "t", "y")],
    weights: { w: [40, 24] },
    feeds: { ids: indices([3, 1, -2, 5], [2, 2]) },
    outputs: ["y"],
  };

  it("have one with a scale per channel, and of int16", async () => {
    expect(await zeroPointsOf(model, { dtype: "int8" })).toEqual(["int8"]);
    expect(await zeroPointsOf(model, { dtype: "int16", perChannel: false, opset: 21 })).toEqual(["int16"]);
  });

  // ONNX Runtime 1.30 takes it for uint8 there from opset 21 on, and does not load the model; without one all versions do.
  it("have none with one scale, of int8", async () => {
    for (const opset of [17, 21]) {
      expect(await zeroPointsOf(model, { dtype: "int8", perChannel: false, opset })).toEqual([undefined]);
    }
  });
});

it("a table of unsigned codes whose rows are multiplied with a weight has no blocks, nor has the weight", async () => {
  const model: Sketch = {
    nodes: [node("Gather", "table ids", "rows"), node("MatMul", "rows w", "y")],
    weights: { table: [40, 64], w: [64, 32] },
    feeds: { ids: indices([0, 39, 7]) },
    outputs: ["y"],
  };
  const { before, bytes, report } = await rewritten(model, { dtype: "uint8", blockSize: 32 });
  expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(30);
  expect(report.tensors.map(({ to }) => to)).toEqual(["uint8", "uint8"]);
  expect(report.remarks?.map(({ message }) => message)).toContain(
    "a scale per channel or tensor, as blocks do not suit them: table, w (2 weights)",
  );
});
