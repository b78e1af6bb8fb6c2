import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../../../src/model.ts";
import { exactRuntimes } from "../../../helpers/exact-products.ts";
import { compareOutputs } from "../../../helpers/model-feeds.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { graphIn, payloads, readGraph, texts } from "../../../helpers/onnx-read.ts";
import { elementBytes, tensor } from "../../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { integerTypes, rewriterOf } from "../../../helpers/rewritten.ts";
import { openNode, runtimes, withSession } from "../../../helpers/sessions.ts";
import { drawnTensor, floats, nearness, nodesIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Models as a whole that are to calculate in integers, or to hold matrices in blocks: opsets old and new, nothing to do,
// weights in a file beside them, names.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, quantized, expectNear, expectFloat } = rewriterOf(() => engine, {
  mode: "dynamic",
  opTypes: integerTypes,
});

const layers = (opset: number): Sketch => ({
  opset,
  nodes: [node("MatMul", "x w", "h"), node("Relu", "h", "y"), node("Conv", "i k b", "z")],
  weights: { w: [16, 8], k: [6, 4, 3, 3], b: [6] },
  feeds: { x: floats([3, 16]), i: floats([1, 4, 7, 7]) },
  outputs: ["y", "z"],
});

describe("opset", () => {
  it.each([7, 8, 9, 10])("%d is raised to 11, which DynamicQuantizeLinear came with", async (opset) => {
    const ops = await expectNear(layers(opset));
    expect(ops).toMatchObject({ MatMulInteger: 1, ConvInteger: 1 });
    expect(remarksOf((await rewritten(layers(opset))).report)).toContain(
      `opset ${opset} raised to 11, which DynamicQuantizeLinear needs`,
    );
  });

  it.each([11, 12, 13, 15, 17, 19, 21, 22, 23])("%d stays", async (opset) => {
    expect(await expectNear(layers(opset))).toMatchObject({ MatMulInteger: 1, ConvInteger: 1 });
    expect(remarksOf((await rewritten(layers(opset))).report).join()).not.toMatch(/raised/);
  });

  it("is not raised for a model with nothing to quantize, which stays as it was", async () => {
    for (const opset of [7, 10, 13]) {
      const model: Sketch = {
        opset,
        nodes: [node("Gemm", "x w c", "y", { alpha: { float: 2 } })],
        weights: { w: [16, 2], c: [2] },
        feeds: { x: floats([3, 16]) },
        outputs: ["y"],
      };
      const remarks = await expectFloat(model, ["Gemm with alpha 2; would not get smaller"]);
      expect(remarks).toContain("nothing to do: the model is written as it was read");
    }
  });

  it("of an IR that knows no initializers but inputs is raised to one that does", async () => {
    const { bytes, report, before } = await rewritten({ ...layers(8), ir: 3 });
    expect(remarksOf(report)).toContain("IR version 3 raised to 6");
    expect(await nearness(before, bytes, layers(8).feeds)).toBeGreaterThan(30);
  });
});

describe("what is asked for", () => {
  it.each<{ options: QuantizeModelOptions; message: string }>([
    { options: { include: ["nothing*"] }, message: 'include: "nothing*" matches no weight or node' },
    { options: { exclude: ["Add_of_y"] }, message: 'exclude: "Add_of_y" matches no weight or node' },
    { options: { opTypes: ["Gemm"] }, message: "opTypes: the model has no Gemm node" },
    { options: { opTypes: ["Relu"] }, message: "opTypes: Relu has no weights that can be quantized so" },
    { options: { blockSize: 32 }, message: "blockSize: integer products have a scale per tensor or per channel" },
    { options: { dtype: "int4" }, message: "dtype" },
  ])("$options is refused", async ({ options, message }) => {
    await expect(rewritten(layers(13), options)).rejects.toThrow(message);
  });

  it("by name or type is done, the rest is as it was", async () => {
    for (const options of [{ include: ["w"] }, { exclude: ["Conv_*"] }, { opTypes: ["MatMul"] }]) {
      const ops = await expectNear(layers(13), options);
      expect(ops).toEqual({ DynamicQuantizeLinear: 1, MatMulInteger: 1, Cast: 1, Mul: 2, Relu: 1, Conv: 1 });
    }
  });
});

