import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Weights that a model computes from constants in each run, and that are left to it.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, quantized } = rewriterOf(() => engine, {});

const int64s = (name: string, ...values: number[]) => tensor(name, "int64", [values.length], values);
const one = (name: string, x: number) => tensor(name, "float32", [], [x]);
const product = (w: string) => node("MatMul", `x ${w}`, "y");

const inMatMul = (nodes: readonly Uint8Array[], weights: NonNullable<Sketch["weights"]>): Sketch => ({
  ...{ nodes: [...nodes, product("w")], weights, feeds: { x: floats([2, 32]) }, outputs: ["y"] },
});

describe("stays as it is", () => {
  const scaled = (weights: NonNullable<Sketch["weights"]>, nodes = [node("Mul", "w0 s", "w")]) =>
    inMatMul(nodes, weights);
  const base = { w0: [32, 24], s: [1, 24] } as const;

  async function expectUnfolded(model: Sketch, options: Parameters<typeof rewritten>[1] = {}): Promise<string[]> {
    const { ops, report } = await rewritten(model, { allowUnchanged: true, ...options });
    expect(ops.Mul ?? ops.Expand ?? ops.Div ?? ops.Split).toBeGreaterThan(0);
    expect(report.tensors.map(({ name }) => name)).not.toContain("w");
    return remarksOf(report);
  }

  it("what would be larger", async () => {
    const wide = { w0: [1, 24], shape: int64s("shape", 32, 24) } as const;
    await expectUnfolded(scaled(wide, [node("Expand", "w0 shape", "w")]));
  });

  it("what others need the constants of", async () => {
    await expectUnfolded({
      ...{ nodes: [node("Mul", "w0 s", "w"), product("w"), node("Add", "w0 s", "z")], weights: base },
      ...{ feeds: { x: floats([2, 32]) }, outputs: ["y", "z"] },
    });
  });

  it("what the model gives", async () => {
    await expectUnfolded({ ...scaled(base), outputs: ["y", "w"] });
  });

  it("what a caller may replace", async () => {
    await expectUnfolded({ ...scaled({ w0: [32, 24] }), feeds: { x: floats([2, 32]), s: floats([1, 24]) } });
  });

  it("with NaN and infinities, and says so", async () => {
    const zero = { w0: [32, 24], s: tensor("s", "float32", [1, 24], new Float32Array(24)) } as const;
    const said = await expectUnfolded(scaled(zero, [node("Div", "w0 s", "w")]));
    expect(said).toContain("w is computed from constants in each run and stays float: it would hold NaN or infinities");
  });

  it("by a node that gives less than it says, and says so", async () => {
    const model = scaled({ w0: [32, 24] }, [node("Split", "w0", "h w", { split: [32] })]);
    const said = await expectUnfolded({ ...model, opset: 11 });
    expect(said).toContain("w is computed from constants in each run and stays float: an output that is not made");
  });

  it("by an operator that is not computed beforehand, and says so", async () => {
    const said = await expectUnfolded(scaled(base, [node("Mul", "w0 s", "h"), node("Softmax", "h", "w")]));
    expect(said).toContain(
      "w is computed from constants in each run and stays float: Softmax is not computed beforehand",
    );
  });

  it("by an operator that gives other numbers each time", async () => {
    const random = node("RandomUniformLike", "s", "r");
    const said = await expectUnfolded(scaled(base, [random, node("Mul", "w0 r", "w")]));
    expect(said.filter((line) => line.includes("computed"))).toEqual([]);
  });

  it("where it is restored from codes, without a word", async () => {
    const { bytes } = await quantized(sketch(inMatMul([], { w: [32, 24] })));
    const { report } = await quantized(bytes, { again: true });
    expect(remarksOf(report).filter((line) => line.includes("computed"))).toEqual([]);
  });

  it("where it holds integers, without a word", async () => {
    const tables = { w: [32, 24], a: int64s("a", 1, 2, 3), b: int64s("b", 4, 5) } as const;
    const { report } = await rewritten({
      nodes: [
        node("Concat", "a b", "rows", { axis: 0 }),
        node("Gather", "rows ids", "at"),
        node("Gather", "w at", "y"),
      ],
      ...{ weights: tables, feeds: { ids: { data: BigInt64Array.of(0n, 4n), dims: [2] } }, outputs: ["y"] },
    });
    expect(remarksOf(report).filter((line) => line.includes("computed"))).toEqual([]);
  });

  it("with one remark for many of them", async () => {
    const zero = { w0: [32, 24], v0: [24, 24], s: tensor("s", "float32", [1, 24], new Float32Array(24)) } as const;
    const said = await expectUnfolded({
      nodes: [
        node("Div", "w0 s", "w"),
        node("Div", "v0 s", "v"),
        node("MatMul", "x w", "h"),
        node("MatMul", "h v", "y"),
      ],
      ...{ weights: zero, feeds: { x: floats([2, 32]) }, outputs: ["y"] },
    });
    const text =
      "2 weights are computed from constants in each run and stay float: it would hold NaN or infinities: w, v";
    expect(said).toContain(text);
  });

  it("with the reason where nothing else is there to quantize", async () => {
    const zero = { w0: [32, 24], s: tensor("s", "float32", [1, 24], new Float32Array(24)) } as const;
    const why = "nothing quantized: w is computed from constants in each run and stays float: it would hold NaN";
    const model = scaled(zero, [node("Div", "w0 s", "w")]);
    await expect(rewritten(model, { allowUnchanged: false })).rejects.toThrow(why);
  });

  it("what overflows on the way", async () => {
    const large = { w0: [32, 24], s: one("s", 3e38) } as const;
    await expectUnfolded(scaled(large, [node("Mul", "w0 s", "h"), node("Mul", "h s", "w")]));
  });

  it("what takes much memory on the way, and says so", async () => {
    const lists = {
      shape: int64s("shape", 2 ** 13, 2 ** 12),
      end: int64s("end", 32, 24),
      start: int64s("start", 0, 0),
    };
    const weights = { w0: tensor("w0", "float32", [1, 4096], new Float32Array(4096).fill(0.5)), ...lists };
    const model = scaled(weights, [node("Expand", "w0 shape", "all"), node("Slice", "all start end", "w")]);
    const said = await expectUnfolded(model);
    expect(said).toContain("w is computed from constants in each run and stays float: more than 16777216 values");
  });

  it("what depends on the shape of an input", async () => {
    await expectUnfolded(
      scaled({ w0: [32, 24] }, [
        node("Shape", "x", "shape"),
        node("Cast", "shape", "sizes", { to: 1 }),
        node("ReduceMax", "sizes", "s", { keepdims: 0 }),
        node("Mul", "w0 s", "w"),
      ]),
    );
  });

  it("what is of other op types", async () => {
    const nodes = [node("Mul", "w0 s", "w"), node("MatMul", "x w", "h"), node("Gemm", "h v", "y")];
    await expectUnfolded({ ...scaled({ ...base, v: [24, 24] }), nodes }, { opTypes: ["Gemm"] });
  });

  it("as ONNX Runtime's tool has it", async () => {
    await expectUnfolded(scaled(base), { mode: "dynamic", like: "onnxruntime" });
  });
});

