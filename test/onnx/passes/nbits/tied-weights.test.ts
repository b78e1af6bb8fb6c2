import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { setMakerOf } from "../../../helpers/quantized.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, indices, initializersIn, nearness, opsIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Matrices that products take behind Transpose, Reshape and their like, and tables that are looked up and multiplied with:
// token embeddings whose model gives logits by them.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectLeft, expectNear } = rewriterOf(() => engine, { format: "nbits" });
const setOf = setMakerOf(() => engine);

const turn = (from: string, to: string) => node("Transpose", from, to, { perm: [1, 0] });
const head = node("MatMul", "x v", "y");
const feeds = { x: floats([3, 64]) };

/** dB that a model of so many bits keeps at the least. */
const least = { 2: 2, 4: 16, 8: 38 };

const kinds: readonly (QuantizeModelOptions & { bits: 2 | 4 | 8 })[] = [
  { bits: 4 },
  { bits: 4, blockSize: 16, scheme: "asymmetric" },
  { bits: 8, blockSize: 64 },
  { bits: 2, blockSize: 16, scheme: "asymmetric" },
];

/** Names of a weight's codes in the file. */
function codesIn(bytes: Uint8Array): string[] {
  return initializersIn(bytes).filter((name) => /_(Q\d|Bnb4)(_\d)?$/.test(name));
}

describe("a matrix behind", () => {
  const half = { shape: [48, 64], type: "float16" } as const;
  it.each<{ what: string; nodes: readonly Uint8Array[]; weights: Sketch["weights"] }>([
    { what: "a Transpose", nodes: [turn("w", "v")], weights: { w: [48, 64] } },
    { what: "one that names no axes", nodes: [node("Transpose", "w", "v")], weights: { w: [48, 64] } },
    { what: "two, which undo each other", nodes: [turn("w", "u"), turn("u", "v")], weights: { w: [64, 48] } },
    { what: "Identity and Transpose", nodes: [node("Identity", "w", "u"), turn("u", "v")], weights: { w: [48, 64] } },
    {
      what: "Transpose and Reshape",
      nodes: [node("Transpose", "w", "u", { perm: [2, 0, 1] }), node("Reshape", "u s", "v")],
      weights: { w: [4, 12, 64], s: tensor("s", "int64", [2], [64, -1]) },
    },
    {
      what: "Squeeze",
      nodes: [node("Squeeze", "w a", "v")],
      weights: { w: [1, 64, 48], a: tensor("a", "int64", [1], [0]) },
    },
    {
      what: "a Reshape to what a Constant node says",
      nodes: [
        node("Constant", "", "s", { value: { tensor: tensor("", "int64", [2], [64, 48]) } }),
        node("Reshape", "w s", "v"),
      ],
      weights: { w: [4, 16, 48] },
    },
    { what: "a Cast", nodes: [node("Cast", "w", "u", { to: 1 }), turn("u", "v")], weights: { w: half } },
  ])("$what", async ({ nodes, weights = {} }) => {
    const model: Sketch = { nodes: [...nodes, head], weights, feeds, outputs: ["y"] };
    for (const options of kinds) {
      const { before, bytes, ops, report } = await rewritten(model, options);
      expect(ops).toEqual({ MatMulNBits: 1 });
      // Nothing is left of the weight, or of what said how it is shown.
      expect(initializersIn(bytes).every((name) => name.startsWith("w_"))).toBe(true);
      expect(report.tensors[0]).toMatchObject({ name: "w", to: `int${options.bits}` });
      expect(await nearness(before, bytes, feeds)).toBeGreaterThan(least[options.bits]);
    }
  });

  it("a Transpose, of Gemm: as it lies, or turned twice", async () => {
    for (const transB of [0, 1]) {
      const nodes = [turn("w", "v"), node("Gemm", "x v c", "y", { transB })];
      const weights = { w: transB ? [64, 48] : [48, 64], c: [48] };
      const model: Sketch = { nodes, weights, feeds, outputs: ["y"] };
      expect(await expectNear(model, { bits: 8 })).toEqual({ MatMulNBits: 1, Add: 1 });
    }
  });

  it("a Transpose, in NF4", async () => {
    const before = sketch({ nodes: [turn("w", "v"), head], weights: { w: [48, 64] }, feeds, outputs: ["y"] });
    const { bnb4 } = (await setOf(before, { only: ["bnb4"] })).files;
    expect(opsIn(bnb4)).toEqual({ MatMulBnb4: 1 });
    expect(await nearness(before, bnb4, feeds)).toBeGreaterThan(16);
  });

  it("a view that others take, too, stays as it is", async () => {
    const twice = "others use it as it is, so it would have to be stored twice";
    const nodes = [node("Reshape", "w s", "v"), head];
    const weights = { w: [4, 16, 48], s: tensor("s", "int64", [2], [64, 48]) };
    const model: Sketch = { nodes, weights, feeds, outputs: ["y", "v"] };
    await expectLeft(model, [twice]);
    const relu: Sketch = { ...model, nodes: [...nodes, node("Add", "z v", "u")], outputs: ["y", "u"] };
    await expectLeft({ ...relu, feeds: { ...feeds, z: floats([64, 48]) } }, [twice]);
  });

  it("a Reshape whose shape others take, too: that stays", async () => {
    const nodes = [node("Reshape", "w s", "v"), head, node("Reshape", "z s", "u")];
    const weights = { w: [4, 16, 48], s: tensor("s", "int64", [2], [64, 48]) };
    const more = { ...feeds, z: floats([48, 64]) };
    const { bytes, ops } = await rewritten({ nodes, weights, feeds: more, outputs: ["y", "u"] });
    expect(ops).toEqual({ MatMulNBits: 1, Reshape: 1 });
    expect(initializersIn(bytes)).toContain("s");
  });

  it("a Transpose within a branch, of a weight around it", async () => {
    const branch = (output: string, then: string) => ({
      graph: graph({
        nodes: [turn("w", `${output}_v`), node("MatMul", `x ${output}_v`, output), node(then, output, `${output}_z`)],
        outputs: [value(`${output}_z`, "float32")],
      }),
    });
    const c = { dims: [], data: Uint8Array.of(1) };
    const model: Sketch = {
      nodes: [node("If", "c", "y", { then_branch: branch("p", "Relu"), else_branch: branch("q", "Neg") })],
      weights: { w: [48, 64] },
      feeds: { ...feeds, c },
      outputs: ["y"],
    };
    for (const data of [1, 0]) {
      const fed = { ...model, feeds: { ...feeds, c: { ...c, data: Uint8Array.of(data) } } };
      expect(await expectNear(fed, { bits: 8 })).toEqual({ If: 1, MatMulNBits: 2, Relu: 1, Neg: 1 });
    }
  });

  it.each([
    { what: "three axes", nodes: [node("Transpose", "w", "v", { perm: [0, 2, 1] })], shape: [2, 48, 64] },
    { what: "a Reshape that tears rows apart", nodes: [turn("w", "t"), node("Reshape", "t s", "v")], shape: [48, 64] },
  ])("views that leave no matrix: $what", async ({ nodes, shape }) => {
    const weights = { w: shape, s: tensor("s", "int64", [2], [48, 64]) };
    const { before, bytes, reasons } = await rewritten({
      nodes: [...nodes, node("MatMul", shape.length === 3 ? "x v" : "z v", "y")],
      weights,
      feeds: shape.length === 3 ? feeds : { z: floats([3, 48]) },
      outputs: ["y"],
    });
    expect(reasons).toEqual([
      shape.length === 3 ? "MatMul with a weight of rank 3" : "MatMul takes it from Transpose, not as it is stored",
    ]);
    expect(bytes).toEqual(before);
  });
});

