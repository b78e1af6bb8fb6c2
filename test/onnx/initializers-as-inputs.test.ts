import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { modelPath } from "../helpers/models.ts";
import { sharedData, skipWithout } from "../helpers/needs.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { graphIn, graphsIn, integers, readGraph } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { expectSame, W } from "../helpers/same-outputs.ts";
import type { Feeds } from "../helpers/sessions.ts";

// What a model is held to besides its weights: nodes stand behind what they take, opsets are said, and initializers are
// constants. Models that are not so come from old exporters and from tools that put nodes where it suits them.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const leave = (initializers: string) => `${initializers} listed among the graph's inputs, as old models do: no longer`;

describe("a model of IR 3, whose initializers are inputs as well", () => {
  const sizes = {
    w1: [16, 3, 3, 3],
    b1: [16],
    w2: [8, 16, 1, 1],
    b2: [8],
    scale: [8],
    shift: [8],
    mean: [8],
    var: [8],
  };
  const floats = Object.entries(sizes).map(([name, dims], i) =>
    tensor(
      name,
      "float32",
      dims,
      normals(
        randomOf(i + 1),
        dims.reduce((a, b) => a * b, 1),
        0.3,
      ).map((each) => (name === "var" ? each * each + 1 : each)),
    ),
  );
  const listed = [...Object.entries(sizes).map(([name, dims]) => value(name, `float32[${dims}]`))];

  /** As squeezenet: convolutions, their biases, parameters of a normalization, the shape of a Reshape. */
  const old = (ir: number, inputs = [...listed, value("shape", "int64[2]")]) =>
    model({
      ir,
      opsets: { "": 8 },
      graph: graph({
        nodes: [
          node("Conv", "x w1 b1", "c1"),
          node("Relu", "c1", "r1"),
          node("Conv", "r1 w2 b2", "c2"),
          node("BatchNormalization", "c2 scale shift mean var", "n"),
          node("GlobalAveragePool", "n", "p"),
          node("Reshape", "p shape", "y"),
        ],
        initializers: [...floats, tensor("shape", "int64", [2], [1, 8])],
        inputs: [...inputs.slice(0, 1), value("x", "float32[1,3,8,8]"), ...inputs.slice(1)],
        outputs: [value("y", "float32[1,8]")],
      }),
    });
  const picture: Feeds = { x: { dims: [1, 3, 8, 8], data: normals(randomOf(20), 192) } };

  it.each<[string, QuantizeModelOptions, number]>([
    ["cast", {}, 4],
    ["cast, one weight of two", { include: ["w2"], perChannel: false }, 4],
    ["qdq, raised to opset 13", { format: "qdq", opset: 13 }, 7],
  ])("%s: none is left among the inputs, and it runs", async (_, options, ir) => {
    const { bytes, report } = await quantized(old(3), options);
    expect(report.tensors.some(({ to }) => to === "int8")).toBe(true);
    const { inputs, initializers } = readGraph(graphIn(bytes));
    expect(inputs).toEqual(["x"]);
    // They are all there, as constants.
    expect(initializers.map(({ name }) => name)).toEqual(expect.arrayContaining(["b1", "b2", "mean", "var", "shape"]));
    expect(integers(bytes, 1)).toEqual([ir]);
    expect(remarksOf(report)).toEqual(
      expect.arrayContaining([`IR version 3 raised to ${ir}`, leave("9 initializers")]),
    );
    await expectSame(old(4, []), bytes, picture);
  });

  it("one that lists some of them keeps no trace of those", async () => {
    const { bytes, report } = await quantized(old(3, [listed[1]!, listed[0]!]));
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x"]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
  });

  it("of IR 4 and later only quantized weights leave: others may be set by who calls", async () => {
    const { bytes, report } = await quantized(old(4));
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x", "b1", "b2", "scale", "shift", "mean", "var", "shape"]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
    expect(remarksOf(report).join("\n")).not.toMatch(/IR version/);
  });

  it("with nothing to quantize they stay inputs, as IR 3 wants them", async () => {
    const { bytes, report } = await quantized(old(3), { exclude: ["*"] });
    expect(bytes).toEqual(old(3));
    expect(remarksOf(report).join("\n")).not.toMatch(/no longer|IR version/);
  });

  it("in a loop's body too", async () => {
    const body = graph({
      name: "body",
      nodes: [node("Identity", "go", "on"), node("MatMul", "s0 A", "m"), node("Add", "m c", "s1")],
      initializers: [W("A", 1), tensor("c", "float32", [32], new Float32Array(32))],
      inputs: [
        value("trip", "int64[]"),
        value("go", "bool[]"),
        value("s0", "float32[2,32]"),
        value("c", "float32[32]"),
      ],
      outputs: [value("on", "bool[]"), value("s1", "float32[2,32]")],
    });
    const before = model({
      ir: 3,
      opsets: { "": 8 },
      graph: graph({
        nodes: [node("Loop", "trips - x", "y", { body: { graph: body } })],
        initializers: [tensor("trips", "int64", [], [2])],
        inputs: [value("x", "float32[2,32]"), value("trips", "int64[]")],
        outputs: [value("y", "float32[2,32]")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(graphsIn(bytes).map(({ inputs }) => inputs)).toEqual([["x"], ["trip", "go", "s0"]]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
  });

  it("squeezenet itself", async (context) => {
    skipWithout(context, sharedData.models);
    const before = readFileSync(modelPath("squeezenet_fp32"));
    const was = readGraph(graphIn(before));
    expect([integers(before, 1), was.inputs.length]).toEqual([[3], was.initializers.length + 1]);
    const { bytes, report } = await quantized(before);
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["data_0"]);
    expect(remarksOf(report)).toEqual(
      expect.arrayContaining(["IR version 3 raised to 4", leave(`${was.initializers.length} initializers`)]),
    );
  });
});
