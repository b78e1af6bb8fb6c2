import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FloatComparison } from "../../src/compare/compare-outputs.ts";
import type { ModelRuntime, ModelValueInfo } from "../../src/compare/model-runtime.ts";
import type { Feeds } from "../../src/compare/tensor-values.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { compareModels } from "../../src/model.ts";
import { fileSource, onnxRuntimeNode } from "../../src/node.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { halvesWidened } from "../helpers/onnx-values.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { halvesOf } from "../helpers/sessions.ts";

// Two whole models side by side: which weights are held against which, and what each is given to run on. The figures of
// one output are in outputs.test.ts.

let engine: Engine;
let folder: string;
beforeAll(async () => {
  engine = await createEngine({ kernels: "scalar" });
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-compare-"));
});
afterAll(() => rm(folder, { recursive: true }));

type Float = "float32" | "float16";

const values = normals(randomOf(1), 32 * 24);

/** A layer in floats of one width or the other: x [n, 32] to y [n, 24]. */
function layer(type: Float, data = values): Uint8Array {
  return model({
    opsets: { "": 13 },
    graph: graph({
      nodes: [node("MatMul", "x W", "y")],
      initializers: [tensor("W", type, [32, 24], type === "float16" ? halvesOf(data) : data)],
      inputs: [value("x", `${type}[n,32]`)],
      outputs: [value("y", `${type}[n,24]`)],
    }),
  });
}

/** A model of weights alone, each multiplied with in turn. */
function weightsOf(shapes: Readonly<Record<string, readonly number[]>>): Uint8Array {
  return model({
    opsets: { "": 13 },
    graph: graph({
      nodes: Object.keys(shapes).map((name) => node("MatMul", `x ${name}`, `y_${name}`)),
      initializers: Object.entries(shapes).map(([name, shape]) =>
        tensor(
          name,
          "float32",
          shape,
          values.slice(
            0,
            shape.reduce((a, b) => a * b, 1),
          ),
        ),
      ),
      inputs: [value("x", "float32")],
      outputs: Object.keys(shapes).map((name) => value(`y_${name}`, "float32")),
    }),
  });
}

const compareBytes = (a: Uint8Array, b: Uint8Array, options: Parameters<typeof compareModels>[3] = {}) =>
  compareModels(engine, bytesSource(a, "a.onnx"), bytesSource(b, "b.onnx"), options);

/** A runtime that runs nothing: it remembers what each model was given, and gives what it is told to. */
function recording(inputs: Readonly<Record<string, readonly ModelValueInfo[]>>) {
  const given: Record<string, Feeds[]> = {};
  const runtime: ModelRuntime = {
    open: async ({ name }) => ({
      inputs: inputs[name]!,
      outputs: [{ name: "y", dtype: "float32", shape: [1] }],
      run: async (feeds) => {
        given[name] = [...(given[name] ?? []), feeds];
        return { y: { dtype: "float32", shape: [1], data: Float32Array.of(1) } };
      },
      close: async () => {},
    }),
  };
  return { runtime, given };
}

