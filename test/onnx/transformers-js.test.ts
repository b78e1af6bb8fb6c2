import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import {
  bytesSink,
  bytesSource,
  type QuantizeModelOptions,
  quantizeForTransformersJs,
  type TransformersJsVariant,
  transformersJsVariants,
} from "../../src/index.ts";
import { isVariant, suffixes } from "../../src/onnx/transformers-js.ts";
import { compareOutputs, runAll } from "../helpers/model-feeds.ts";
import { attribute as attributeBytes, node } from "../helpers/onnx-build.ts";
import { graphsIn } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf, setMakerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { graphDifferences } from "../helpers/same-graph.ts";
import { runtimes, withSession } from "../helpers/sessions.ts";
import { floats, sketch } from "../helpers/sketch.ts";

// The files that transformers.js looks for beside a model, all of them made in one pass over its weights.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);
const setOf = setMakerOf(() => engine);

const ids = { data: BigInt64Array.from([3n, 1n, 4n, 1n, 5n]), dims: [1, 5] };
const states = { data: normals(randomOf(1), 5 * 64), dims: [1, 5, 64] };

/** Rows of a table, two layers of a language model, or the same behind a convolution. */
function textModel(): Uint8Array {
  return sketch({
    nodes: [
      node("Gather", "table ids", "rows"),
      node("MatMul", "rows w1", "hidden"),
      node("Add", "hidden b1", "biased"),
      node("Relu", "biased", "active"),
      node("MatMul", "active w2", "y"),
    ],
    weights: {
      table: { shape: [32, 64], deviation: 0.5 },
      w1: { shape: [64, 96], deviation: 0.1 },
      b1: [96],
      w2: { shape: [96, 64], deviation: 0.1 },
    },
    feeds: { ids },
    outputs: ["y"],
  });
}

function speechModel(): Uint8Array {
  return sketch({
    nodes: [node("Conv", "x k", "c", { kernel_shape: [3], pads: [1, 1] }), node("MatMul", "c w", "y")],
    weights: { k: { shape: [5, 5, 3], deviation: 0.3 }, w: { shape: [64, 64], deviation: 0.1 } },
    feeds: { x: states },
    outputs: ["y"],
  });
}

const opsOf = (model: Uint8Array) => graphsIn(model).flatMap(({ nodes }) => nodes.map(({ op }) => op));

/** What each variant is, asked for by itself. */
const alone: Readonly<Partial<Record<TransformersJsVariant, QuantizeModelOptions>>> = {
  fp16: { dtype: "float16", clamp: true },
  int8: { mode: "dynamic", dtype: "int8" },
  uint8: { mode: "dynamic", dtype: "uint8" },
  q4: { dtype: "int4", blockSize: 32, scheme: "symmetric" },
};

describe("the whole set", () => {
  let set: Awaited<ReturnType<typeof setOf>>;
  beforeAll(async () => {
    set = await setOf(textModel());
  });

  it("has the library's names", () => {
    expect(set.suffixes).toEqual(["_fp16", "_quantized", "_int8", "_uint8", "_q4", "_q4f16", "_bnb4"]);
    expect(set.reports.map(({ variant }) => variant)).toEqual(transformersJsVariants);
  });

  it.each(Object.entries(alone) as [TransformersJsVariant, QuantizeModelOptions][])(
    "%s has the bytes that it has when it is asked for by itself",
    async (variant, options) => {
      const { bytes } = await quantized(textModel(), options);
      expect(set.files[variant]).toEqual(bytes);
    },
  );

  it("q8 of a model without convolutions is its int8", () => {
    expect(set.files.q8).toEqual(set.files.int8);
  });

  it("q4f16 is q4 in half precision", async () => {
    expect(opsOf(set.files.q4f16).filter((op) => op === "MatMulNBits")).toHaveLength(2);
    const { bytes } = await quantized(set.files.q4, { dtype: "float16" });
    // The codes are those of scales as they are stored: in half precision from the start.
    const differences = await graphDifferences(bytesSource(set.files.q4f16), bytesSource(bytes));
    expect(differences.filter((line) => !/_(scales|Q4)\b/.test(line))).toEqual([]);
  });

  it("bnb4 has NF4 matrices in blocks of 64", () => {
    const [made] = graphsIn(set.files.bnb4).flatMap(({ nodes }) => nodes.filter(({ op }) => op === "MatMulBnb4"));
    const wanted = { K: 64, N: 96, block_size: 64, quant_type: 1 };
    for (const [name, i] of Object.entries(wanted)) expect(made!.attributes.get(name)).toEqual(attributeBytes(name, i));
  });

  it.each(["node", "web"] as const)("runs in %s, all of it", async (runtime) => {
    const run = (model: Uint8Array) => withSession(runtimes[runtime](model), (session) => runAll(session, [{ ids }]));
    const float = await run(textModel());
    const floors: Record<TransformersJsVariant, number> = {
      fp16: 50,
      q8: 25,
      int8: 25,
      uint8: 25,
      q4: 12,
      q4f16: 12,
      bnb4: 12,
    };
    for (const variant of transformersJsVariants) {
      const { y } = compareOutputs(float, await run(set.files[variant]));
      expect(y!.sqnr, variant).toBeGreaterThan(floors[variant]);
    }
  });

  it("has embeddings in float where the library has them so", () => {
    const bytesOf = (variant: TransformersJsVariant) => set.reports.find((report) => report.variant === variant)!;
    for (const variant of ["q4", "bnb4"] as const) {
      expect(bytesOf(variant).tensors.find(({ name }) => name === "table")).toMatchObject({ to: "float32" });
    }
    expect(bytesOf("q4f16").tensors.find(({ name }) => name === "table")).toMatchObject({ to: "float16" });
  });
});

