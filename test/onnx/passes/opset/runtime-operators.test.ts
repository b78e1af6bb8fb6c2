import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { quantizerOf } from "../../../helpers/quantized.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { floats, nearness, opsIn, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Operators that ONNX Runtime has under ONNX's own domain pass through a raised opset, and forms that need a newer opset
// raise it by themselves; where that cannot be, the error names the node and advises nothing that fails as well.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const normalization = (op: string) =>
  op === "ThresholdedRelu"
    ? node(op, "x", "n", { alpha: { float: 0.1 } })
    : node(op, op.startsWith("Simplified") ? "x s" : "x s b", "n", { axis: -1, epsilon: { float: 1e-5 } });

const normalized = (op: string, opset: number): Sketch => ({
  opset,
  nodes: [normalization(op), node("MatMul", "n w", "y")],
  weights: { s: [32], w: [32, 24], ...(op.startsWith("Simplified") ? {} : { b: [32] }) },
  feeds: { x: floats([3, 32]) },
  outputs: ["y"],
});

describe("pass through", () => {
  it.each([
    ["SimplifiedLayerNormalization", 17],
    ["SimplifiedLayerNormalization", 13],
    ["LayerNormalization", 13],
    ["ThresholdedRelu", 9],
  ])("%s, from opset %i to 21", async (op, opset) => {
    const before = sketch(normalized(op, opset));
    for (const options of [{ opset: 21 }, { format: "qdq", dtype: "int4", blockSize: 16 }] as const) {
      const { bytes, report } = await quantized(before, options);
      expect(opsIn(bytes)).toMatchObject({ [op]: 1 });
      expect(remarksOf(report).join("\n")).toContain(`opset ${opset} raised to 21`);
      expect(await nearness(before, bytes, normalized(op, opset).feeds)).toBeGreaterThan(12);
    }
  });
});

describe("do not pass", () => {
  it.each(["Affine", "Crop", "ImageScaler", "ParametricSoftplus", "Scale"])(
    "%s, which ONNX Runtime has up to opset 9 alone",
    async (op) => {
      const before = sketch({
        opset: 9,
        nodes: [node(op, "x", "n"), node("MatMul", "n w", "y")],
        weights: { w: [32, 24] },
        feeds: { x: floats([3, 32]) },
        outputs: ["y"],
      });
      await expect(quantized(before, { format: "qdq" })).rejects.toThrow(
        `${op} "${op}_of_n" is not an operator of ONNX`,
      );
      expect((await quantized(before)).report.tensors[0]!.to).toBe("int8");
    },
  );
});

describe("are raised by themselves", () => {
  const model = (opset: number): Sketch => ({
    opset,
    nodes: [node("MatMul", "x w", "h"), node("Conv", "i k", "z"), node("Relu", "h", "y")],
    weights: { w: [32, 24], k: [8, 4, 3, 3] },
    feeds: { x: floats([3, 32]), i: floats([1, 4, 7, 7]) },
    outputs: ["y", "z"],
  });

  it.each([
    [{ format: "qdq" }, 9, 13, "DequantizeLinear per channel"],
    [{ format: "qdq", perChannel: false }, 9, 10, "DequantizeLinear"],
    [{ format: "qdq", dtype: "int16" }, 13, 21, "DequantizeLinear of int16"],
    [{ format: "qdq", dtype: "int4", blockSize: 16 }, 13, 21, "DequantizeLinear in blocks"],
  ] as const)("%o from opset %i to %i", async (options, from, to, what) => {
    const before = sketch(model(from));
    const { bytes, report } = await quantized(before, options);
    expect(remarksOf(report)).toContain(`opset ${from} raised to ${to}, which ${what} (format "qdq") needs`);
    expect(await nearness(before, bytes, model(from).feeds)).toBeGreaterThan(12);
  });

  it("unless a node cannot be raised: the error says what needs it, and the form that does not", async () => {
    const strange: Sketch = { ...model(9), nodes: [...model(9).nodes, node("BoxScaler", "y", "b")] };
    await expect(quantized(sketch(strange), { format: "qdq" })).rejects.toThrow(
      /^model\.onnx: BoxScaler "BoxScaler_of_b" is not an operator of ONNX up to opset \d+; take the format "cast"$/,
    );
    expect((await quantized(sketch(strange))).report.tensors.map(({ to }) => to)).toEqual(["int8", "int8"]);
    await expect(quantized(sketch(strange), { format: "qdq", dtype: "int4" })).rejects.toThrow(
      /; DequantizeLinear of int4 \(format "qdq"\) needs opset 21$/,
    );
    await expect(quantized(sketch(strange), { mode: "dynamic" })).rejects.toThrow(
      /; DynamicQuantizeLinear needs opset 11$/,
    );
  });
});
