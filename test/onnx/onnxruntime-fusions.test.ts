import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { exactRuntimes } from "../helpers/exact-products.ts";
import { compareOutputs } from "../helpers/model-feeds.ts";
import { node } from "../helpers/onnx-build.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { runtimes, withSession } from "../helpers/sessions.ts";
import { floats, indices, type Sketch, sketch } from "../helpers/sketch.ts";

// Products of two things that are restored from codes: ONNX Runtime makes one node of such a MatMul and what restores its
// sides when it optimizes, and up to 1.30 that node takes no scales per channel on the left, nor along another axis.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const x = floats([4, 32]);
const ids = indices([1, 7, 3, 0]);
const weights = { w: [32, 32], t: [16, 32] } as const;

const models: Readonly<Record<string, Sketch>> = {
  "a table's rows and a weight": {
    nodes: [node("Gather", "t ids", "g"), node("MatMul", "g w", "y")],
    ...{ weights, feeds: { ids }, outputs: ["y"] },
  },
  "a table's rows and a weight that is taken transposed, too": {
    nodes: [
      node("MatMul", "x w", "e"),
      node("Gather", "t ids", "g"),
      node("Transpose", "w", "wt", { perm: [1, 0] }),
      node("MatMul", "g wt", "d"),
      node("Add", "d e", "y"),
    ],
    ...{ weights, feeds: { x, ids }, outputs: ["y"] },
  },
  "a weight on the left and a table's rows": {
    nodes: [
      node("MatMul", "x w", "h"),
      node("Gather", "t ids", "g"),
      node("Transpose", "g", "gt", { perm: [1, 0] }),
      node("MatMul", "w gt", "d"),
      node("MatMul", "h d", "y"),
    ],
    ...{ weights, feeds: { x, ids }, outputs: ["y"] },
  },
  "a table and itself": {
    nodes: [node("Gather", "t ids", "g"), node("Transpose", "t", "tt", { perm: [1, 0] }), node("MatMul", "g tt", "y")],
    ...{ weights, feeds: { ids }, outputs: ["y"] },
  },
};

const forms: readonly QuantizeModelOptions[] = [
  { mode: "dynamic" },
  { mode: "dynamic", dtype: "uint8" },
  { mode: "dynamic", perChannel: false },
  { format: "qdq" },
  { format: "qdq", dtype: "uint8" },
  { format: "qdq", scheme: "asymmetric" },
  { format: "cast", dtype: "uint8" },
];

describe.each(Object.entries(models))("%s", (_, what) => {
  const model = sketch(what);

  it.each(forms)("%j gives about the same, optimized or not", async (options) => {
    const { bytes } = await quantized(model, options);
    for (const open of exactRuntimes(bytes).map((runtime) => runtimes[runtime])) {
      const float = await withSession(open(model), (session) => session.run(what.feeds));
      for (const optimization of ["disabled", "basic", "extended", "all"] as const) {
        const made = await withSession(open(bytes, { optimization }), (session) => session.run(what.feeds));
        expect(compareOutputs([float], [made]).y!.sqnr, optimization).toBeGreaterThan(33);
      }
    }
  });
});

describe("outputs that are left out", () => {
  const lstm = (inputs: string, outputs: string) => [node("LSTM", inputs, outputs, { hidden_size: 8 })];
  const feeds = { s: floats([3, 2, 16]), h0: floats([1, 2, 8]), c0: floats([1, 2, 8]) };
  const cells = { W: [1, 32, 16], R: [1, 32, 8], B: [1, 64] };

  it.each<QuantizeModelOptions>([{ mode: "dynamic" }, { dtype: "float16" }, {}])("stay so, %j", async (options) => {
    for (const nodes of [
      lstm("s W R B - h0 c0", "- h c"),
      lstm("s W R B - h0 c0", "- h"),
      lstm("s W R B - h0 c0", "- - h"),
    ]) {
      const model = sketch({ nodes, weights: cells, feeds, outputs: ["h"] });
      const { bytes } = await quantized(model, options);
      const open = runtimes[exactRuntimes(bytes)[0]!];
      const run = (each: Uint8Array) => withSession(open(each), (session) => session.run(feeds));
      expect(compareOutputs([await run(model)], [await run(bytes)]).h!.sqnr).toBeGreaterThan(30);
    }
  });
});

describe("tables that rows are taken of", () => {
  const model = sketch({ nodes: [node("Gather", "t ids", "y")], weights, feeds: { ids }, outputs: ["y"] });

  it.each([
    [{ dtype: "uint8", target: "node" }, "uint8"],
    [{ dtype: "int8", target: "web-wasm" }, "int8"],
    [{ dtype: "int8", target: "webgpu", format: "cast" }, "uint8"],
  ] as const)("%j has codes of %s", async (options, type) => {
    const { report } = await quantized(model, options);
    expect(report.tensors.find(({ name }) => name === "t")).toMatchObject({ to: type });
  });
});