it("q8 of a model with convolutions is its uint8", async () => {
  const { files, suffixes } = await setOf(speechModel(), { only: ["q8", "uint8"] });
  expect(suffixes).toEqual(["_quantized", "_uint8"]);
  expect(files.q8).toEqual(files.uint8);
});

it("per tensor and with a reduced range, as the library's own script could", async () => {
  const options = { perChannel: false, reduceRange: true };
  const { files } = await setOf(textModel(), { only: ["int8"], ...options });
  const { bytes } = await quantized(textModel(), { mode: "dynamic", ...options });
  expect(files.int8).toEqual(bytes);
});

it("a model with data of its own has data by the library's name, each variant its own", async () => {
  const data = new Uint8Array(normals(randomOf(2), 64 * 64).buffer);
  const location = "model.onnx_data";
  const model = sketch({
    nodes: [node("MatMul", "x w", "y")],
    weights: { w: tensor("w", "float32", [64, 64], [], { store: { kind: "external", entries: { location } } }) },
    feeds: { x: states },
    outputs: ["y"],
  });
  const sinks = new Map<string, ReturnType<typeof bytesSink>>();
  const source = bytesSource(model, "model.onnx", { [location]: data });
  await quantizeForTransformersJs(engine, source, async (suffix) => {
    const sink = bytesSink(`model${suffix}.onnx`);
    sinks.set(suffix, sink);
    return sink;
  });
  for (const sink of sinks.values()) expect(sink.result("_data")!.length).toBeGreaterThan(0);
  expect(sinks.get("_fp16")!.result("_data")!).toHaveLength(2 * 64 * 64);
});

it("something that goes wrong aborts all of it", async () => {
  const aborted: string[] = [];
  const sinkFor = async (suffix: string) => ({
    write: async () => {
      if (suffix === "_q4") throw new Error("full");
    },
    close: async () => {},
    abort: async () => void aborted.push(suffix),
  });
  await expect(quantizeForTransformersJs(engine, bytesSource(textModel()), sinkFor)).rejects.toThrow("full");
  expect(aborted).toEqual(Object.values(suffixes));
});

it("knows its own files from models", () => {
  for (const suffix of Object.values(suffixes)) expect(isVariant(`decoder_model_merged${suffix}`)).toBe(true);
  for (const name of ["model", "encoder_model", "decoder_model_merged", "vision_encoder"]) {
    expect(isVariant(name)).toBe(false);
  }
});

it("what is asked for and is not in the set is refused", async () => {
  const none = async () => bytesSink();
  const only = ["q5"] as unknown as TransformersJsVariant[];
  await expect(quantizeForTransformersJs(engine, bytesSource(textModel()), none, { only })).rejects.toThrow(
    /only: "q5"/,
  );
});

it("q4f16 loads where a matrix is multiplied with something of a type that nothing tells", async () => {
  const before = sketch({
    nodes: [node("Inverse", "x", "i", {}, { domain: "com.microsoft" }), node("MatMul", "i w", "y")],
    weights: { w: [64, 32] },
    feeds: { x: floats([64, 64]) },
    outputs: ["y"],
    opsets: { "com.microsoft": 1 },
  });
  const { files } = await setOf(before, { only: ["q4f16"] });
  expect(opsOf(files.q4f16)).toContain("MatMulNBits");
  await withSession(runtimes.node(files.q4f16), async ({ outputs }) => expect(outputs).toMatchObject([{ name: "y" }]));
});
