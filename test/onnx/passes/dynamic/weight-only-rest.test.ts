import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { graphIn, type ReadTensor, readGraph } from "../../../helpers/onnx-read.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { NEAR, rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnTensor, floats, nearness, type Sketch } from "../../../helpers/sketch.ts";

// What dynamic mode does with weights that have no integer layer, or none that is faster: they are stored as codes in the
// same file. Conv is among them, as ConvInteger is slower than Conv in ONNX Runtime on CPUs, unless opTypes names it; uint8
// weights of Conv are the int8 codes plus 128, whichever way they go.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear } = rewriterOf(() => engine, { mode: "dynamic" });

const layers: Sketch = {
  nodes: [node("Conv", "i k b", "c"), node("Relu", "c", "z"), node("MatMul", "x w", "y")],
  weights: { k: [6, 4, 3, 3], b: [6], w: [16, 8] },
  feeds: { x: floats([3, 16]), i: floats([1, 4, 7, 7]) },
  outputs: ["y", "z"],
};

const restoredConv = { Conv: 1, Relu: 1, DynamicQuantizeLinear: 1, MatMulInteger: 1 };

const tensorIn = (bytes: Uint8Array, name: string): ReadTensor =>
  readGraph(graphIn(bytes)).initializers.find((tensor) => tensor.name === name)!;

/** Values of raw_data; types by their numbers in onnx.proto. */
function valuesOf({ raw, typeCode }: ReadTensor): number[] {
  const { buffer } = raw.slice();
  return [...(typeCode === 1 ? new Float32Array(buffer) : typeCode === 3 ? new Int8Array(buffer) : raw)];
}

