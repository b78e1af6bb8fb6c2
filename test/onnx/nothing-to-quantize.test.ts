import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { isWasmQuantError, type UnchangedError } from "../../src/errors.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeForTransformersJs, quantizeModel } from "../../src/model.ts";
import { node } from "../helpers/onnx-build.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { type Drawn, floats, indices, type Sketch, sketch } from "../helpers/sketch.ts";

// A run that would quantize nothing is an error that writes nothing, and says which options would do something: these are
// tried on the model before they are advised.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

async function attempt(model: Sketch, options: QuantizeModelOptions) {
  const sink = bytesSink();
  const source = bytesSource(sketch(model), "model.onnx");
  const report = await quantizeModel(engine, source, sink, options);
  return { bytes: sink.result(), report };
}

async function refusal(model: Sketch, options: QuantizeModelOptions): Promise<UnchangedError> {
  const sink = bytesSink();
  const error = await quantizeModel(engine, bytesSource(sketch(model), "model.onnx"), sink, options).catch((e) => e);
  expect(isWasmQuantError(error, "unchanged"), String(error)).toBe(true);
  expect(sink.result()).toHaveLength(0);
  return error;
}

const image = floats([1, 4, 9, 9]);
const convolutions = (type: Drawn["type"] = "float32"): Sketch => ({
  nodes: [node("Conv", "x k", "h"), node("Conv", "h l", "y")],
  weights: { k: { shape: [8, 4, 3, 3], type }, l: { shape: [8, 8, 3, 3], type } },
  feeds: { x: image },
  outputs: ["y"],
  type: type!,
});

const gemm: Sketch = {
  nodes: [node("Gemm", "x w", "y", { alpha: { float: 2 } })],
  weights: { w: [64, 32] },
  feeds: { x: floats([3, 64]) },
  outputs: ["y"],
};

const table: Sketch = {
  nodes: [node("Gather", "t ids", "y")],
  weights: { t: [50, 64] },
  feeds: { ids: indices([3, 1]) },
  outputs: ["y"],
};

const thin: Sketch = {
  nodes: [node("MatMul", "x w", "y")],
  weights: { w: [1, 64] },
  feeds: { x: floats([3, 1]) },
  outputs: ["y"],
};

const gru: Sketch = {
  nodes: [node("GRU", "x W R", "y", { hidden_size: 16 })],
  weights: { W: [1, 48, 32], R: [1, 48, 16] },
  feeds: { x: floats([5, 2, 32]) },
  outputs: ["y"],
};

const bare: Sketch = {
  nodes: [node("Relu", "x", "y")],
  feeds: { x: floats([3, 64]) },
  outputs: ["y"],
};

