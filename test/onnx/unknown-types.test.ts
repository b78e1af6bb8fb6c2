import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import type { ModelReport, QuantizeModelOptions } from "../../src/index.ts";
import { compareModels, inspectModel, quantizeForTransformersJs, quantizeModel } from "../../src/model.ts";
import type { WorkerPool } from "../../src/node.ts";
import { lib } from "../helpers/built.ts";
import { attribute, functionOf, graph, model, node, value } from "../helpers/onnx-build.ts";
import { sparseTensor, tensor, tensorOfCode } from "../helpers/onnx-tensors.ts";
import { builtPool } from "../helpers/pools.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { drawnTensor } from "../helpers/sketch.ts";
import { concat, field, integer } from "../helpers/wire-fields.ts";

// Data types that no version of ONNX has, in initializers, Constant nodes, attributes and sparse tensors: they are copied as
// they are, listed, and leave the engine as it was. Once the size of such a tensor was NaN, which moved the end of linear
// memory there: every later tensor lay at address 0, and other models came out wrong without an error.

const UNKNOWN = 99;
const marker = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) % 251);

const io = { inputs: [value("x", "float32[3,32]")], outputs: [value("y", "float32[3,16]")] };
const weights = [drawnTensor("w", [32, 32], 1), drawnTensor("v", [32, 16], 2)];

/** Two products, and whatever else. */
function modelWith({ nodes = [], initializers = [], sparse = [], functions = [] }: Record<string, Uint8Array[]>) {
  const products = [node("MatMul", "x w", "h"), node("MatMul", "h v", "y")];
  return model({
    opsets: { "": 17, own: 1 },
    functions,
    graph: graph({ ...io, nodes: [...nodes, ...products], initializers: [...weights, ...initializers], sparse }),
  });
}

const good = modelWith({});
const strange: Readonly<Record<string, Uint8Array>> = {
  initializer: modelWith({
    nodes: [node("MatMul", "x strange", "z")],
    initializers: [tensorOfCode("strange", UNKNOWN, [32, 32], marker)],
  }),
  "initializer of no type": modelWith({
    nodes: [node("Add", "x strange", "z")],
    initializers: [tensorOfCode("strange", 0, [32, 32], marker)],
  }),
  "Constant node": modelWith({
    nodes: [
      node("Constant", "", "strange", { value: { tensor: tensorOfCode("", UNKNOWN, [32, 32], marker) } }),
      node("Gemm", "x strange", "z"),
    ],
  }),
  attribute: modelWith({
    nodes: [
      node("Constant", "", "shape", { value: { tensor: tensor("", "int64", [2], [32, 32]) } }),
      node("ConstantOfShape", "shape", "strange", {
        value: attribute("value", { tensor: tensorOfCode("", UNKNOWN, [1], marker.subarray(0, 4)) }),
      }),
      node("Mul", "strange strange", "z"),
    ],
  }),
  "sparse tensor": modelWith({
    nodes: [node("MatMul", "x strange", "z")],
    sparse: [
      sparseTensor(
        tensorOfCode("strange", UNKNOWN, [1024], marker),
        tensor(
          "at",
          "int64",
          [1024],
          Array.from({ length: 1024 }, (_, i) => i),
        ),
        [32, 32],
      ),
    ],
  }),
};

const ways: readonly QuantizeModelOptions[] = [
  {},
  { dtype: "uint8" },
  { format: "qdq" },
  { dtype: "int4" },
  { dtype: "int4", format: "qdq", opset: 21 },
  { mode: "dynamic" },
  { dtype: "float16" },
  { dtype: "float16", io: "float16" },
  { dtype: "bfloat16" },
  { opset: 21 },
];

interface Outcome {
  readonly bytes: Uint8Array;
  readonly report: ModelReport;
}

async function quantized(engine: Engine, bytes: Uint8Array, options: QuantizeModelOptions): Promise<Outcome> {
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(bytes, "model.onnx"), sink, options);
  return { bytes: sink.result(), report };
}

/** What every way makes of the good model. */
async function allOf(engine: Engine, more: QuantizeModelOptions = {}): Promise<Uint8Array[]> {
  const made: Uint8Array[] = [];
  for (const options of ways) made.push((await quantized(engine, good, { ...options, ...more })).bytes);
  return made;
}

async function setOf(engine: Engine, bytes: Uint8Array, workers?: WorkerPool) {
  const sinks = new Map<string, ReturnType<typeof bytesSink>>();
  const sinkFor = async (suffix: string) => {
    const sink = bytesSink();
    sinks.set(suffix, sink);
    return sink;
  };
  await quantizeForTransformersJs(engine, bytesSource(bytes, "model.onnx"), sinkFor, { workers });
  return Array.from(sinks, ([suffix, sink]) => [suffix, sink.result()] as const);
}

let fresh: Uint8Array[];
beforeAll(async () => {
  fresh = await allOf(await createEngine());
});

