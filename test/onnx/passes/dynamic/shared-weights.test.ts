import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { graphsIn } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { eightBits, integerTypes, NEAR, rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnTensor, floats, indices, initializersIn, nearness, type Sketch } from "../../../helpers/sketch.ts";
import { typeCodes } from "../../../helpers/wire-fields.ts";

// Models that calculate in integers: what one node makes and several take. Tables whose rows are looked up as codes,
// values that are quantized once for all, in graphs around them or within, and weights that others use as they are.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, { mode: "dynamic", opTypes: integerTypes });

const product = { MatMulInteger: 1, Mul: 2, Cast: 1 };
const ids = indices([3, 1, -2, 49]);
const yes = { dims: [], data: Uint8Array.of(1) };
const no = { dims: [], data: Uint8Array.of(0) };

describe.each(["float32", "float16"] as const)("a table of %s", (type) => {
  const narrow = type === "float32" ? 0 : 1;
  const base = { type, feeds: { ids } };
  const weights = { t: { shape: [50, 16], type }, w: { shape: [16, 8], type } };
  const lookup = node("Gather", "t ids", "r");
  const multiply = node("MatMul", "r w", "y");

  it("gives codes to who multiplies them", async () => {
    const model: Sketch = { ...base, nodes: [lookup, multiply], weights, outputs: ["y"] };
    for (const options of eightBits) {
      expect(await expectNear(model, options)).toEqual({ Gather: 1, ...product, Cast: 1 + narrow });
    }
    const { bytes } = await rewritten(model);
    const [{ initializers }] = graphsIn(bytes) as [ReturnType<typeof graphsIn>[0]];
    expect(initializers.find(({ name }) => name === "t_quantized")).toMatchObject({
      typeCode: typeCodes.uint8,
      shape: [50, 16],
    });
  });

  it("may have its rows described in the file, which have no name any more", async () => {
    const values = { r: `${type}[4,16]` };
    await expectNear({ ...base, nodes: [lookup, multiply], weights, outputs: ["y"], values });
  });

  it.each([
    { what: "another op", nodes: [node("Relu", "r", "z")], outputs: ["y", "z"], more: { Relu: 1 } },
    { what: "the graph's output", nodes: [], outputs: ["y", "r"], more: {} },
    {
      what: "two",
      nodes: [node("Relu", "r", "z"), node("Neg", "r", "v")],
      outputs: ["y", "z", "v"],
      more: { Relu: 1, Neg: 1 },
    },
  ])("gives floats, restored once, to $what", async ({ nodes, outputs, more }) => {
    const model: Sketch = { ...base, nodes: [lookup, multiply, ...nodes], weights, outputs };
    expect(await expectNear(model)).toEqual({
      Gather: 1,
      ...product,
      DequantizeLinear: 1,
      Cast: 1 + 2 * narrow,
      ...more,
    });
  });

  it("looked up along its last axis and turned gives codes still", async () => {
    const nodes = [node("Gather", "t ids", "r", { axis: -1 }), node("Transpose", "r", "q", { perm: [1, 0] })];
    const turned: Sketch = {
      ...base,
      nodes: [...nodes, node("MatMul", "q w", "y")],
      weights: { ...weights, t: { shape: [16, 50], type } },
      outputs: ["y"],
    };
    expect(await expectNear(turned)).toEqual({ Gather: 1, Transpose: 1, ...product, Cast: 1 + narrow });
    const wanted = await expectNear({ ...turned, outputs: ["y", "q", "r"] });
    expect(wanted).toMatchObject({ Gather: 1, Transpose: 1, DequantizeLinear: 2, MatMulInteger: 1 });
  });

  it("that is a weight too is stored once where one scale does, and restored for who wants floats", async () => {
    const tied: Sketch = {
      type,
      nodes: [lookup, node("MatMul", "x t", "p"), node("MatMul", "r w", "y"), node("Add", "t one", "z")],
      weights: { t: { shape: [50, 16], type }, w: weights.w, one: { shape: [1], type } },
      feeds: { ids, x: floats([3, 50]) },
      outputs: ["p", "y", "z"],
    };
    for (const nodes of [tied.nodes, [tied.nodes[1]!, ...tied.nodes.filter((_, i) => i !== 1)]]) {
      for (const options of eightBits) {
        const ops = await expectNear({ ...tied, nodes }, options);
        expect(ops).toMatchObject({ Gather: 1, MatMulInteger: 2, DequantizeLinear: 1, Add: 1 });
        const { bytes } = await rewritten({ ...tied, nodes }, options);
        expect(initializersIn(bytes)).not.toContain("t");
      }
    }
    const { bytes } = await rewritten(tied, { perChannel: false });
    expect(initializersIn(bytes).filter((name) => name.startsWith("t_"))).toEqual([
      "t_scale",
      "t_zero_point",
      "t_quantized",
    ]);
  });
});

