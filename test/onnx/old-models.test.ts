import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { graphIn, integers, payloads, readGraph, texts } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import {
  bias,
  branch,
  distance,
  indices,
  modelOf,
  no,
  old,
  outputsOf,
  plain,
  runtimeNames,
  x32,
  yes,
} from "../helpers/weight-fixtures.ts";

// Models of a few nodes, in each form: the codes are those that the engine gives along the axis that suits the node, and
// what the model gives is what it gave with the values that these codes stand for, in both of ONNX Runtime's builds.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

describe("old and unusual models", () => {
  it("weights of one name in graphs that stand side by side", async () => {
    const body = (name: string, seed: number) =>
      branch(name, {
        nodes: [node("MatMul", "x W", `${name}_y`)],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(seed), 768))],
      });
    const before = modelOf(old, {
      nodes: [
        node("If", "flag", "y", { then_branch: { graph: body("then", 1) }, else_branch: { graph: body("else", 2) } }),
      ],
      inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
      outputs: [value("y", "float32")],
    });
    const feeds = [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ];
    for (const options of [{}, { format: "qdq" }, { blockSize: 16 }] as const) {
      const { bytes, report } = await quantized(before, options);
      expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([
        ["W", "int8"],
        ["W", "int8"],
      ]);
      for (const runtime of runtimeNames) {
        const want = await outputsOf(runtime, before, feeds);
        expect(distance(await outputsOf(runtime, bytes, feeds), want)).toBeLessThan(0.02);
      }
    }
  });

  const three = (ir: number) =>
    model({
      ir,
      opsets: { "": 8 },
      graph: graph({
        nodes: [node("Gemm", "x W b", "y")],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768)), bias("b", 24)],
        inputs: [value("x", "float32[2,32]"), value("W", "float32[32,24]"), value("b", "float32[24]")],
        outputs: [value("y", "float32[2,24]")],
      }),
    });

  const leaves = (initializers: string) =>
    `${initializers} listed among the graph's inputs, as old models do: no longer`;

  it("IR 3 becomes IR 4, and no initializer is left among the inputs", async () => {
    const { bytes, report } = await quantized(three(3));
    expect(integers(bytes, 1)).toEqual([4]);
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x"]);
    expect(remarksOf(report)).toEqual(expect.arrayContaining(["IR version 3 raised to 4", leaves("2 initializers")]));
    for (const runtime of runtimeNames) {
      const want = await outputsOf(runtime, three(3), [x32], plain);
      expect(distance(await outputsOf(runtime, bytes, [x32]), want)).toBeLessThan(0.02);
    }
  });

  it("a weight that is an input's default in a newer model leaves the inputs, too", async () => {
    const { bytes, report } = await quantized(three(8));
    expect(integers(bytes, 1)).toEqual([8]);
    // What stays may be set from IR 4 on, and callers may rely on that.
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x", "b"]);
    expect(remarksOf(report)).toContain(leaves("1 initializer"));
    expect(remarksOf(report).join("\n")).not.toMatch(/IR version/);
  });

  it("IR 3 with nothing to quantize stays as it is", async () => {
    expect((await quantized(three(3), { exclude: ["*"] })).bytes).toEqual(three(3));
  });

  it("int4 takes the IR version of opset 21 with it", async () => {
    const before = modelOf(
      { opset: 21, ir: 8 },
      {
        nodes: [node("MatMul", "x W", "y")],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      },
    );
    const { bytes, report } = await quantized(before, { format: "qdq", dtype: "int4", blockSize: 16 });
    expect(integers(bytes, 1)).toEqual([10]);
    expect(remarksOf(report)).toContain("IR version 8 raised to 10");
  });

  const fused = (opsets: Readonly<Record<string, number>>) =>
    model({
      ir: 8,
      opsets,
      graph: graph({
        nodes: [node("FusedMatMul", "x W", "y", {}, { domain: "com.microsoft" })],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
    });

  it("a model without ONNX's own ops takes an opset for those that restore its weights", async () => {
    const before = fused({ "com.microsoft": 1 });
    const { bytes } = await quantized(before);
    const opsets = payloads(bytes, 8).map((each) => [texts(each, 1)[0] ?? "", integers(each, 2)[0]]);
    expect(Object.fromEntries(opsets)).toEqual({ "com.microsoft": 1, "": 13 });
    for (const runtime of runtimeNames) {
      const want = await outputsOf(runtime, before, [x32]);
      expect(distance(await outputsOf(runtime, bytes, [x32]), want)).toBeLessThan(0.02);
    }
    expect((await quantized(before, { exclude: ["W"] })).bytes).toEqual(before);
  });

  it("a model whose opset is too old is raised, unless another was asked for", async () => {
    const before = fused({ "": 6, "com.microsoft": 1 });
    const { bytes, report } = await quantized(before);
    expect(remarksOf(report)).toContain(
      'opset 6 raised to 7, which Mul that broadcasts as numpy does (format "cast") needs',
    );
    expect(bytes.length).toBeLessThan(before.length);
    await expect(quantized(before, { opset: 6 })).rejects.toMatchObject({
      tag: "argument",
      argument: "opset",
      detail: '6 given; Mul that broadcasts as numpy does (format "cast") needs at least 7',
    });
    expect((await quantized(before, { exclude: ["W"] })).bytes).toEqual(before);
  });

  it("ai.onnx is another name of ONNX's own domain", async () => {
    const before = model({
      ir: 8,
      opsets: { "ai.onnx": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y", {}, { domain: "ai.onnx" })],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(report.tensors).toMatchObject([{ to: "int8", ops: ["MatMul"] }]);
    for (const runtime of runtimeNames) await outputsOf(runtime, bytes, [x32]);
  });

  it("float16 subnormals keep their values: none becomes 0 whose code is not", async () => {
    const halves = Uint16Array.from({ length: 768 }, (_, i) => (i % 2) * 0x8000 + 1 + (i % 17));
    const before = modelOf(old, {
      nodes: [node("Gather", "W i", "y")],
      initializers: [tensor("W", "float16", [96, 8], halves)],
      inputs: [value("i", "int64[96]")],
      outputs: [value("y", "float16[96,8]")],
    });
    const { bytes } = await quantized(before, { dtype: "int8", perChannel: false });
    const all = { i: indices([96], [...Array(96).keys()]) };
    for (const runtime of runtimeNames) {
      for (const options of [plain, {}]) {
        const [want] = await outputsOf(runtime, before, [all], options);
        const [got] = await outputsOf(runtime, bytes, [all], options);
        // The scale is finer than the step of such values: all come back.
        expect(got!.y!.data).toEqual(want!.y!.data);
        expect((got!.y!.data as Float32Array).every((x) => x !== 0)).toBe(true);
      }
    }
  });
});