describe("what would work", () => {
  it.each<{ of: string; model: Sketch; options: QuantizeModelOptions; detail: string; remedy: QuantizeModelOptions }>([
    {
      of: "int4 of convolutions",
      model: convolutions(),
      options: { dtype: "int4" },
      detail: "0 of 2 weights quantized: int4 stores MatMul and Gemm weights, this model has 2 Conv",
      remedy: { format: "qdq" },
    },
    {
      of: "8-bit matrices of convolutions",
      model: convolutions(),
      options: { format: "nbits", bits: 8 },
      detail: "0 of 2 weights quantized: 8-bit MatMulNBits stores MatMul and Gemm weights, this model has 2 Conv",
      remedy: { format: "cast", bits: undefined },
    },
    {
      of: "int4 of convolutions, with an option of matrices",
      model: convolutions(),
      options: { dtype: "int4", algorithm: "mse", accuracyLevel: 4 },
      detail: "0 of 2 weights quantized: int4 stores MatMul and Gemm weights, this model has 2 Conv",
      remedy: { format: "qdq", algorithm: undefined, accuracyLevel: undefined },
    },
    {
      of: "int4 of convolutions, as the tool does it",
      model: convolutions(),
      options: { dtype: "int4", like: "onnxruntime" },
      detail: "0 of 2 weights quantized: int4 stores MatMul weights, this model has 2 Conv",
      remedy: { format: "qdq", like: undefined },
    },
    {
      of: "a layer that the tool has no integers for",
      model: gru,
      options: { mode: "dynamic", like: "onnxruntime" },
      detail: "0 of 2 weights quantized: has no dynamic form in GRU",
      remedy: { like: undefined },
    },
    {
      of: "matrices on WebGPU, which others are restored beside",
      model: thin,
      options: { target: "webgpu" },
      detail: "0 of 1 weights quantized: would not get smaller",
      remedy: { perChannel: false },
    },
    {
      of: "int4 of Gemm with a factor",
      model: gemm,
      options: { dtype: "int4" },
      detail: "0 of 1 weights quantized: Gemm with alpha 2",
      remedy: { format: "qdq" },
    },
    {
      of: "int4 of a table, at an opset that stays",
      model: { ...table, opset: 17 },
      options: { dtype: "int4", opset: 17 },
      detail: "0 of 1 weights quantized: int4 stores MatMul and Gemm weights, this model has 1 Gather",
      remedy: { opTypes: ["MatMul", "Gemm", "Gather"] },
    },
    {
      of: "a scale for each of many columns",
      model: thin,
      options: {},
      detail: "0 of 1 weights quantized: would not get smaller",
      remedy: { perChannel: false },
    },
    {
      of: "16 bits of half precision",
      model: convolutions("float16"),
      options: { dtype: "int16" },
      detail: "0 of 2 weights quantized: would not get smaller",
      remedy: { dtype: "int8" },
    },
    {
      of: "bfloat16 of convolutions, which have it from opset 22 on",
      model: convolutions(),
      options: { dtype: "bfloat16" },
      detail: "0 of 2 weights converted: used by Conv (has bfloat16 from opset 22 on)",
      remedy: { opset: 22 },
    },
  ])("$of", async ({ model, options, detail, remedy }) => {
    const error = await refusal(model, options);
    expect(error.detail).toBe(detail);
    expect(error.remedy).toStrictEqual(remedy);
    const { report } = await attempt(model, { ...options, ...remedy });
    expect(report.tensors.some(({ sqnr }) => sqnr !== undefined)).toBe(true);
  });

  it("is not invented where nothing would", async () => {
    const error = await refusal(bare, {});
    expect(error.message).toBe(
      "model.onnx: nothing quantized: no layer of the model has a constant weight; allowUnchanged: true copies it as it is",
    );
    expect(error.remedy).toBeUndefined();
  });
});

it.each<[string, Sketch, QuantizeModelOptions]>([
  ["int4", convolutions(), { dtype: "int4" }],
  ["dynamic", bare, { mode: "dynamic" }],
  ["all excluded", gemm, { exclude: ["*"] }],
  ["float16 already", convolutions("float16"), { dtype: "float16" }],
])("allowUnchanged writes the model as it is: %s", async (_, model, options) => {
  await refusal(model, options);
  const { bytes, report } = await attempt(model, { ...options, allowUnchanged: true });
  expect(bytes).toEqual(sketch(model));
  expect(remarksOf(report)).toContain("nothing to do: the model is written as it was read");
});

it("a model without weights is converted to half precision, where it computes", async () => {
  const { bytes } = await attempt(bare, { dtype: "float16", io: "float16" });
  expect(bytes).not.toEqual(sketch(bare));
});

