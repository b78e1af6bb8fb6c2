import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { eightBits, integerTypes, NEAR, rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, indices, initializersIn, nearness, type Sketch } from "../../../helpers/sketch.ts";

// Integer layers whose weights lie behind Transpose, Reshape and their like, and tables whose codes Gather and such layers
// share: token embeddings whose model gives logits by them.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, { mode: "dynamic", opTypes: integerTypes });

const product = { DynamicQuantizeLinear: 1, MatMulInteger: 1, Mul: 2, Cast: 1 };
const turn = (from: string, to: string) => node("Transpose", from, to, { perm: [1, 0] });
const head = node("MatMul", "x v", "y");
const feeds = { x: floats([3, 24]) };

/** Names of a weight's codes in the file. */
const codesIn = (bytes: Uint8Array) => initializersIn(bytes).filter((name) => /_quantized(_\d)?$/.test(name));

describe("a weight behind", () => {
  it.each<{ what: string; nodes: readonly Uint8Array[]; weights: Sketch["weights"] }>([
    { what: "a Transpose", nodes: [turn("w", "v")], weights: { w: [16, 24] } },
    { what: "one that names no axes", nodes: [node("Transpose", "w", "v")], weights: { w: [16, 24] } },
    { what: "two, which undo each other", nodes: [turn("w", "u"), turn("u", "v")], weights: { w: [24, 16] } },
    { what: "Identity", nodes: [node("Identity", "w", "v")], weights: { w: [24, 16] } },
    { what: "Identity and Transpose", nodes: [node("Identity", "w", "u"), turn("u", "v")], weights: { w: [16, 24] } },
    {
      what: "a Transpose of the last two of three axes",
      nodes: [node("Transpose", "w", "v", { perm: [0, 2, 1] })],
      weights: { w: [2, 16, 24] },
    },
    {
      what: "Transpose and Reshape",
      nodes: [node("Transpose", "w", "u", { perm: [2, 0, 1] }), node("Reshape", "u s", "v")],
      weights: { w: [4, 4, 24], s: tensor("s", "int64", [2], [24, -1]) },
    },
    {
      what: "Squeeze",
      nodes: [node("Squeeze", "w a", "v")],
      weights: { w: [1, 24, 16], a: tensor("a", "int64", [1], [0]) },
    },
    {
      what: "a Reshape to what a Constant node says",
      nodes: [
        node("Constant", "", "s", { value: { tensor: tensor("", "int64", [2], [24, 16]) } }),
        node("Reshape", "w s", "v"),
      ],
      weights: { w: [4, 6, 16] },
    },
    {
      what: "a Cast",
      nodes: [node("Cast", "w", "u", { to: 1 }), turn("u", "v")],
      weights: { w: { shape: [16, 24], type: "float16" } },
    },
  ])("$what is multiplied as codes, transposed where they must be", async ({ nodes, weights = {} }) => {
    const model: Sketch = { nodes: [...nodes, head], weights, feeds, outputs: ["y"] };
    for (const options of eightBits) {
      expect(await expectNear(model, options)).toEqual(product);
      const { bytes } = await rewritten(model, options);
      expect(initializersIn(bytes).sort()).toEqual(["w_quantized", "w_scale", "w_zero_point"]);
    }
  });

  it("a Transpose, of Gemm: as it lies, or turned twice", async () => {
    for (const transB of [0, 1]) {
      const nodes = [turn("w", "v"), node("Gemm", "x v c", "y", { transB })];
      const model: Sketch = { nodes, weights: { w: transB ? [24, 16] : [16, 24], c: [16] }, feeds, outputs: ["y"] };
      for (const options of eightBits) expect(await expectNear(model, options)).toEqual({ ...product, Add: 1 });
    }
  });

  it("a Cast to float16 gives products of float16", async () => {
    const nodes = [node("Cast", "w", "u", { to: 10 }), turn("u", "v"), head];
    const model: Sketch = { type: "float16", nodes, weights: { w: [16, 24] }, feeds, outputs: ["y"] };
    expect(await expectNear(model)).toEqual({ ...product, Cast: 3 });
  });

  it("views that others take, too: these stay, and so do their weights", async () => {
    const nodes = [turn("w", "v"), head, node("Add", "v z", "u")];
    const more = { ...feeds, z: floats([16]) };
    const model: Sketch = { nodes, weights: { w: [16, 24] }, feeds: more, outputs: ["y", "u"] };
    for (const options of eightBits) {
      expect(await expectNear(model, options)).toMatchObject({ Transpose: 1, MatMulInteger: 1, Add: 1 });
    }
    expect(await expectNear({ ...model, outputs: ["y", "v", "u"] })).toMatchObject({ Transpose: 1, MatMulInteger: 1 });
  });

  it("and that others take as it lies has codes for each", async () => {
    const nodes = [turn("w", "v"), head, node("MatMul", "z w", "u")];
    const more = { ...feeds, z: floats([3, 16]) };
    const model: Sketch = { nodes, weights: { w: [16, 24] }, feeds: more, outputs: ["y", "u"] };
    for (const options of eightBits) {
      const { bytes, ops } = await rewritten(model, options);
      expect(await expectNear(model, options)).toMatchObject({ MatMulInteger: 2 });
      expect(ops.Transpose).toBeUndefined();
      expect(initializersIn(bytes)).not.toContain("w");
      expect(codesIn(bytes)).toHaveLength(2);
    }
  });

  it("a Transpose within a branch, of a weight around it", async () => {
    const branch = (output: string, then: string) => ({
      graph: graph({
        nodes: [turn("w", `${output}_v`), node("MatMul", `x ${output}_v`, output), node(then, output, `${output}_z`)],
        outputs: [value(`${output}_z`, "float32")],
      }),
    });
    for (const c of [1, 0]) {
      const model: Sketch = {
        nodes: [node("If", "c", "y", { then_branch: branch("p", "Relu"), else_branch: branch("q", "Neg") })],
        weights: { w: [16, 24] },
        feeds: { ...feeds, c: { dims: [], data: Uint8Array.of(c) } },
        outputs: ["y"],
      };
      const ops = await expectNear(model);
      expect(ops).toMatchObject({ If: 1, MatMulInteger: 2 });
      expect(ops.Transpose).toBeUndefined();
    }
  });
});