describe("Conv", () => {
  it("stays in floating point, its weight stored as codes, and the report says why", async () => {
    for (const dtype of ["int8", "uint8"] as const) {
      expect(await expectNear(layers, { dtype })).toMatchObject(restoredConv);
      const { report } = await rewritten(layers, { dtype });
      expect(report.tensors).toMatchObject([
        { name: "k", to: dtype },
        { name: "w", to: dtype },
      ]);
      expect(remarksOf(report)).toContain(
        "1 weight is stored as codes, and the layer computes in floating point as before " +
          "(Conv: ConvInteger is slower than Conv in ONNX Runtime on CPUs; opTypes: Conv uses it anyway)",
      );
    }
  });

  it("becomes ConvInteger where opTypes names it, in uint8 unless int8 is asked for", async () => {
    for (const [options, code] of [
      [{}, 2],
      [{ dtype: "uint8" }, 2],
      [{ dtype: "int8" }, 3],
    ] as readonly (readonly [QuantizeModelOptions, number])[]) {
      const opTypes = ["Conv", "MatMul"];
      expect(await expectNear(layers, { ...options, opTypes })).toMatchObject({ ConvInteger: 1, MatMulInteger: 1 });
      const { bytes, report } = await rewritten(layers, { ...options, opTypes });
      expect(tensorIn(bytes, "k_quantized").typeCode).toBe(code);
      expect(remarksOf(report).join("\n")).toContain("1 Conv as ConvInteger, which is slower than Conv");
    }
    const alone = await rewritten(layers, { opTypes: ["Conv"] });
    expect(alone.ops).toMatchObject({ ConvInteger: 1, MatMul: 1 });
    expect(alone.reasons).toEqual([undefined, "not of those op types"]);
  });

  it.each<[string, QuantizeModelOptions]>([
    ["in floating point", {}],
    ["in floating point, one scale", { perChannel: false }],
    ["as ConvInteger", { opTypes: ["Conv"] }],
    ["as ConvInteger, one scale", { opTypes: ["Conv"], perChannel: false }],
    ["as ConvInteger, of reduced range", { opTypes: ["Conv"], reduceRange: true }],
  ])("%s has uint8 weights that are the int8 codes plus 128", async (_, options) => {
    const [unsigned, signed] = await Promise.all(
      (["uint8", "int8"] as const).map((dtype) => rewritten(layers, { ...options, dtype })),
    );
    const codes = valuesOf(tensorIn(unsigned!.bytes, "k_quantized"));
    expect(codes).toEqual(valuesOf(tensorIn(signed!.bytes, "k_quantized")).map((code) => code + 128));
    expect(tensorIn(unsigned!.bytes, "k_zero_point")).toMatchObject({ typeCode: 2, shape: [] });
    expect(valuesOf(tensorIn(unsigned!.bytes, "k_zero_point"))).toEqual([128]);
    const scales = valuesOf(tensorIn(unsigned!.bytes, "k_scale"));
    expect(scales).toEqual(valuesOf(tensorIn(signed!.bytes, "k_scale")));
    expect(await nearness(unsigned!.before, unsigned!.bytes, layers.feeds)).toBeGreaterThan(NEAR);
  });

  it("has all codes in floating point: no sum saturates there, and a reduced range is for those that do", async () => {
    const [reduced, full] = await Promise.all([true, false].map((reduceRange) => rewritten(layers, { reduceRange })));
    expect(valuesOf(tensorIn(reduced!.bytes, "k_quantized"))).toEqual(valuesOf(tensorIn(full!.bytes, "k_quantized")));
    expect(valuesOf(tensorIn(reduced!.bytes, "w_quantized"))).not.toEqual(
      valuesOf(tensorIn(full!.bytes, "w_quantized")),
    );
  });

  it("that is excluded stays for that reason alone", async () => {
    expect((await rewritten(layers, { exclude: ["k"] })).reasons).toEqual(["excluded", undefined]);
    expect((await rewritten(layers, { opTypes: ["MatMul"] })).reasons).toEqual(["not of those op types", undefined]);
  });

  it("takes zero points by the range where they are asked for, and one scale allows them", async () => {
    const options = { dtype: "uint8", scheme: "asymmetric", perChannel: false } as const;
    for (const opTypes of [undefined, ["Conv"]]) {
      const { bytes, before } = await rewritten(layers, { ...options, opTypes });
      expect(valuesOf(tensorIn(bytes, "k_zero_point"))).not.toEqual([128]);
      expect(await nearness(before, bytes, layers.feeds)).toBeGreaterThan(NEAR);
    }
  });
});

