import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { intOf, matricesIn, turned } from "../../../helpers/nbits.ts";
import { node } from "../../../helpers/onnx-build.ts";
import type { ReadNode } from "../../../helpers/onnx-read.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { openNode, withSession } from "../../../helpers/sessions.ts";
import { drawnValues, floats, nearnessTo, nodesIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Products with matrices of 2, 4 and 8 bits in blocks: MatMulNBits in place of MatMul and Gemm, in both runtimes beside a
// float model that has the weights which the codes stand for. Tables are in nbits-tables.test.ts.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectLeft } = rewriterOf(() => engine, { format: "nbits" });

/** dB beside the restored weights: the runtimes add up in float32, in another order. */
const SAME = 100;

const kinds: readonly QuantizeModelOptions[] = [
  { bits: 4, blockSize: 16 },
  { bits: 4, blockSize: 32, scheme: "asymmetric" },
  { bits: 8, blockSize: 16 },
  { bits: 8, blockSize: 16, scheme: "asymmetric" },
  { bits: 2, blockSize: 16 },
  { bits: 2, blockSize: 64, scheme: "asymmetric" },
];

const product = (k: number, n: number, m = 3): Sketch => ({
  nodes: [node("MatMul", "x w", "y")],
  weights: { w: [k, n] },
  feeds: { x: floats([m, k]) },
  outputs: ["y"],
});

/** What a product with `[k, n]` gives whose weight is what a model's only matrix stands for. */
async function withRestored(bytes: Uint8Array, model: Sketch, nodes: readonly Uint8Array[] = model.nodes) {
  const [matrix] = matricesIn(bytes);
  const w = { shape: [matrix!.k, matrix!.n], data: turned(matrix!) };
  const float = sketch({ ...model, nodes, weights: { ...model.weights, w } });
  return withSession(openNode(float), (session) => session.run(model.feeds));
}

async function expectSame(model: Sketch, options: QuantizeModelOptions, nodes?: readonly Uint8Array[], least = SAME) {
  const { bytes } = await rewritten(model, options);
  expect(await nearnessTo(await withRestored(bytes, model, nodes), bytes, model.feeds)).toBeGreaterThan(least);
  return nodesIn(bytes);
}

describe("MatMul", () => {
  it.each(kinds)("$bits bits in blocks of $blockSize, $scheme, whatever tail they have", async (options) => {
    for (const [k, n] of [
      [96, 24],
      [15, 40],
      [17, 64],
      [33, 8],
      [64, 1],
      [130, 7],
      [31, 3],
    ] as const) {
      const { report } = await rewritten(product(k, n), options);
      const [{ reason }] = report.tensors as [(typeof report.tensors)[0]];
      // A tail may take more than it saves.
      if (reason !== undefined) expect([reason, k <= 33]).toEqual(["would not get smaller", true]);
      else expect((await expectSame(product(k, n), options)).map(({ op }) => op)).toEqual(["MatMulNBits"]);
    }
  });

  it.each([
    { x: [2, 3, 64], of: "three dimensions" },
    { x: [2, 2, 3, 64], of: "four" },
    { x: [64], of: "one" },
    { x: [0, 64], of: "no rows" },
  ])("of an input of $of", async ({ x }) => {
    await expectSame({ ...product(64, 16), feeds: { x: floats(x) } }, {});
  });

  it("is as near to each value as its block's scale allows, for what codes reach", async () => {
    const size = fc.integer({ min: 1, max: 80 });
    await fc.assert(
      fc.asyncProperty(size, size, fc.constantFrom(...kinds), async (k, n, options) => {
        const { bytes } = await rewritten(product(k, n), options);
        const [matrix] = matricesIn(bytes);
        if (!matrix) return;
        const w = drawnValues([k, n]);
        const values = turned(matrix);
        const scales = turned({ ...matrix, values: matrix.scales });
        // Symmetric codes end a step short of the extreme's other sign; zero points are rounded to whole codes.
        const most = options.scheme === "asymmetric" ? 1.01 : 1.001;
        for (const [i, x] of w.entries()) {
          expect(Math.abs(x - values[i]!)).toBeLessThanOrEqual(most * Math.abs(scales[i]!));
        }
      }),
      { numRuns: 40, seed: 2 },
    );
  });

  it.each([0, 1, 2, 3, 4] as const)("accuracy level %d is an attribute, but for 0", async (accuracyLevel) => {
    const least = accuracyLevel === 0 || accuracyLevel === 1 ? SAME : 30;
    const [made] = await expectSame(product(64, 16), { accuracyLevel }, undefined, least);
    expect(intOf(made!, "accuracy_level")).toBe(accuracyLevel === 0 ? undefined : accuracyLevel);
    expect(attributesOf(made!)).toEqual({ K: 64, N: 16, bits: 4, block_size: 32 });
  });

  it("of float16 has scales of float16", async () => {
    for (const options of kinds) {
      const model: Sketch = {
        ...product(64, 16),
        type: "float16",
        weights: { w: { shape: [64, 16], type: "float16" } },
      };
      const { bytes } = await rewritten(model, options);
      const wide = await withRestored(bytes, { ...model, type: "float32" });
      const narrow = Object.fromEntries(Object.entries(wide).map(([name, out]) => [name, { ...out, type: "float16" }]));
      expect(await nearnessTo(narrow, bytes, model.feeds)).toBeGreaterThan(45);
    }
  });

  it("of zeros, and of one value throughout", async () => {
    for (const options of kinds) {
      for (const filling of [0, -0.7, 0.7]) {
        const w = { shape: [64, 16], data: new Float32Array(64 * 16).fill(filling) };
        const { bytes } = await rewritten({ ...product(64, 16), weights: { w } }, options);
        for (const x of matricesIn(bytes)[0]!.values) expect(x).toBeCloseTo(filling, 6);
        await expectSame({ ...product(64, 16), weights: { w } }, options);
      }
    }
  });

  it.each([
    { what: "of rank 3", shape: [2, 64, 16], reason: "MatMul with a weight of rank 3" },
    { what: "that is a vector", shape: [64], reason: "MatMul with a weight of rank 1" },
    { what: "of nothing", shape: [64, 0], reason: "empty" },
    { what: "of one value", shape: [1, 1], reason: "would not get smaller" },
    { what: "of short columns", shape: [2, 64], reason: "would not get smaller" },
  ])("with a weight $what is left as it is", async ({ shape, reason }) => {
    const inner = shape.length === 1 ? shape[0]! : shape.at(-2)!;
    await expectLeft({ ...product(inner, 1), weights: { w: { shape } } }, [reason]);
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])(
    "with %d in its weight is refused, with name and place",
    async (bad) => {
      const data = new Float32Array(64 * 16).fill(1);
      data[700] = bad;
      const model: Sketch = { ...product(64, 16), weights: { w: { shape: [64, 16], data } } };
      for (const options of kinds) {
        await expect(rewritten(model, options)).rejects.toThrow(
          `model.onnx: tensor "w": holds ${bad} at flat index 700; exclude it`,
        );
      }
    },
  );
});

describe("Gemm", () => {
  it.each([
    { name: "no C", c: undefined },
    { name: "C of [N]", c: [16] },
    { name: "C of [1, N]", c: [1, 16] },
    { name: "C of [M, 1]", c: [3, 1] },
    { name: "a scalar C", c: [] },
  ])("with $name, where it is asked for", async ({ c }) => {
    for (const transB of [0, 1]) {
      for (const options of kinds) {
        const inputs = c ? "x w c" : "x w";
        const model: Sketch = {
          nodes: [node("Gemm", inputs, "y", { transB }, { name: "" })],
          weights: { w: transB ? [16, 96] : [96, 16], ...(c && { c }) },
          feeds: { x: floats([3, 96]) },
          outputs: ["y"],
        };
        const nodes = await expectSame(model, { ...options, opTypes: ["Gemm"] }, [node("Gemm", inputs, "y")]);
        expect(nodes.map(({ op }) => op)).toEqual(c ? ["MatMulNBits", "Add"] : ["MatMulNBits"]);
      }
    }
  });

  it("of old opsets, whose Add does not broadcast by itself", async () => {
    for (const opset of [6, 7, 10, 12, 21]) {
      const attributes = opset < 7 ? { broadcast: 1 } : {};
      const model: Sketch = {
        opset,
        nodes: [node("Gemm", "x w c", "y", attributes)],
        weights: { w: [64, 16], c: [16] },
        feeds: { x: floats([3, 64]) },
        outputs: ["y"],
      };
      const { bytes, ops } = await rewritten(model, { opTypes: ["Gemm"] });
      expect(ops).toEqual({ MatMulNBits: 1, Add: 1 });
      // Runtimes of today have no Gemm of opset 6.
      const want = await withRestored(bytes, { ...model, opset: 13, nodes: [node("Gemm", "x w c", "y")] });
      expect(await nearnessTo(want, bytes, model.feeds)).toBeGreaterThan(SAME);
    }
  });

  it("is left as it is where others are asked for, or it has no such form", async () => {
    const gemm = (attributes: Parameters<typeof node>[3], x = [3, 64]): Sketch => ({
      nodes: [node("Gemm", "x w c", "y", attributes)],
      weights: { w: [64, 16], c: [16] },
      feeds: { x: floats(x) },
      outputs: ["y"],
    });
    const both = gemm({});
    const product: Sketch = {
      ...both,
      nodes: [...both.nodes, node("MatMul", "x v", "z")],
      weights: { ...both.weights, v: [64, 16] },
      outputs: ["y", "z"],
    };
    expect((await rewritten(product)).ops).toEqual({ MatMulNBits: 2, Add: 1 });
    expect((await rewritten(product, { opTypes: ["MatMul"] })).ops).toEqual({ MatMulNBits: 1, Gemm: 1 });
    expect((await rewritten(product, { like: "onnxruntime" })).ops).toEqual({ MatMulNBits: 1, Gemm: 1 });
    const asked = { opTypes: ["Gemm"] };
    await expectLeft(gemm({ alpha: { float: 2 } }), ["Gemm with alpha 2"], asked);
    await expectLeft(gemm({ transA: 1 }, [64, 3]), ["Gemm with transA"], asked);
  });
});

/** But for accuracy_level. */
function attributesOf(made: ReadNode): Record<string, number> {
  const names = [...made.attributes.keys()].filter((name) => name !== "accuracy_level");
  return Object.fromEntries(names.map((name) => [name, intOf(made, name)!]));
}