const few = tensorOfCode("", UNKNOWN, [4], marker.subarray(0, 4));
const sparseFew = sparseTensor(few, tensor("", "int64", [4], [0, 1, 2, 3]), [8]);
const sparseAttribute = (name: string) => concat([field(1, name), field(22, sparseFew), integer(20, 11)]);
const strangeFunction = functionOf({
  ...{ name: "Strange", domain: "own", inputs: ["a"], outputs: ["b"], opsets: { "": 17 } },
  nodes: [node("Constant", "", "c", { value: { tensor: few } }), node("Add", "a c", "b")],
});

it.each<[string, Uint8Array, string]>([
  [
    "a list of tensors",
    modelWith({ nodes: [node("Odd", "x", "z", { ts: { tensors: [few, few] } }, { domain: "own" })] }),
    'attribute ts of own.Odd "Odd_of_z" (data type 99)',
  ],
  [
    "a sparse attribute",
    modelWith({ nodes: [node("Odd", "x", "z", { s: sparseAttribute("s") }, { domain: "own" })] }),
    'attribute s of own.Odd "Odd_of_z" (data type 99)',
  ],
  [
    "a sparse Constant",
    modelWith({ nodes: [node("Constant", "", "z", { sparse_value: sparseAttribute("sparse_value") })] }),
    'attribute sparse_value of Constant "Constant_of_z" (data type 99)',
  ],
  [
    "the places of a sparse tensor",
    modelWith({ sparse: [sparseTensor(tensor("s", "float32", [4], [1, 2, 3, 4]), few, [8])] }),
    'sparse tensor "s" (data type 99)',
  ],
  ["a function", modelWith({ functions: [strangeFunction] }), 'function "Strange" (data type 99)'],
])("is listed in %s", async (_, bytes, what) => {
  const { report } = await quantized(await createEngine(), bytes, {});
  expect(remarksOf(report)).toContain(`copied unchanged, as the data type is not known: ${what}`);
});

describe.each(Object.keys(strange))("a model with an unknown data type in an %s", (kind) => {
  const bytes = strange[kind]!;

  it.each(ways)("is written with its bytes as they are, and listed: %o", async (options) => {
    const { bytes: made, report } = await quantized(await createEngine(), bytes, options);
    const kept = kind === "attribute" ? marker.subarray(0, 4) : marker;
    expect(Buffer.from(made).includes(Buffer.from(kept))).toBe(true);
    const name = kind === "initializer of no type" ? "data type 0" : `data type ${UNKNOWN}`;
    const line = report.tensors.find(({ from }) => from === name);
    if (kind === "attribute" || kind === "sparse tensor") {
      expect(remarksOf(report)).toEqual(expect.arrayContaining([expect.stringMatching(`copied unchanged.*${name}`)]));
    } else {
      expect(line).toMatchObject({ name: "strange", to: name, bytesAfter: 4096, reason: `${name} is not known` });
    }
    expect(report.tensors.filter(({ sqnr }) => sqnr !== undefined).map(({ name }) => name)).toEqual(["w", "v"]);
  });

  it("leaves the engine as a fresh one", async () => {
    const engine = await createEngine();
    for (const options of ways) {
      await quantized(engine, bytes, options);
      await inspectModel(engine, bytesSource(bytes, "model.onnx"));
      await compareModels(engine, bytesSource(bytes, "a.onnx"), bytesSource(bytes, "b.onnx"));
    }
    await setOf(engine, bytes);
    expect(() => engine.ensureRoom(Number.NaN)).toThrow("finite size");
    expect(await allOf(engine)).toEqual(fresh);
    const data = Float32Array.from({ length: 3000 }, (_, i) => Math.sin(i));
    const [a, b] = [engine.allocate("float32", [3000]), engine.allocate("float32", [3000])];
    a.data.set(data);
    b.data.fill(1);
    expect(engine.quantize(a).data).toEqual(engine.quantize({ data, shape: [3000] }).data);
  });
});

describe("a pool of workers", () => {
  let pool: WorkerPool;
  beforeAll(() => {
    pool = builtPool(1); // the one worker does all that was done before
  });
  afterAll(() => pool.close());

  it("is as a fresh one after such models, and after a unit of no finite size", async () => {
    const engine = await lib.createEngine();
    for (const bytes of Object.values(strange)) {
      for (const options of ways) await quantized(engine, bytes, { ...options, workers: pool });
    }
    // A tensor of no known type, as it once reached a worker: the room it takes is not a number.
    const work = { name: "measure", reads: () => [], room: () => 0, run: async () => undefined };
    const quantization = {
      dtype: "int8",
      scheme: "symmetric",
      granularity: {},
      reduceRange: false,
      nonFinite: "error",
    };
    const unit = { tensor: { name: "strange", shape: [32, 32], file: 0, start: 0 }, quantization, part: "whole" };
    const files = { sources: [bytesSource(marker, "x")], sinks: [] };
    await expect(pool.run(work, files, unit)).rejects.toMatchObject({ tag: "memory" });
    expect(await allOf(engine, { workers: pool })).toEqual(fresh);
  });

  it("makes of the next model of a set what a fresh one makes", async () => {
    const engine = await lib.createEngine();
    await setOf(engine, strange.initializer!, pool);
    expect(await setOf(engine, good, pool)).toEqual(await setOf(await createEngine(), good));
  });
});