describe("weights in another file", () => {
  const values = normals(randomOf(1), 64 * 48);
  const entries = { location: "w.bin", offset: "0", length: String(values.byteLength) };
  const outside = tensor("w", "float32", [64, 48], [], { store: { kind: "external", entries } });
  const model: Sketch = {
    nodes: [node("MatMul", "x w", "h"), node("Gemm", "h g c", "y")],
    weights: { w: outside, g: [48, 40], c: [40] },
    feeds: { x: floats([3, 64]) },
    outputs: ["y"],
  };
  const data = elementBytes("float32", values);
  const float = { ...model, weights: { ...model.weights, w: tensor("w", "float32", [64, 48], values) } };

  it.each<{ options: QuantizeModelOptions; codes: string; least: number }>([
    { options: { mode: "dynamic" }, codes: "w_quantized", least: 30 },
    { options: { dtype: "int4", blockSize: 16, opTypes: ["MatMul", "Gemm"] }, codes: "w_Q4", least: 14 },
    { options: { bits: 8, scheme: "asymmetric", opTypes: ["MatMul", "Gemm"] }, codes: "w_Q8", least: 35 },
  ])("$options: codes of what was outside go outside, and both run", async ({ options, codes, least }) => {
    const sink = bytesSink("out.onnx");
    await quantizeModel(engine, bytesSource(sketch(model), "model.onnx", { "w.bin": data }), sink, options);
    const [bytes, beside] = [sink.result(), sink.result(".data")];
    const isOutside = readGraph(graphIn(bytes)).initializers.filter(({ message }) => payloads(message, 13).length > 0);
    expect(isOutside.map(({ name }) => name)).toEqual([codes]);
    const [location] = payloads(isOutside[0]!.message, 13).map((entry) => texts(entry, 2)[0]);
    expect(location).toBe("out.onnx.data");
    const run = { externalData: { "out.onnx.data": beside! } };
    const want = await withSession(openNode(sketch(float)), (session) => session.run(model.feeds));
    for (const runtime of exactRuntimes(bytes)) {
      const got = await withSession(runtimes[runtime](bytes, run), (session) => session.run(model.feeds));
      expect(compareOutputs([want], [got]).y!.sqnr).toBeGreaterThan(least);
    }
    // The same model with its weights inside gives the same bytes, but for where they are.
    const inside = await quantized(sketch(float), { ...options, ...(options.mode ? {} : { mode: "weight-only" }) });
    const raw = readGraph(graphIn(inside.bytes)).initializers.find(({ name }) => name === codes)!.raw;
    expect(beside!.subarray(0, raw.length)).toEqual(raw);
  });
});

it("a model of Constant nodes alone loses those that it needs no more", async () => {
  const model: Sketch = {
    nodes: [
      node("Constant", "", "w", { value: { tensor: drawnTensor("", [16, 8]) } }),
      node("Constant", "", "c", { value: { tensor: drawnTensor("", [8]) } }),
      node("Gemm", "x w c", "y"),
    ],
    feeds: { x: floats([3, 16]) },
    outputs: ["y"],
  };
  const ops = { DynamicQuantizeLinear: 1, MatMulInteger: 1, Cast: 1, Mul: 2 };
  expect(await expectNear(model)).toEqual({ ...ops, Add: 1, Constant: 1 });
});

describe("names", () => {
  it("that are taken are not given again", async () => {
    const model: Sketch = {
      nodes: [
        node("Relu", "x", "x_quantized"),
        node("Add", "x_quantized w_scale", "x_scale"),
        node("MatMul", "x_scale w", "y", {}, { name: "w_zero_point_1" }),
        node("Gemm", "x_scale w c", "y_MatMul", {}, { name: "" }),
        node("MatMul", "x_scale w", "z", {}, { name: "" }),
      ],
      weights: { w: [16, 8], w_quantized: [16, 8], w_scale: [1], w_zero_point: [1], c: [8] },
      feeds: { x: floats([3, 16]) },
      outputs: ["y", "y_MatMul", "z"],
    };
    expect(await expectNear(model)).toMatchObject({ MatMulInteger: 3, DynamicQuantizeLinear: 1 });
    const { bytes } = await rewritten(model);
    const names = nodesIn(bytes).flatMap(({ name }) => (name === "" ? [] : [name]));
    expect(new Set(names).size).toBe(names.length);
    expect(nodesIn(bytes).filter(({ op }) => op === "MatMulInteger")).toHaveLength(3);
  });

  it("of equal nodes become different ones", async () => {
    // Runtimes of today refuse such a model; what is written is none.
    const same = (inputs: string, output: string) => node("MatMul", inputs, output, {}, { name: "same" });
    const before = sketch({
      nodes: [same("x w", "y"), same("x w", "z")],
      weights: { w: [16, 8] },
      feeds: { x: floats([3, 16]) },
      outputs: ["y", "z"],
    });
    const names = nodesIn((await quantized(before, { mode: "dynamic" })).bytes).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it("that stand for two things are left as they are, and said so", async () => {
    const branch = (output: string) => ({
      graph: graph({
        nodes: [node("MatMul", "x w", output)],
        initializers: [drawnTensor("w", [16, 8], 5)],
        outputs: [value(output, "float32")],
      }),
    });
    const model: Sketch = {
      nodes: [node("MatMul", "x w", "y"), node("If", "c", "z", { then_branch: branch("p"), else_branch: branch("q") })],
      weights: { w: [16, 8] },
      feeds: { x: floats([3, 16]), c: { dims: [], data: Uint8Array.of(1) } },
      outputs: ["y", "z"],
    };
    const { reasons } = await rewritten(model);
    expect(new Set(reasons)).toEqual(new Set(["a name of its own or of its users stands for two things"]));
  });
});