describe("a value that several nodes take", () => {
  it("is quantized once, for MatMul, Gemm and Conv", async () => {
    const model: Sketch = {
      nodes: [
        node("Relu", "x", "h"),
        node("MatMul", "h w", "a"),
        node("MatMul", "h v", "b"),
        node("Reshape", "h to", "i"),
        node("Conv", "i k", "c"),
        node("Conv", "i l", "d"),
        node("Flatten", "h", "f"),
        node("Gemm", "f g", "e", { transB: 1 }),
        node("MatMul", "f u", "q"),
      ],
      weights: {
        ...{ w: [16, 4], v: [16, 8], k: [2, 1, 3, 3], l: [3, 1, 3, 3], g: [6, 64], u: [64, 5] },
        to: tensor("to", "int64", [4], [1, 1, 4, 16]),
      },
      feeds: { x: floats([1, 4, 16]) },
      outputs: ["a", "b", "c", "d", "e", "q"],
    };
    expect(await expectNear(model)).toMatchObject({ DynamicQuantizeLinear: 3, MatMulInteger: 4, ConvInteger: 2 });
  });

  it("is restored for a Gemm that adds it besides", async () => {
    const model: Sketch = {
      nodes: [node("Gather", "t ids", "r"), node("Gemm", "r w r", "y")],
      weights: { t: [50, 16], w: [16, 16] },
      feeds: { ids },
      outputs: ["y"],
    };
    expect(await expectNear(model)).toEqual({ ...product, Gather: 1, Add: 1, DequantizeLinear: 1 });
    const nodes = [model.nodes[0]!, node("Gemm", "r w c", "y")];
    const other: Sketch = { ...model, nodes, weights: { ...model.weights, c: [16] } };
    expect(await expectNear(other)).toEqual({ ...product, Gather: 1, Add: 1 });
  });
});