it("a model that is quantized already is refused, and its rest is quantized by again", async () => {
  const two: Sketch = {
    nodes: [node("MatMul", "x w", "h"), node("MatMul", "h v", "y")],
    weights: { w: [64, 32], v: [32, 32] },
    feeds: { x: floats([3, 64]) },
    outputs: ["y"],
  };
  const half = await attempt(two, { include: ["w"] });
  const source = bytesSource(half.bytes, "half.onnx");
  await expect(quantizeModel(engine, source, bytesSink())).rejects.toMatchObject({
    tag: "format",
    message:
      "half.onnx: is quantized already: 1 weight of int8; quantize the float model it was made from " +
      "(again: true quantizes the float weights that are left)",
  });
  const sink = bytesSink();
  const report = await quantizeModel(engine, source, sink, { again: true });
  expect(report.tensors).toMatchObject([{ name: "v", to: "int8" }]);
  // A second time there is nothing left.
  const all = bytesSource(sink.result(), "all.onnx");
  await expect(quantizeModel(engine, all, bytesSink(), { again: true })).rejects.toMatchObject({
    tag: "unchanged",
    detail: "nothing quantized: all 2 weights are quantized already",
  });
  // And nothing that again would do is advised.
  await expect(quantizeModel(engine, all, bytesSink())).rejects.toMatchObject({
    message: "all.onnx: is quantized already: 2 weights of int8; quantize the float model it was made from",
  });
});

describe("a set", () => {
  const setOf = async (model: Sketch | Uint8Array, options: Parameters<typeof quantizeForTransformersJs>[3] = {}) => {
    const opened: string[] = [];
    const sinkFor = async (suffix: string) => {
      opened.push(suffix);
      return bytesSink();
    };
    const source = bytesSource(model instanceof Uint8Array ? model : sketch(model), "model.onnx");
    const { files, skipped } = await quantizeForTransformersJs(engine, source, sinkFor, options);
    return { files, skipped: skipped.map(({ variant, reason }) => ({ variant, reason })), opened };
  };

  it("leaves out the variants that have nothing to quantize, and opens no sinks for them", async () => {
    const { files, skipped, opened } = await setOf(convolutions());
    expect(files.map(({ variant }) => variant)).toEqual(["fp16", "q8", "int8", "uint8"]);
    expect(opened).toEqual(["_fp16", "_quantized", "_int8", "_uint8"]);
    const reason = "0 of 2 weights quantized: int4 stores MatMul weights, this model has 2 Conv";
    expect(skipped).toEqual([
      { variant: "q4", reason },
      { variant: "q4f16", reason },
      { variant: "bnb4", reason: "0 of 2 weights quantized: bnb4 stores MatMul weights, this model has 2 Conv" },
    ]);
  });

  it("of a model that is quantized already is fp16, and fails without it", async () => {
    const { bytes } = await attempt({ ...gemm, weights: { w: [64, 33] } }, {});
    const { files, skipped } = await setOf(bytes);
    expect(files.map(({ variant }) => variant)).toEqual(["fp16"]);
    const reason = "is quantized already: 1 weight of int8; quantize the float model it was made from";
    expect(skipped).toEqual(["q8", "int8", "uint8", "q4", "q4f16", "bnb4"].map((variant) => ({ variant, reason })));
    await expect(setOf(bytes, { only: ["q8"] })).rejects.toThrow(reason);
    // Not that allowUnchanged copies it, which is refused as well.
    const refused = { tag: "format", message: `model.onnx: ${reason}` };
    await expect(setOf(bytes, { only: ["q8", "q4"] })).rejects.toMatchObject(refused);
    await expect(setOf(bytes, { only: ["q8", "q4"], allowUnchanged: true })).rejects.toMatchObject(refused);
  });

  it("makes them all the same where that is allowed", async () => {
    const { files, skipped } = await setOf(convolutions(), { only: ["q4", "q8"], allowUnchanged: true });
    expect(files.map(({ variant }) => variant)).toEqual(["q8", "q4"]);
    expect(skipped).toEqual([]);
  });

  it("fails where all are left out", async () => {
    await expect(setOf(convolutions(), { only: ["q4", "bnb4"] })).rejects.toMatchObject({ tag: "unchanged" });
  });
});
