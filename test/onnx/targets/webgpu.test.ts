import { describe, expect, it } from "vitest";
import { bytesSource } from "../../../src/index.ts";
import { readModel } from "../../../src/onnx/io/decode.ts";
import { Scope } from "../../../src/onnx/ir/scopes.ts";
import { findingsFor } from "../../../src/onnx/targets/target-findings.ts";
import { formsOn } from "../../../src/onnx/targets/target-forms.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import {
  type Case,
  type Constant,
  findings,
  gather,
  image,
  integer,
  matMul,
  modelOf,
  ms,
  nbits,
  restored,
  said,
  typed,
  unary,
} from "../../helpers/target-models.ts";
import { type Placement, placementsOf } from "../../helpers/webgpu-placement.ts";
import type { TypeName } from "../../helpers/wire-fields.ts";

// What is said of WebGPU, held against where the installed build puts the nodes.
const pool = { kernel_shape: [2, 2] };
const codesOf = (type: TypeName): Constant => ["t", type, [10, 64]];
const forGpu: Readonly<Record<string, Case>> = {
  ...Object.fromEntries(
    [
      ...["Abs", "Ceil", "Erf", "Exp", "Gelu", "HardSwish", "LeakyRelu", "LogSoftmax", "Neg", "Not", "Relu", "Round"],
      ...["Selu", "Sigmoid", "Sign", "Softmax", "Softplus", "Softsign", "Tanh", "Transpose"],
    ]
      .filter((op) => op !== "Not")
      .map((op) => [op, unary(op)]),
  ),
  ...Object.fromEntries(
    ["Cos", "Elu", "Sin", "ThresholdedRelu"].map((op) => [`${op}, opset 22`, unary(op, {}, { opset: 22 })]),
  ),
  "MaxPool, opset 21": unary("MaxPool", pool, image),
  "MaxPool, opset 22": unary("MaxPool", pool, { ...image, opset: 22 }),
  "AveragePool, opset 22": unary("AveragePool", pool, { ...image, opset: 22 }),
  LRN: unary("LRN", { size: 3 }, image),
  Conv: { nodes: [node("Conv", "x w", "y", {}, { name: "n" })], constants: [["w", "float32", [8, 4, 3, 3]]], ...image },
  LSTM: {
    nodes: [node("LSTM", "x w r", "y", { hidden_size: 8 }, { name: "n" })],
    constants: [
      ["w", "float32", [1, 32, 16]],
      ["r", "float32", [1, 32, 8]],
    ],
    x: "float32[3,1,16]",
  },
  MatMulInteger: integer("MatMulInteger", "uint8", "int8"),
  ConvInteger: integer("ConvInteger", "uint8", "uint8"),
  DynamicQuantizeLinear: {
    nodes: [node("DynamicQuantizeLinear", "x", "q s z", {}, { name: "n" }), node("DequantizeLinear", "q s z", "y")],
  },
  ...Object.fromEntries(
    (["int8", "uint8", "int4", "uint4", "int16", "uint16"] as const).flatMap((type) => [
      [`DequantizeLinear of ${type}`, restored(type, [8], matMul, [64, 8])],
    ]),
  ),
  ...Object.fromEntries(
    (["int8", "uint8", "int16"] as const).map((type) => {
      const nodes = [
        node("Cast", "x", "i", { to: 7 }),
        node("Gather", "t i", "g", {}, { name: "n" }),
        node("Cast", "g", "y", { to: 1 }),
      ];
      return [`Gather of ${type}`, { nodes, constants: [codesOf(type)] }];
    }),
  ),
  "MatMulNBits 4": nbits({}),
  "MatMulNBits 8": nbits({ bits: 8 }),
  "MatMulNBits 2, float16": nbits({ bits: 2, type: "float16" }),
  "MatMulNBits 4, packed zero points": nbits({ zeros: "uint8" }),
  "MatMulNBits 4, zero points in float32": nbits({ zeros: "float32" }),
  "MatMulNBits 3": nbits({ bits: 3, block: 128 }),
  "GatherBlockQuantized int4": gather("int4", 4),
  "GatherBlockQuantized uint8": gather("uint8", 8),
  "GatherBlockQuantized uint8, 2 bits": gather("uint8", 2),
  "com.microsoft.DequantizeLinear": {
    nodes: [node("DequantizeLinear", "w s", "wf", {}, { ...ms, name: "n" }), node("MatMul", "x wf", "y")],
    constants: [
      ["w", "int8", [64, 8]],
      ["s", "float32", []],
    ],
  },
  ...Object.fromEntries(
    (["int32", "uint32", "int64", "float64", "float16", "int8", "bfloat16"] as const).map((type) => [
      `Add in ${type}`,
      typed("Add", type, "c c"),
    ]),
  ),
  "Slice in int32": typed("Slice", "int32", "c a b", [
    ["a", "int64", [1], 0],
    ["b", "int64", [1], 1],
  ]),
  "an op of ai.onnx.ml": {
    nodes: [node("Normalizer", "x", "y", {}, { domain: "ai.onnx.ml", name: "n" })],
    domains: { "ai.onnx.ml": 1 },
  },
};