describe("layers without an integer form", () => {
  const recurrent = (op: "GRU" | "RNN"): Sketch => {
    const gates = op === "GRU" ? 3 : 1;
    return {
      nodes: [node(op, "x W R", "y", { hidden_size: 16 })],
      weights: { W: [1, gates * 16, 32], R: [1, gates * 16, 16] },
      feeds: { x: floats([5, 2, 32]) },
      outputs: ["y"],
    };
  };

  it.each(["GRU", "RNN"] as const)("%s keeps its arithmetic, and its weights become codes", async (op) => {
    expect(await expectNear(recurrent(op))).toEqual({ [op]: 1, Cast: 2, Mul: 2 });
    const { report } = await rewritten(recurrent(op));
    expect(report.tensors.map(({ to }) => to)).toEqual(["int8", "int8"]);
    expect(remarksOf(report)).toContain(
      "2 weights are stored as codes, and the layer computes in floating point as before " +
        `(${op}: has no dynamic form in ${op})`,
    );
    expect(await expectNear(recurrent(op), { opTypes: [op] })).toEqual({ [op]: 1, Cast: 2, Mul: 2 });
  });

  it("a GRU stands beside integer layers in one file", async () => {
    const model = recurrent("GRU");
    const both: Sketch = {
      ...model,
      nodes: [...model.nodes, node("MatMul", "x w", "z")],
      weights: { ...model.weights, w: [32, 24] },
      outputs: ["y", "z"],
    };
    expect(await expectNear(both)).toMatchObject({ GRU: 1, MatMulInteger: 1 });
  });

  it("a Gemm with a factor, a MatMul that takes its weight on its left or has it turned round, ConvTranspose", async () => {
    const model: Sketch = {
      nodes: [
        node("Gemm", "x w", "a", { alpha: { float: 2 } }),
        node("MatMul", "l x", "b"),
        node("Transpose", "t", "u", { perm: [2, 1, 0] }),
        node("MatMul", "x u", "c"),
        node("ConvTranspose", "i k", "d"),
      ],
      weights: { w: [32, 16], l: [48, 8], t: [24, 32, 2], k: [4, 6, 3, 3] },
      feeds: { x: floats([8, 32]), i: floats([1, 4, 5, 5]) },
      outputs: ["a", "b", "c", "d"],
    };
    const { report } = await rewritten(model);
    expect(report.tensors.map(({ to }) => to)).toEqual(["int8", "int8", "int8", "int8"]);
    expect(Object.keys(await expectNear(model))).not.toContain("MatMulInteger");
    const remarks = remarksOf(report).join("\n");
    for (const why of ["Gemm with alpha 2", "MatMul takes it on its left", "from Transpose", "in ConvTranspose"]) {
      expect(remarks).toContain(why);
    }
  });

  it("says both reasons where a weight stays as it is", async () => {
    const model: Sketch = {
      nodes: [node("MatMul", "l x", "y"), node("MatMul", "x w", "z")],
      weights: { l: [3, 8], w: [32, 16] },
      feeds: { x: floats([8, 32]) },
      outputs: ["y", "z"],
    };
    expect((await rewritten(model)).reasons).toEqual(["MatMul takes it on its left; would not get smaller", undefined]);
  });

  it("a weight that is codes for one node and floats for another is stored so once, and the report says that", async () => {
    const model: Sketch = {
      opset: 12,
      nodes: [
        node("MatMul", "x w", "y"),
        node("MatMul", "w t", "z"),
        node("Einsum", "u w", "q", { equation: "ij,kj->ik" }),
      ],
      weights: { w: [64, 128] },
      feeds: { x: floats([2, 64]), t: floats([128, 3]), u: floats([2, 128]) },
      outputs: ["y", "z", "q"],
    };
    const { bytes, report } = await rewritten(model);
    expect(remarksOf(report)).toContain("stored as codes and as before, as some nodes take it as it was: w");
    const names = readGraph(graphIn(bytes)).initializers.map(({ name }) => name);
    expect(names.toSorted()).toEqual(["w", "w_quantized", "w_scale", "w_zero_point"]);
  });

  it("the bias of an integer LSTM is a float tensor like others", async () => {
    const lstm: Sketch = {
      nodes: [node("LSTM", "x W R B", "y", { hidden_size: 16 })],
      weights: { W: [1, 64, 32], R: [1, 64, 16], B: [1, 128] },
      feeds: { x: floats([5, 2, 32]) },
      outputs: ["y"],
    };
    for (const dtype of ["int8", "uint8"] as const) {
      const { report, ops } = await rewritten(lstm, { dtype });
      expect(ops).toMatchObject({ DynamicQuantizeLSTM: 1 });
      const remarks = remarksOf(report).join("\n");
      expect(remarks).not.toContain("quantized already");
      // Its weights are int8 whatever the type, so another type does not help.
      expect(remarks).toMatch(/16-bit sums saturate; if such processors matter: reduceRange: true$/m);
    }
  });

  it("of low opsets are not raised for integer layers that there are none of", async () => {
    const { report } = await rewritten({ ...layers, nodes: layers.nodes.slice(0, 2), opset: 9, outputs: ["z"] });
    expect(remarksOf(report).join()).not.toContain("raised");
  });
});

