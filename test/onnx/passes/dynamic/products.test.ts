import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { exactRuntimes } from "../../../helpers/exact-products.ts";
import { compareOutputs } from "../../../helpers/model-feeds.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { eightBits, integerTypes, NEAR, rewriterOf } from "../../../helpers/rewritten.ts";
import { type Outputs, openNode, runtimes, withSession } from "../../../helpers/sessions.ts";
import { drawnTensor, floats, nearness, nearnessTo, type Sketch, sketch } from "../../../helpers/sketch.ts";
import { typeCodes } from "../../../helpers/wire-fields.ts";

// Layers that calculate in integers, their inputs quantized as they come: MatMul and Gemm in all the shapes they have,
// each run beside the float model in both runtimes. Golden files (golden-dynamic.test.ts) have the usual ones.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear, expectFloat } = rewriterOf(() => engine, { mode: "dynamic", opTypes: integerTypes });

/** DynamicQuantizeLinear, the product, and what restores it. */
const layer = (product: string) => ({ DynamicQuantizeLinear: 1, [product]: 1, Cast: 1, Mul: 2 });

describe("MatMul", () => {
  const product = (a: readonly number[], b: readonly number[]): Sketch => ({
    nodes: [node("MatMul", "x w", "y")],
    weights: { w: b },
    feeds: { x: floats(a) },
    outputs: ["y"],
  });

  it.each([
    { a: [3, 16], b: [16, 8] },
    { a: [2, 3, 16], b: [16, 8] },
    { a: [2, 2, 3, 16], b: [16, 8] },
    { a: [2, 3, 16], b: [2, 16, 8] },
    { a: [3, 16], b: [2, 16, 8] },
    { a: [2, 2, 3, 16], b: [1, 2, 16, 8] },
    { a: [16], b: [16, 8] },
    { a: [3, 16], b: [16] },
    { a: [2, 3, 16], b: [16] },
    { a: [16], b: [16] },
    { a: [16], b: [2, 16, 8] },
    { a: [1, 16], b: [16, 1] },
    { a: [3, 1], b: [1, 1] },
  ])("of $a and $b", async ({ a, b }) => {
    for (const options of eightBits) expect(await expectNear(product(a, b), options)).toEqual(layer("MatMulInteger"));
  });

  it("of several matrices has a scale for each column of all, and one zero point", async () => {
    const { bytes } = await rewritten(product([3, 16], [2, 16, 8]), { dtype: "uint8" });
    const tensors = readGraph(graphIn(bytes)).initializers;
    expect(tensors.map(({ name, shape }) => ({ name, shape }))).toEqual([
      { name: "w_scale", shape: [8] },
      { name: "w_zero_point", shape: [] },
      { name: "w_quantized", shape: [2, 16, 8] },
    ]);
    expect([...tensors[1]!.raw]).toEqual([128]);
  });

  it("of a Constant node", async () => {
    const w = drawnTensor("inner", [16, 8]);
    const model: Sketch = {
      nodes: [node("Constant", "", "w", { value: { tensor: w } }), node("MatMul", "x w", "y")],
      feeds: { x: floats([3, 16]) },
      outputs: ["y"],
    };
    expect(await expectNear(model)).toEqual(layer("MatMulInteger"));
  });

  it("that has no constant on its right stays in floating point, and said so", async () => {
    const feeds = { x: floats([3, 16]) };
    const left: Sketch = { nodes: [node("MatMul", "w x", "y")], weights: { w: [5, 3] }, feeds, outputs: ["y"] };
    await expectFloat(left, ["MatMul takes it on its left"]);
    const both: Sketch = {
      nodes: [node("MatMul", "w v", "p"), node("Add", "p x", "y")],
      weights: { w: [3, 5], v: [5, 16] },
      feeds,
      outputs: ["y"],
    };
    await expectFloat(both, ["MatMul of two constants", "MatMul of two constants"]);
    const none: Sketch = {
      nodes: [node("MatMul", "x z", "y")],
      feeds: { ...feeds, z: floats([16, 4]) },
      outputs: ["y"],
    };
    expect(await expectFloat(none, [])).toContain(
      "1 MatMul has no constant to multiply with, so no weight: MatMul_of_y",
    );
  });

  it("that takes it from a Transpose of all axes, which codes do not follow, stays in floating point, and said so", async () => {
    const nodes = [node("Transpose", "w", "v", { perm: [2, 1, 0] }), node("MatMul", "x v", "y")];
    const model: Sketch = { nodes, weights: { w: [5, 16, 2] }, feeds: { x: floats([2, 3, 16]) }, outputs: ["y"] };
    await expectFloat(model, ["MatMul takes it from Transpose, not as it is stored"]);
  });

  it("of a column of zeros, of one value throughout, of nothing but zeros", async () => {
    const data = Float32Array.from({ length: 128 }, (_, i) => (i % 8 === 3 ? 0 : Math.sin(i)));
    const model: Sketch = {
      nodes: [
        node("MatMul", "x w", "a"),
        node("MatMul", "x c", "b"),
        node("MatMul", "x z", "d"),
        node("Add", "a d", "s"),
      ],
      weights: {
        w: { shape: [16, 8], data },
        c: { shape: [16, 8], data: new Float32Array(128).fill(-0.7) },
        z: { shape: [16, 8], data: new Float32Array(128) },
      },
      feeds: { x: floats([3, 16]) },
      outputs: ["s", "b"],
    };
    for (const options of eightBits) await expectNear(model, options);
  });

  it("of nothing is left as it is", async () => {
    const weights = { w: { shape: [16, 0], data: [] } };
    const model: Sketch = {
      nodes: [node("MatMul", "x w", "y")],
      weights,
      feeds: { x: floats([3, 16]) },
      outputs: ["y"],
    };
    await expectFloat(model, ["empty"]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("of %d is refused, with its name and place", async (bad) => {
    const data = new Float32Array(128).fill(1);
    data[7] = bad;
    const model = { ...product([3, 16], [16, 8]), weights: { w: { shape: [16, 8], data } } };
    await expect(rewritten(model)).rejects.toThrow(`model.onnx: tensor "w": holds ${bad} at flat index 7; exclude it`);
    await expectFloat(model, ["excluded"], { exclude: ["w"] });
  });

  it("of any shape is near", async () => {
    const size = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(size, size, size, fc.constantFrom(...eightBits), async (m, k, n, options) => {
        // With less than this a sum may be small beside its terms.
        if (m * n < 8) return;
        const model = product([m, k], [k, n]);
        const { before, bytes } = await rewritten(model, options);
        expect(await quickNearness(before, bytes, model)).toBeGreaterThan(20);
      }),
      { numRuns: 40, seed: 1 },
    );
  });
});

describe("op types that go by the names of properties", () => {
  it.each(["constructor", "__proto__", "toString"])("%s stays as it is", async (op) => {
    const own = { domain: "own.domain" };
    const nodes = [node("MatMul", "x w", "h"), node(op, "h", "y", {}, own), node(op, "h", "z")];
    const { ops } = await rewritten({ nodes, weights: { w: [32, 24] }, feeds: { x: floats([2, 32]) }, outputs: ["y"] });
    expect(ops).toMatchObject({ MatMulInteger: 1 });
  });
});

describe("Gemm", () => {
  const feeds = { x: floats([3, 16]) };

  it.each([
    { name: "no C", c: undefined },
    { name: "C of [N]", c: [8] },
    { name: "C of [1, N]", c: [1, 8] },
    { name: "C of [M, 1]", c: [3, 1] },
    { name: "C of [M, N]", c: [3, 8] },
    { name: "a scalar C", c: [] },
  ])("with $name", async ({ c }) => {
    for (const transB of [0, 1]) {
      for (const options of eightBits) {
        const model: Sketch = {
          nodes: [node("Gemm", c ? "x w c" : "x w", "y", { transB }, { name: transB === 0 ? "g" : "" })],
          weights: { w: transB === 0 ? [16, 8] : [8, 16], ...(c && { c }) },
          feeds,
          outputs: ["y"],
        };
        const wanted = { ...layer("MatMulInteger"), ...(c && { Add: 1 }) };
        expect(await expectNear(model, options)).toEqual(wanted);
      }
    }
  });

  it("with a factor for a C that it has not", async () => {
    const nodes = [node("Gemm", "x w", "y", { beta: { float: 0.5 } })];
    expect(await expectNear({ nodes, weights: { w: [16, 8] }, feeds, outputs: ["y"] })).toEqual(layer("MatMulInteger"));
  });

  it.each([
    { attributes: { alpha: { float: 0.5 } }, reason: "Gemm with alpha 0.5" },
    { attributes: { beta: { float: 0 } }, reason: "Gemm with beta 0" },
    { attributes: { transA: 1 }, reason: "Gemm with transA" },
  ])("left as it is: $reason", async ({ attributes, reason }) => {
    const nodes = [node("Gemm", "x w c", "y", attributes)];
    const x = floats("transA" in attributes ? [16, 3] : [3, 16]);
    await expectFloat({ nodes, weights: { w: [16, 8], c: { shape: [8] } }, feeds: { x }, outputs: ["y"] }, [reason]);
  });

  it("with a constant A is left as it is", async () => {
    const model: Sketch = { nodes: [node("Gemm", "w x", "y")], weights: { w: [5, 3] }, feeds, outputs: ["y"] };
    await expectFloat(model, ["Gemm takes it on its left"]);
  });
});

describe("half precision", () => {
  const nodes = [
    node("MatMul", "x w", "h"),
    node("Gemm", "h g c", "s", { transB: 1 }),
    node("Reshape", "s to", "i"),
    node("Conv", "i k b", "y"),
  ];
  const shapes = { w: [16, 12], g: [16, 12], c: [16], k: [2, 1, 3, 3], b: [2] };
  const feeds = { x: floats([4, 16]) };
  const weights = (type: "float16" | "bfloat16" | "float32") => ({
    ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape, type }])),
    to: tensor("to", "int64", [4], [4, 1, 4, 4]),
  });

  it("float16: the products are float32, what goes in and comes out is not", async () => {
    const model: Sketch = { type: "float16", nodes, weights: weights("float16"), feeds, outputs: ["y"] };
    for (const options of eightBits) {
      const { before, bytes, ops } = await rewritten(model, options);
      expect(await nearness(before, bytes, feeds)).toBeGreaterThan(NEAR);
      expect(ops).toMatchObject({ DynamicQuantizeLinear: 3, MatMulInteger: 2, ConvInteger: 1 });
    }
  });

  it("bfloat16, which the runtimes know no MatMul of", async () => {
    const inOut = (inner: readonly Uint8Array[]) => [
      node("Cast", "x0", "x", { to: typeCodes.bfloat16 }),
      ...inner,
      node("Cast", "y", "y0", { to: typeCodes.float32 }),
    ];
    const [first] = nodes;
    const model: Sketch = {
      nodes: inOut([first!, node("Identity", "h", "y")]),
      weights: { w: { shape: [16, 12], type: "bfloat16" } },
      feeds: { x0: feeds.x },
      outputs: ["y0"],
    };
    const { bytes } = await rewritten(model);
    const wide = sketch({
      nodes: [node("MatMul", "x0 w", "y0")],
      weights: { w: [16, 12] },
      feeds: model.feeds,
      outputs: ["y0"],
    });
    const want = await withSession(openNode(wide), (session) => session.run(model.feeds));
    expect(await nearnessTo(want, bytes, model.feeds)).toBeGreaterThan(NEAR);
  });
});

/** In the native runtime alone, if that is exact. */
async function quickNearness(before: Uint8Array, after: Uint8Array, { feeds }: Sketch): Promise<number> {
  const open = runtimes[exactRuntimes(after)[0]!];
  const run = (bytes: Uint8Array): Promise<Outputs> => withSession(open(bytes), (session) => session.run(feeds));
  const differences = compareOutputs([await run(before)], [await run(after)]);
  return Math.min(...Object.values(differences).map(({ sqnr }) => sqnr));
}