describe("inner graphs", () => {
  const inner = (nodes: readonly Uint8Array[], output: string) => ({
    graph: graph({ nodes, outputs: [value(output, "float32")] }),
  });

  it.each([yes, no])("take what is quantized around them: a value, weights, a table", async (c) => {
    const model: Sketch = {
      nodes: [
        node("MatMul", "x w", "h"),
        node("Gather", "t ids", "g"),
        node("If", "c", "y", {
          then_branch: inner([node("MatMul", "h v", "p"), node("MatMul", "g v", "r"), node("Add", "p r", "s")], "s"),
          else_branch: inner([node("Gemm", "h u", "q"), node("Add", "q g", "z")], "z"),
        }),
      ],
      weights: { w: [16, 8], v: [8, 8], u: [8, 8], t: [50, 8] },
      feeds: { x: floats([4, 16]), ids, c },
      outputs: ["y"],
    };
    const { before, bytes, ops } = await rewritten(model);
    expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(NEAR);
    expect(ops).toMatchObject({ DynamicQuantizeLinear: 2, MatMulInteger: 4, DequantizeLinear: 1, Gather: 1 });
    const [outer, then, otherwise] = graphsIn(bytes);
    const typesIn = (read: typeof outer) => read!.nodes.map(({ op }) => op);
    // Both branches may want them, and none runs before it is known which.
    expect(typesIn(outer)).toEqual(expect.arrayContaining(["DynamicQuantizeLinear", "DequantizeLinear", "Gather"]));
    for (const branch of [then, otherwise]) expect(typesIn(branch)).not.toContain("DynamicQuantizeLinear");
  });

  it.each([yes, no])("look tables up and quantize what is their own", async (c) => {
    const model: Sketch = {
      nodes: [
        node("If", "c", "y", {
          then_branch: inner([node("Gather", "t ids", "g"), node("MatMul", "g w", "p")], "p"),
          else_branch: inner([node("Gather", "t ids", "k"), node("Relu", "k", "l"), node("MatMul", "l w", "q")], "q"),
        }),
      ],
      weights: { w: [16, 8], t: [50, 16] },
      feeds: { ids, c },
      outputs: ["y"],
    };
    const ops = { If: 1, Gather: 2, DequantizeLinear: 1, DynamicQuantizeLinear: 1, MatMulInteger: 2, Relu: 1 };
    expect(await expectNear(model)).toEqual({ ...ops, Mul: 4, Cast: 2 });
  });

  it("of loops have weights of their own and of the graph around them", async () => {
    const passes = ["int64[]", "bool[]", "float32[3,8]"].map((type, i) => value(["i", "on", "acc"][i]!, type));
    const body = graph({
      nodes: [
        node("Relu", "acc", "r"),
        node("MatMul", "r own", "m"),
        node("Gemm", "r w", "g"),
        node("MatMul", "x w", "o"),
        node("Sum", "m g o", "next"),
        node("Identity", "on", "still"),
      ],
      initializers: [drawnTensor("own", { shape: [8, 8], deviation: 0.3 }, 9)],
      inputs: passes,
      outputs: [value("still", "bool[]"), value("next", "float32[3,8]")],
    });
    const model: Sketch = {
      nodes: [node("MatMul", "x w", "h"), node("Loop", "n - h", "y", { body: { graph: body } })],
      weights: { w: { shape: [8, 8], deviation: 0.3 }, n: tensor("n", "int64", [], [3]) },
      feeds: { x: floats([3, 8]) },
      outputs: ["y"],
    };
    const ops = await expectNear(model);
    expect(ops).toMatchObject({ DynamicQuantizeLinear: 2, MatMulInteger: 4, Loop: 1 });
  });
});

describe("a weight that others use as it is", () => {
  const twice: Sketch = {
    nodes: [node("MatMul", "x w", "y"), node("Add", "w s", "z")],
    weights: { w: [16, 8], s: [1] },
    feeds: { x: floats([3, 16]) },
    outputs: ["y", "z"],
  };

  it("is restored for them, with a scale per channel from opset 13 on", async () => {
    for (const opset of [11, 12, 13, 21]) {
      for (const options of eightBits) {
        const ops = await expectNear({ ...twice, opset }, options);
        const isKept = opset < 13 && options.perChannel;
        expect(ops).toEqual({ DynamicQuantizeLinear: 1, ...product, Add: 1, ...(!isKept && { DequantizeLinear: 1 }) });
        const { bytes } = await rewritten({ ...twice, opset }, options);
        expect(initializersIn(bytes).includes("w")).toBe(isKept);
      }
    }
  });

  it("is kept for nodes that were left out by name or type, bit for bit", async () => {
    const model: Sketch = {
      nodes: [node("MatMul", "x w", "y"), node("Gemm", "x w", "z")],
      weights: { w: [16, 8] },
      feeds: twice.feeds,
      outputs: ["y", "z"],
    };
    for (const options of [{ exclude: ["Gemm_of_z"] }, { include: ["MatMul_of_y"] }, { opTypes: ["MatMul"] }]) {
      expect(await expectNear(model, options)).toEqual({ DynamicQuantizeLinear: 1, ...product, Gemm: 1 });
      const { bytes, reasons } = await rewritten(model, options);
      expect(reasons).toEqual([undefined]);
      expect(initializersIn(bytes)).toEqual(["w", "w_scale", "w_zero_point", "w_quantized"]);
    }
  });

  it("is restored for a Transpose that says how, and kept for one that does not, over which runtimes end", async () => {
    for (const attributes of [{ perm: [1, 0] }, {}]) {
      const model: Sketch = {
        nodes: [node("MatMul", "x w", "y"), node("Transpose", "w", "v", attributes), node("Add", "v s", "z")],
        weights: { w: [16, 16], s: [1] },
        feeds: twice.feeds,
        outputs: ["y", "z"],
      };
      const ops = await expectNear(model);
      expect(ops.DequantizeLinear ?? 0).toBe("perm" in attributes ? 1 : 0);
    }
  });
});
