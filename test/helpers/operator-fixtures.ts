import { node, value } from "./onnx-build.ts";
import { tensor } from "./onnx-tensors.ts";
import { bias, type Fixture, given, matrix, modelOf, single, type Weight, wide, x32 } from "./weight-fixtures.ts";

export const ops: Readonly<Record<string, Fixture>> = {
  "Gemm with everything": single(
    { ...matrix, shape: [24, 32], channel: 0, block: 1 },
    {
      op: "Gemm",
      x: [32, 2],
      attributes: { transA: 1, transB: 1, alpha: { float: 0.5 } },
    },
  ),
  "Gemm with a constant A": single({ shape: [24, 32], channel: 0, block: 1 }, { op: "Gemm", x: [32, 2], left: true }),
  "Gemm with a constant A, transposed": single(matrix, {
    op: "Gemm",
    x: [32, 2],
    left: true,
    attributes: { transA: 1 },
  }),
  "Gemm with a bias": {
    weights: { W: matrix },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Gemm", "x W b", "y", { beta: { float: 2 } })],
        initializers: [w("W"), bias("b", 24)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
  },
  "MatMul from the left": single({ shape: [24, 32], channel: 0, block: 1 }, { op: "MatMul", x: [32, 2], left: true }),
  "MatMul in batches": single({ shape: [3, 32, 24], channel: 2, block: 1 }, { op: "MatMul", x: [3, 2, 32] }),
  "MatMul in batches from the left": single(
    { shape: [3, 24, 32], channel: 1, block: 2 },
    { op: "MatMul", x: [3, 32, 2], left: true },
  ),
  "MatMul by a vector": single({ shape: [512], block: 0, oneRow: true }, { op: "MatMul", x: [2, 512] }),
  "MatMul by a vector from the left": single(
    { shape: [512], block: 0, oneRow: true },
    { op: "MatMul", x: [512, 2], left: true },
  ),
  "blocks with a tail": single({ shape: [40, 24], channel: 1, block: 0 }, { op: "MatMul", x: [2, 40] }),
  "blocks longer than their axis": single({ shape: [8, 96], channel: 1, block: 0 }, { op: "MatMul", x: [2, 8] }),
  "all zeros": single({ ...matrix, size: 0 }, { op: "MatMul", x: [2, 32] }),
  "Conv over one dimension": single({ shape: [32, 8, 5], channel: 0, block: 1 }, { op: "Conv", x: [1, 8, 9] }),
  Conv: single({ shape: [16, 8, 3, 3], channel: 0, block: 1 }, { op: "Conv", x: [1, 8, 6, 6] }),
  "Conv over three dimensions": single(
    { shape: [16, 4, 3, 3, 3], channel: 0, block: 1 },
    { op: "Conv", x: [1, 4, 5, 5, 5] },
  ),
  "Conv in groups": single(
    { shape: [16, 8, 3, 3], channel: 0, block: 1 },
    { op: "Conv", x: [1, 16, 6, 6], attributes: { group: 2 } },
  ),
  "depthwise Conv": single(
    { shape: [48, 1, 5, 5], channel: 0, block: 1, short: true },
    { op: "Conv", x: [1, 48, 7, 7], attributes: { group: 48 } },
  ),
  ConvTranspose: single({ shape: [8, 16, 3, 3], channel: 1, block: 0 }, { op: "ConvTranspose", x: [1, 8, 5, 5] }),
  "ConvTranspose in groups": single(
    { shape: [16, 8, 3, 3], channel: 1, block: 0 },
    { op: "ConvTranspose", x: [1, 16, 5, 5], attributes: { group: 4, strides: [2, 2] } },
  ),
  "Einsum with the weight second": single(matrix, {
    op: "Einsum",
    x: [3, 2, 32],
    attributes: { equation: "bik,kj->bij" },
  }),
  "Einsum with the weight first": single(
    { shape: [24, 32], channel: 0, block: 1 },
    {
      op: "Einsum",
      x: [3, 2, 32],
      left: true,
      attributes: { equation: "jk, bik -> bij" },
    },
  ),
  "Einsum with heads": single(
    { shape: [32, 4, 6], channel: 2, block: 0 },
    {
      op: "Einsum",
      x: [3, 2, 32],
      attributes: { equation: "bik,khd->bihd" },
    },
  ),
  "Einsum that leaves its result unsaid": single(
    { shape: [32, 24], block: 1 },
    {
      op: "Einsum",
      x: [2, 32],
      attributes: { equation: "ij,jk" },
    },
  ),
  "bidirectional LSTM": recurrent("LSTM", 4, 8, "bidirectional"),
  LSTM: recurrent("LSTM", 4, 12, "forward"),
  "bidirectional GRU": recurrent("GRU", 3, 8, "bidirectional"),
  "reverse GRU": recurrent("GRU", 3, 16, "reverse"),
  "bidirectional RNN": recurrent("RNN", 1, 16, "bidirectional"),
  "FusedMatMul of com.microsoft": single(
    { shape: [24, 32], channel: 0, block: 1 },
    {
      op: "FusedMatMul",
      x: [2, 32],
      attributes: { transB: 1 },
      domain: "com.microsoft",
    },
  ),
  "Attention of com.microsoft": {
    weights: { W: { shape: [32, 96], channel: 1, block: 0 } },
    feeds: [{ x: given([2, 5, 32]) }],
    build: (w, opset) =>
      modelOf(
        opset,
        {
          nodes: [node("Attention", "x W b", "y", { num_heads: 4 }, { domain: "com.microsoft" })],
          initializers: [w("W"), bias("b", 96)],
          inputs: [value("x", "float32[2,5,32]")],
          outputs: [value("y", "float32")],
        },
        { "com.microsoft": 1 },
      ),
  },
  "given out as it is": single(
    matrix,
    { op: "MatMul", x: [2, 32] },
    {
      outputs: [value("y", "float32"), value("W", "float32[32,24]")],
    },
  ),
  "of float16": {
    weights: { W: { ...wide, type: "float16", stays: ["cast int16"] } },
    feeds: [x32],
    near: 2e-3,
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("MatMul", "x W", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float16[2,32]")],
        outputs: [value("y", "float16"), value("W", "float16[32,96]")],
      }),
  },
  "of float16, subnormal": {
    weights: { W: { ...wide, type: "float16", size: 1e-6, stays: ["cast int16"] } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Cast", "W", "V", { to: 1 }), node("MatMul", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32"), value("W", "float16[32,96]")],
      }),
  },
  "of bfloat16, tiny": {
    weights: { W: { ...wide, type: "bfloat16", size: 1e-30, stays: ["cast int16"] } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Cast", "W", "V", { to: 1 }), node("MatMul", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32"), value("V", "float32")],
      }),
  },
  "beside names that would be taken": {
    weights: { W: matrix },
    feeds: [{ ...x32, W_quantized_1: given([1]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Add", "x W_scale", "W_cast", {}, { name: "W_Cast_node" }),
          node("Relu", "W_cast", "W_zero_point", {}, { name: "W_Mul_node" }),
          node("MatMul", "W_zero_point W", "W_offset", {}, { name: "W_offset_node" }),
          node("Add", "W_offset W_quantized", "y", {}, { name: "W_DequantizeLinear_node" }),
        ],
        initializers: [bias("W_quantized", 24), bias("W_scale", 32), w("W"), bias("block_of_16_in_32", 1)],
        inputs: [value("x", "float32[2,32]"), value("W_quantized_1", "float32[1]")],
        outputs: [value("y", "float32")],
        values: [value("W_scale_1", "float32"), value("W_zero_point_1", "float32")],
      }),
  },
};

export function recurrent(op: "LSTM" | "GRU" | "RNN", gates: number, hidden: number, direction: string): Fixture {
  const directions = direction === "bidirectional" ? 2 : 1;
  const layer = (inputs: number): Weight => ({
    shape: [directions, gates * hidden, inputs],
    channel: [0, 1],
    single: 1,
    block: 2,
  });
  return {
    weights: { W: layer(20), R: layer(hidden) },
    feeds: [{ x: given([5, 1, 20]) }],
    near: 1e-5,
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node(op, "x W R B", "y", { hidden_size: hidden, direction })],
        initializers: [
          w("W"),
          w("R"),
          tensor("B", "float32", [directions, 2 * gates * hidden], new Float32Array(directions * 2 * gates * hidden)),
        ],
        inputs: [value("x", "float32[5,1,20]")],
        outputs: [value("y", "float32")],
      }),
  };
}