describe("a float16 model and a float32 one", () => {
  async function compareFiles(first: Uint8Array, second: Uint8Array) {
    const paths = [join(folder, "a.onnx"), join(folder, "b.onnx")] as const;
    await Promise.all([writeFile(paths[0], first), writeFile(paths[1], second)]);
    const [a, b] = await Promise.all(paths.map(fileSource));
    try {
      return await compareModels(engine, a!, b!, { runtime: await onnxRuntimeNode({ threads: 1 }) });
    } finally {
      await Promise.all([a!.close(), b!.close()]);
    }
  }

  it.each([
    ["float32", "float16"],
    ["float16", "float32"],
  ] as const)("%s against %s: nearly the same, and not quite", async (first, second) => {
    const { weights, outputs, sets } = await compareFiles(layer(first), layer(second));
    expect(weights).toEqual([expect.objectContaining({ name: "W", shape: [32, 24], a: first, b: second })]);
    // A half has eleven bits: 72 dB and some.
    expect(weights[0]!.sqnr).toBeGreaterThan(65);
    expect(weights[0]!.sqnr).toBeLessThan(85);
    const [{ name, comparison }] = outputs as [{ name: string; comparison: FloatComparison }];
    expect([name, comparison.kind, comparison.elements % 24]).toEqual(["y", "float", 0]);
    expect(comparison.sqnr).toBeGreaterThan(55);
    expect(comparison.sqnr).toBeLessThan(85);
    expect(sets).toBe(4);
  });

  it("that have other weights are told apart", async () => {
    const { outputs } = await compareFiles(layer("float32"), layer("float16", normals(randomOf(2), 32 * 24)));
    expect((outputs![0]!.comparison as FloatComparison).sqnr).toBeLessThan(5);
  });

  const x = (dtype: ModelValueInfo["dtype"]): ModelValueInfo => ({ name: "x", dtype, shape: [3, 5] });

  it.each([
    ["float32", "float16"],
    ["float32", "float64"],
    ["float16", "float32"],
    ["float64", "float32"],
  ] as const)("inputs drawn as %s are given as %s, the same values", async (first, second) => {
    const { runtime, given } = recording({ "a.onnx": [x(first)], "b.onnx": [x(second)] });
    await compareBytes(layer("float32"), layer("float32"), { runtime, sets: 3 });
    expect([given["a.onnx"]!.length, given["b.onnx"]!.length]).toEqual([3, 3]);
    const numbersIn = ({ x: feed }: Feeds) =>
      Array.from(feed!.dtype === "float16" ? halvesWidened(feed!.data) : (feed!.data as Float32Array));
    for (const [i, one] of given["a.onnx"]!.entries()) {
      const other = given["b.onnx"]![i]!;
      expect([one.x!.dtype, other.x!.dtype]).toEqual([first, second]);
      expect([one.x!.shape, other.x!.shape]).toEqual([
        [3, 5],
        [3, 5],
      ]);
      const wide = numbersIn(one);
      expect(new Set(wide).size).toBeGreaterThan(10);
      if (second === "float16") expect(other.x!.data).toEqual(halvesOf(Float32Array.from(wide)));
      else expect(numbersIn(other)).toEqual(wide.map(second === "float32" ? Math.fround : Number));
    }
  });

  it("inputs of the same type, and of types that are no floats, are given as they are", async () => {
    // What an int64 becomes in an int32 is not for a comparison to say: the runtime refuses it.
    const specs = (ids: ModelValueInfo["dtype"]): ModelValueInfo[] => [
      x("float32"),
      { name: "ids", dtype: ids, shape: [4] },
      { name: "mask", dtype: "bool", shape: [2] },
    ];
    const { runtime, given } = recording({ "a.onnx": specs("int64"), "b.onnx": specs("int32") });
    await compareBytes(layer("float32"), layer("float32"), { runtime, sets: 1 });
    expect(given["b.onnx"]).toEqual(given["a.onnx"]);
    expect(Object.keys(given["b.onnx"]![0]!).sort()).toEqual(["ids", "mask", "x"]);
  });
});

describe("weights", () => {
  it("that are laid out otherwise are listed with both shapes, and are of none alone", async () => {
    const comparison = await compareBytes(
      weightsOf({ same: [4, 6], turned: [4, 6], flat: [2, 3, 4], mine: [4, 4] }),
      weightsOf({ theirs: [4, 4], flat: [6, 4], turned: [6, 4], same: [4, 6] }),
    );
    expect(comparison.weights).toMatchObject([{ name: "same", shape: [4, 6], sqnr: Number.POSITIVE_INFINITY }]);
    expect(comparison.otherShapes).toEqual([
      { name: "turned", a: [4, 6], b: [6, 4] },
      { name: "flat", a: [2, 3, 4], b: [6, 4] },
    ]);
    expect([comparison.onlyInA, comparison.onlyInB]).toEqual([["mine"], ["theirs"]]);
    expect(comparison).toMatchObject({ sets: 0, random: false });
    expect(comparison.outputs).toBeUndefined();
  });

  it("none in common, and nothing to run the models: they are not the same model", async () => {
    const [a, b] = [weightsOf({ mine: [4, 6] }), weightsOf({ theirs: [4, 6] })];
    await expect(compareBytes(a, b)).rejects.toMatchObject({
      tag: "format",
      file: "b.onnx",
      message: "b.onnx: has no weight in common with a.onnx: they are not the same model",
    });
    // One that is laid out otherwise is in common; and what both give is worth knowing without any.
    expect((await compareBytes(a, weightsOf({ mine: [6, 4] }))).otherShapes).toHaveLength(1);
    const { runtime } = recording({ "a.onnx": [], "b.onnx": [] });
    expect(await compareBytes(a, b, { runtime })).toMatchObject({
      weights: [],
      otherShapes: [],
      onlyInA: ["mine"],
      onlyInB: ["theirs"],
      outputs: [{ name: "y" }],
    });
  });
});