describe("a table that gives the logits, too", () => {
  const ids = indices([3, 1, -2]);
  const lookup = node("Gather", "t ids", "r");
  const tied = (between: readonly Uint8Array[], product = head, rest: Partial<Sketch> = {}): Sketch => ({
    nodes: [lookup, ...between, product],
    weights: { t: [96, 64] },
    feeds: { ids, ...feeds },
    outputs: ["r", "y"],
    ...rest,
  });

  const ways = {
    Transpose: tied([turn("t", "v")]),
    "Transpose and Identity": tied([turn("t", "u"), node("Identity", "u", "v")]),
    "Identity before both": tied([node("Identity", "t", "i"), turn("i", "v")], head, {
      nodes: [node("Identity", "t", "i"), node("Gather", "i ids", "r"), turn("i", "v"), head],
    }),
    "Gemm with transB": tied([], node("Gemm", "x t", "y", { transB: 1 })),
    "Gemm of a Transpose": tied([turn("t", "v")], node("Gemm", "x v", "y")),
  };

  it.each(Object.entries(ways))("through %s: one set of codes serves both", async (_, model) => {
    for (const options of kinds) {
      // By the op types that are usual, and asked for.
      for (const opTypes of [undefined, ["MatMul", "Gemm", "Gather"]]) {
        if (!opTypes && model.nodes.length === 2) continue;
        const usesGemm = model === ways["Gemm with transB"] || model === ways["Gemm of a Transpose"];
        if (usesGemm && !opTypes) continue;
        const { before, bytes, ops } = await rewritten(model, {
          ...options,
          ...(opTypes && { opTypes: opTypes.filter((op) => op === "Gather" || (op === "Gemm") === usesGemm) }),
        });
        expect(ops).toEqual({ Reshape: 1, GatherBlockQuantized: 1, MatMulNBits: 1 });
        expect(codesIn(bytes)).toEqual([`t_Q${options.bits}`]);
        expect(bytes.length).toBeLessThan((before.length * (options.bits + 3)) / 32 + 800);
        expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[options.bits]);
      }
    }
  });

  it("in the file that transformers.js looks for", async () => {
    const before = sketch(ways.Transpose);
    const { files } = await setOf(before, { only: ["q4", "q4f16", "bnb4"] });
    for (const bytes of [files.q4, files.q4f16]) {
      expect(opsIn(bytes)).toMatchObject({ GatherBlockQuantized: 1, MatMulNBits: 1 });
      expect(codesIn(bytes)).toEqual(["t_Q4"]);
    }
    // A codebook of floats is no table's: rows have codes of their own.
    expect(opsIn(files.bnb4)).toEqual({ GatherBlockQuantized: 1, MatMulBnb4: 1 });
    for (const bytes of Object.values(files)) {
      expect(bytes.length).toBeLessThan(before.length * 0.4);
      expect(await nearness(before, bytes, ways.Transpose.feeds)).toBeGreaterThan(16);
    }
  });

  it("with blocks that do not fill the rows has two sets, where they are smaller", async () => {
    const model: Sketch = { ...ways.Transpose, weights: { t: [96, 40] }, feeds: { ids, x: floats([3, 40]) } };
    for (const bits of [4, 8] as const) {
      const { before, bytes, ops } = await rewritten(model, { bits, blockSize: 16 });
      expect(ops).toEqual({ GatherBlockQuantized: 1, MatMulNBits: 1 });
      expect(codesIn(bytes)).toHaveLength(2);
      expect(bytes.length).toBeLessThan(before.length);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[bits]);
    }
    const short: Sketch = { ...model, weights: { t: [96, 10] }, feeds: { ids, x: floats([3, 10]) } };
    await expectLeft(short, ["would not get smaller"], { bits: 8, blockSize: 32 });
  });

  it("of an odd width has rows of 8 bits beside the matrix of 4", async () => {
    const model: Sketch = { ...ways.Transpose, weights: { t: [96, 65] }, feeds: { ids, x: floats([3, 65]) } };
    for (const opTypes of [undefined, ["MatMul", "Gather"]]) {
      const { before, bytes, ops } = await rewritten(model, { bits: 4, ...(opTypes && { opTypes }) });
      expect(ops).toEqual({ GatherBlockQuantized: 1, MatMulNBits: 1 });
      expect(codesIn(bytes).sort()).toEqual(["t_Q4", "t_Q8"]);
      expect(bytes.length).toBeLessThan(before.length);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[4]);
    }
  });

  it("of float16 behind a Cast has scales of each type", async () => {
    const nodes = [lookup, node("Cast", "t", "c", { to: 1 }), turn("c", "v"), head, node("Cast", "r", "f", { to: 1 })];
    const weights = { t: { shape: [96, 64], type: "float16" } } as const;
    const model: Sketch = { nodes, weights, feeds: { ids, ...feeds }, outputs: ["f", "y"] };
    const { before, bytes, ops } = await rewritten(model, { bits: 4 });
    expect(ops).toEqual({ GatherBlockQuantized: 1, MatMulNBits: 1, Cast: 1 });
    expect(bytes.length).toBeLessThan(before.length);
    expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[4]);
  });

  it("that a branch multiplies with", async () => {
    const branch = (output: string) => ({
      graph: graph({
        nodes: [turn("t", `${output}v`), node("MatMul", `x ${output}v`, output)],
        outputs: [value(output, "float32")],
      }),
    });
    const c = { dims: [], data: Uint8Array.of(1) };
    const nodes = [lookup, node("If", "c", "y", { then_branch: branch("p"), else_branch: branch("q") })];
    const model: Sketch = { ...ways.Transpose, nodes, feeds: { ids, ...feeds, c } };
    const { before, bytes, ops } = await rewritten(model, { bits: 8 });
    expect(ops).toEqual({ If: 1, Reshape: 1, GatherBlockQuantized: 1, MatMulNBits: 2 });
    expect(codesIn(bytes)).toEqual(["t_Q8"]);
    expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least[8]);
  });

  it("and that a third node takes as floats stays float, and says so", async () => {
    const nodes = [...ways.Transpose.nodes, node("Add", "t z", "s")];
    const model: Sketch = {
      ...ways.Transpose,
      nodes,
      feeds: { ids, ...feeds, z: floats([64]) },
      outputs: ["r", "y", "s"],
    };
    const { before, bytes, reasons } = await rewritten(model);
    expect(reasons).toEqual([expect.stringContaining("others use it as it is, so it would have to be stored twice")]);
    expect(bytes).toEqual(before);
  });

  it("and that is looked up by columns stays float", async () => {
    const nodes = [node("Gather", "t ids", "r", { axis: 1 }), turn("t", "v"), head];
    const { reasons } = await rewritten({ ...ways.Transpose, nodes });
    expect(reasons).toEqual([expect.stringContaining("Gather of other things than a table's rows")]);
  });

  it("stays as the tool leaves it with its choices", async () => {
    const { reasons, bytes, before } = await rewritten(ways.Transpose, { like: "onnxruntime", dtype: "int4" });
    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toBeDefined();
    expect(opsIn(bytes)).toEqual(opsIn(before));
  });
});