describe("webgpu", async () => {
  const cases = Object.entries(forGpu);
  const placements = await placementsOf(cases.map(([, each]) => modelOf(each)));
  it.each(cases.map(([name, each], i): [string, Case, Placement] => [name, each, placements[i]!]))(
    "%s",
    async (_, each, placement) => {
      const found = said(await findings("webgpu", each)).filter(({ node }) => node !== undefined);
      const fails = found.some(({ severity }) => severity === "fails");
      expect(fails, JSON.stringify(placement).slice(-600)).toBe("fails" in placement);
      if ("fails" in placement) return;
      const falls = found.some(({ severity, node }) => severity === "falls back" && node === "n");
      expect(falls, JSON.stringify(placement)).toBe(placement.cpu.includes("n") || placement.cpu.includes("*"));
    },
  );

  it("leaves arithmetic on shapes out: it belongs on the CPU", async () => {
    const nodes = [
      node("Shape", "x", "s"),
      node("Gather", "s zero", "b"),
      node("Unsqueeze", "b zeros", "u"),
      node("Concat", "u rest", "t", { axis: 0 }),
      node("Reshape", "x t", "y"),
    ];
    const constants: Constant[] = [
      ["zero", "int64", [], 0],
      ["zeros", "int64", [1], 0],
      ["rest", "int64", [1], -1],
    ];
    expect(await findings("webgpu", { nodes, constants })).toEqual([]);
  });

  it("tells of float16 and of large buffers", async () => {
    const half = await findings("webgpu", nbits({ type: "float16" }));
    expect(half).toEqual([
      expect.objectContaining({ severity: "depends", reason: expect.stringContaining("shader-f16") }),
    ]);
    const big = model({
      opsets: { "": 21 },
      graph: graph({
        nodes: [node("Gather", "t i", "y", {}, { name: "n" })],
        initializers: [
          tensor("t", "float32", [2 ** 26, 1], [], {
            store: { kind: "external", entries: { location: "t.data", offset: "0", length: String(2 ** 28) } },
          }),
        ],
        inputs: [value("i", "int64[1]")],
        outputs: [value("y", "float32")],
      }),
    });
    const read = await readModel(bytesSource(big, "m.onnx"));
    expect(findingsFor("webgpu", read, new Scope("m.onnx", read.graph))).toMatchObject([
      { node: "n", op: "Gather", severity: "fails", reason: expect.stringContaining("256 MiB") },
    ]);
  });
});

describe("forms", () => {
  it("those of webgpu stay on the GPU", async () => {
    const { cast, dequantize, table, nbits: many, convDtype, instead } = formsOn("webgpu");
    const cases = [
      ...cast.map((type): Case => {
        const nodes = [node("Cast", "w", "f", { to: 1 }), node("Mul", "f s", "wf"), matMul];
        return {
          nodes,
          constants: [
            ["w", type, [64, 8]],
            ["s", "float32", [8]],
          ],
        };
      }),
      ...dequantize.map((type) => restored(type, [8], matMul, [64, 8])),
      ...many.bits.map((bits) => nbits({ bits, zeros: "uint8" })),
      ...many.gatherBits.map((bits) => gather("uint8", bits)),
      forGpu[`Gather of ${table}`]!,
    ];
    for (const each of cases) expect(await findings("webgpu", each)).toEqual([]);
    expect([convDtype, instead]).toEqual([undefined, expect.stringContaining("MatMulNBits")]);
  });
});