describe("constants that would take too long", () => {
  const said = async (model: Sketch) => remarksOf((await rewritten(model, { allowUnchanged: true })).report).join("\n");

  it("a row of weights, each made of the one before, are computed up to a limit", async () => {
    const count = 1500;
    const row = Array.from({ length: count }, (_, i) => [
      node("Mul", `w${i} c`, `w${i + 1}`),
      node("MatMul", `x w${i + 1}`, `y${i}`),
    ]);
    const all = node("Sum", row.map((_, i) => `y${i}`).join(" "), "y");
    const feeds = { x: floats([2, 4]) };
    const weights = { w0: [4, 4], c: one("c", 1) };
    expect(await said({ nodes: [...row.flat(), all], weights, feeds, outputs: ["y"] })).toMatch(
      /\d+ weights .* stay float: more than 262144 nodes would have to be computed: w\d+/,
    );
  });

  it("large values that a small file asks for again and again", async () => {
    const count = 100;
    const row = Array.from({ length: count }, (_, i) => node("Add", `w${i} c`, i + 1 === count ? "w" : `w${i + 1}`));
    const nodes = [node("ConstantOfShape", "shape", "w0"), ...row];
    const weights = { shape: int64s("shape", 1024, 2048), c: one("c", 1) };
    const feeds = { x: floats([1, 1024]) };
    expect(await said({ nodes: [...nodes, product("w")], weights, feeds, outputs: ["y"] })).toContain(
      "w is computed from constants in each run and stays float: it takes too long for a file of this size",
    );
  });
});