describe("a table that gives the logits, too", () => {
  const ids = indices([3, 1, -2, 39], [2, 2]);
  const lookup = node("Gather", "t ids", "r");
  const tied = (nodes: readonly Uint8Array[], rest: Partial<Sketch> = {}): Sketch => ({
    nodes,
    weights: { t: [40, 24] },
    feeds: { ids, ...feeds },
    outputs: ["r", "y"],
    ...rest,
  });

  const ways = {
    Transpose: tied([lookup, turn("t", "v"), head]),
    "Transpose, before it is looked up": tied([turn("t", "v"), head, lookup]),
    "Identity and Transpose": tied([node("Identity", "t", "i"), lookup, turn("i", "v"), head]),
    "Gemm with transB": tied([lookup, node("Gemm", "x t", "y", { transB: 1 })]),
    "Gemm of a Transpose": tied([lookup, turn("t", "v"), node("Gemm", "x v", "y")]),
    "a Transpose, two of them": tied([lookup, turn("t", "v"), head, node("MatMul", "r v", "z")], {
      outputs: ["r", "y", "z"],
    }),
  };

  it.each(Object.entries(ways))("through %s: one set of codes serves both", async (_, model) => {
    for (const options of [...eightBits, { dtype: "int8", scheme: "asymmetric" } as const]) {
      const { before, bytes, ops } = await rewritten(model, options);
      expect(codesIn(bytes)).toEqual(["t_quantized"]);
      expect(initializersIn(bytes)).not.toContain("t");
      expect(ops).toMatchObject({ Transpose: 1, MatMulInteger: model.outputs.length - 1 });
      expect(bytes.length - before.length).toBeLessThan(-40 * 24 * 3 + 4 * 40 + 3000);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(NEAR);
    }
  });

  it("of float16", async () => {
    const weights = { t: { shape: [40, 24], type: "float16" } } as const;
    const model: Sketch = { ...ways.Transpose, type: "float16", weights };
    for (const options of eightBits) {
      const { before, bytes } = await rewritten(model, options);
      expect(codesIn(bytes)).toEqual(["t_quantized"]);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(NEAR);
    }
  });

  it("that a branch multiplies with", async () => {
    const branch = (output: string) => ({
      graph: graph({
        nodes: [turn("t", `${output}v`), node("MatMul", `x ${output}v`, output)],
        outputs: [value(output, "float32")],
      }),
    });
    const nodes = [lookup, node("If", "c", "y", { then_branch: branch("p"), else_branch: branch("q") })];
    for (const c of [1, 0]) {
      const model = tied(nodes, { feeds: { ids, ...feeds, c: { dims: [], data: Uint8Array.of(c) } } });
      const { before, bytes, ops } = await rewritten(model);
      expect(ops).toMatchObject({ Transpose: 1, MatMulInteger: 2 });
      expect(codesIn(bytes)).toEqual(["t_quantized"]);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(NEAR);
    }
  });

  it("and that a third node takes as floats is restored for it, from opset 13 on", async () => {
    for (const opset of [11, 13, 21]) {
      const nodes = [...ways.Transpose.nodes, node("Add", "t z", "s")];
      const more = { ids, ...feeds, z: floats([24]) };
      const model = tied(nodes, { opset, feeds: more, outputs: ["r", "y", "s"] });
      const { before, bytes, ops, report } = await rewritten(model);
      expect(await nearness(before, bytes, more)).toBeGreaterThan(NEAR);
      const isKept = opset < 13;
      expect(initializersIn(bytes).includes("t")).toBe(isKept);
      expect(ops.DequantizeLinear ?? 0).toBe(isKept ? 0 : 1);
      const remarks = remarksOf(report).join("\n");
      expect(remarks.includes("stored as codes and as before, as some nodes take it as it was: t")).toBe(isKept);
    }
  });

  it("and that is left out of lookups is kept for them", async () => {
    const { before, bytes, ops } = await rewritten(ways.Transpose, { exclude: ["Gather_of_r"] });
    expect(ops).toMatchObject({ Gather: 1, MatMulInteger: 1 });
    expect(initializersIn(bytes)).toContain("t");
    expect(await nearness(before, bytes, ways.Transpose.feeds)).toBeGreaterThan(NEAR);
  });

  it("stays as the tool leaves it with its choices", async () => {
    const { bytes, ops } = await rewritten(ways.Transpose, { like: "onnxruntime", opTypes: undefined });
    expect(ops.MatMulInteger).toBeUndefined();
    expect(initializersIn(bytes).filter((name) => name.startsWith("t_"))).toEqual(
      expect.arrayContaining(["t_quantized"]),
    );
  });
});