describe("like: onnxruntime", () => {
  const like = { like: "onnxruntime" } as const;

  it("makes the tool's choices: Conv with one scale, no scales per channel, nothing for other layers", async () => {
    const { ops, bytes, report } = await rewritten(layers, like);
    expect(ops).toMatchObject({ ConvInteger: 1, MatMulInteger: 1 });
    expect(tensorIn(bytes, "w_scale").shape).toEqual([]);
    expect(remarksOf(report)).toContain("the choices of ONNX Runtime's quantize_dynamic (like: onnxruntime)");
    const perChannel = (await rewritten(layers, { ...like, perChannel: true })).bytes;
    expect(tensorIn(perChannel, "w_scale").shape).toEqual([8]);
    expect(tensorIn(perChannel, "k_scale").shape).toEqual([]);
    // What is true of the file is said, whoever's choice it is.
    const words =
      "1 Conv as ConvInteger, which is slower than Conv in ONNX Runtime on CPUs; ONNX Runtime before 1.24 does not";
    expect(remarksOf(report).join("\n")).toContain(words);
    const uint8 = (await rewritten(layers, { ...like, dtype: "uint8" })).bytes;
    expect(valuesOf(tensorIn(uint8, "k_zero_point"))).not.toEqual([128]);
  });

  it("leaves weights in subgraphs alone, as the tool does by default", async () => {
    const branch = (output: string, seed: number) => ({
      graph: graph({
        nodes: [node("MatMul", `x ${output}_w`, output)],
        initializers: [drawnTensor(`${output}_w`, [16, 8], seed)],
        outputs: [value(output, "float32")],
      }),
    });
    const model: Sketch = {
      nodes: [
        node("If", "c", "z", { then_branch: branch("p", 1), else_branch: branch("q", 2) }),
        node("MatMul", "x w", "y"),
      ],
      weights: { w: [16, 8] },
      feeds: { x: floats([3, 16]), c: { dims: [], data: Uint8Array.of(1) } },
      outputs: ["y", "z"],
    };
    expect((await rewritten(model)).ops).toMatchObject({ MatMulInteger: 3 });
    const { ops, reasons } = await rewritten(model, like);
    expect(ops).toMatchObject({ MatMulInteger: 1, MatMul: 2 });
    const why = "in a subgraph, which the tool leaves";
    expect(reasons).toEqual([undefined, why, why]);
  });

  it("has 4-bit matrices in blocks of 128 with zero points, and of MatMul alone", async () => {
    const model: Sketch = {
      nodes: [node("MatMul", "x w", "y"), node("Gemm", "x g", "z")],
      weights: { w: [256, 32], g: [256, 32] },
      feeds: { x: floats([3, 256]) },
      outputs: ["y", "z"],
    };
    const { ops, bytes, report } = await rewritten(model, { mode: undefined, dtype: "int4", ...like });
    expect(ops).toEqual({ MatMulNBits: 1, Gemm: 1 });
    expect(tensorIn(bytes, "w_scales").shape).toEqual([32, 2]);
    expect(tensorIn(bytes, "w_zero_points")).toBeDefined();
    expect(remarksOf(report)).toContain("the choices of ONNX Runtime's MatMulNBitsQuantizer (like: onnxruntime)");
  });

  it.each<[QuantizeModelOptions, string]>([
    [{ mode: undefined }, 'like: is for the mode dynamic and for nbits; the tool has no weights in the format "cast"'],
    [{ mode: undefined, format: "qdq" }, "like: is for the mode dynamic and for nbits"],
    [{ mode: undefined, dtype: "float16" }, "like: is for integers"],
    [{ target: "node" }, "target: like makes the choices of the tool"],
    [{ mode: undefined, target: "webgpu" }, "target: like makes the choices of the tool"],
  ])("%o is refused", async (options, message) => {
    await expect(rewritten(layers, { ...like, ...options })).rejects.toThrow(message);
  });

  it("knows one tool", async () => {
    await expect(rewritten(layers, { like: "olive" as never })).rejects.toThrow('like: "olive" given; onnxruntime');
  });
});
