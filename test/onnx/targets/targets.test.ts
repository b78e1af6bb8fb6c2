import { describe, expect, it } from "vitest";
import { blockSizes } from "../../../src/engine/blockwise/quantize-matrix.ts";
import { bytesSource, createEngine, inspectModel } from "../../../src/index.ts";
import { formsOn } from "../../../src/onnx/targets/target-forms.ts";
import { f32, safetensorsFile } from "../../helpers/checkpoints.ts";
import { node } from "../../helpers/onnx-build.ts";
import { runtimes, withSession } from "../../helpers/sessions.ts";
import {
  type Case,
  conv,
  findings,
  gather,
  image,
  integer,
  matMul,
  modelOf,
  ms,
  nbits,
  quantize,
  restored,
  runs,
  said,
  typed,
  unary,
} from "../../helpers/target-models.ts";

// What is said of targets, held against the runtimes that are installed: when they are raised, this tells what has aged.
// WebGPU is in targets-webgpu.test.ts.
const engine = await createEngine();

const forCpu: Readonly<Record<string, Case>> = {
  "MatMulInteger u8 u8": integer("MatMulInteger", "uint8", "uint8"),
  "MatMulInteger u8 s8": integer("MatMulInteger", "uint8", "int8"),
  "MatMulInteger u8 s8, a zero point per column": integer("MatMulInteger", "uint8", "int8", [8]),
  "MatMulInteger s8 u8": integer("MatMulInteger", "int8", "uint8"),
  "ConvInteger u8 u8": integer("ConvInteger", "uint8", "uint8"),
  "ConvInteger u8 s8": integer("ConvInteger", "uint8", "int8"),
  "ConvInteger, a zero point per channel": integer("ConvInteger", "uint8", "uint8", [8]),
  "MatMulNBits 2": nbits({ bits: 2 }),
  "MatMulNBits 3": nbits({ bits: 3, block: 128 }),
  "MatMulNBits 4": nbits({}),
  "MatMulNBits 4, float16": nbits({ type: "float16" }),
  "MatMulNBits 4, packed zero points": nbits({ zeros: "uint8" }),
  "MatMulNBits 4, zero points in float32": nbits({ zeros: "float32" }),
  "MatMulNBits 8": nbits({ bits: 8 }),
  "MatMulNBits 8, zero points in float32": nbits({ bits: 8, zeros: "float32" }),
  "MatMulNBits, blocks of 8": nbits({ block: 8 }),
  "MatMulNBits, blocks of 16": nbits({ block: 16 }),
  "MatMulNBits, blocks of 256": nbits({ block: 256 }),
  "MatMulNBits, blocks of 512": nbits({ block: 512 }),
  "GatherBlockQuantized int4": gather("int4", 4),
  "GatherBlockQuantized uint8, 4 bits": gather("uint8", 4),
  "GatherBlockQuantized uint8, 8 bits": gather("uint8", 8),
  "GatherBlockQuantized uint8, 2 bits": gather("uint8", 2),
  "DequantizeLinear per channel": restored("int8", [8], matMul, [64, 8], { opset: 13 }),
  "DequantizeLinear per channel, opset 12": restored("int8", [8], matMul, [64, 8], { opset: 12 }),
  "DequantizeLinear of int4": restored("int4", [2, 8], matMul, [64, 8], {}, 0),
  "DequantizeLinear of int4, opset 20": restored("int4", [8], matMul, [64, 8], { opset: 20 }),
  "DequantizeLinear of int16, opset 19": restored("int16", [8], matMul, [64, 8], { opset: 19 }),
  "bfloat16 weights": {
    nodes: [node("Cast", "w", "wf", { to: 1 }), matMul],
    constants: [["w", "bfloat16", [64, 8], 0]],
  },
  ...Object.fromEntries(
    ["Erf", "Relu", "Sigmoid", "Softmax", "Sqrt", "Tanh"].map((op) => [`${op} in bfloat16`, typed(op, "bfloat16")]),
  ),
  ...Object.fromEntries(
    ["Add", "Div", "Mul", "Pow", "Sub", "MatMul"].map((op) => {
      return [`${op} in bfloat16`, typed(op, "bfloat16", "c w", [["w", "bfloat16", [64, 64], 0]])];
    }),
  ),
  "Transpose in bfloat16": typed("Transpose", "bfloat16"),
  BiasSplitGelu: {
    nodes: [node("BiasSplitGelu", "x b", "y", {}, { ...ms, name: "n" })],
    constants: [["b", "float32", [2560]]],
    x: "float32[1,4,2560]",
  },
  "an op of nobody": {
    nodes: [node("Foo", "x", "y", {}, { domain: "foo.bar", name: "n" })],
    domains: { "foo.bar": 1 },
  },
};

describe.each(["node", "web-wasm"] as const)("%s", (target) => {
  const open = target === "node" ? runtimes.node : runtimes.web;
  it.each(Object.entries(forCpu))("%s", async (_, each) => {
    const fails = said(await findings(target, each)).some(({ severity }) => severity === "fails");
    expect(await runs(open(modelOf(each)))).toBe(!fails);
  });
});

describe("node", () => {
  it.each([
    ["int8", []],
    ["int8", [8]],
    ["int8", [2, 8]],
    ["uint4", [8]],
    ["uint4", [2, 8]],
    ["int16", []],
  ] as const)(
    "MatMul behind DequantizeLinear of %s, scales %j: rounds activations if it is said to",
    async (codes, scale) => {
      const each = restored(codes, [...scale], matMul, [64, 8], {}, scale.length > 1 ? 0 : 1);
      const data = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i * 1.7));
      const output = (quickMatMul: boolean) =>
        withSession(runtimes.node(modelOf(each), { quickMatMul }), async (session) => {
          return (await session.run({ x: { data, dims: [2, 64] } })).y!.data as Float32Array;
        });
      const [quick, exact] = [await output(true), await output(false)];
      const off = Math.max(...exact.map((x, i) => Math.abs(x - quick[i]!))) > 1e-4;
      const isSaid = (await findings("node", each)).some(({ severity }) => severity === "inexact");
      expect(isSaid).toBe(off);
    },
  );

  it("what saturates, what is slow", async () => {
    const saturating = await findings("node", integer("MatMulInteger", "uint8", "int8"));
    expect(saturating).toMatchObject(
      [{ node: "n", op: "MatMulInteger", severity: "inexact", reason: /VNNI/ }].map((each) => ({
        ...each,
        reason: expect.stringMatching(each.reason),
      })),
    );
    expect(await findings("web-wasm", integer("MatMulInteger", "uint8", "int8"))).toEqual([]);
    expect(await findings("node", restored("int8", [], conv, [8, 4, 3, 3], image))).toMatchObject([
      { op: "Conv", severity: "slow" },
    ]);
    const table = restored("int8", [], node("Gather", "wf i", "y", {}, { name: "n" }), [10, 8]);
    const nodes = [node("Cast", "x", "i", { to: 7 }), ...table.nodes];
    expect(await findings("web-wasm", { ...table, nodes })).toMatchObject([{ op: "Gather", severity: "slow" }]);
    expect(await findings("node", typed("MatMul", "float16", "c w", [["w", "float16", [64, 64]]]))).toMatchObject([
      { op: "MatMul", severity: "slow" },
    ]);
  });

  it("older versions are named, and come last", async () => {
    const found = await findings("web-wasm", integer("ConvInteger", "uint8", "int8", [8]));
    expect(found.map(({ upTo }) => upTo)).toEqual([undefined, "1.23.2"]);
    expect(await findings("web-wasm", nbits({ bits: 2, type: "float16" }))).toMatchObject([{ upTo: "1.27.0" }]);
    expect(await findings("web-wasm", nbits({ bits: 8 }))).toMatchObject([{ upTo: "1.22.0" }]);
  });
});

describe("depthwise convolutions in 8 bits", () => {
  const group = { group: 4 };
  const depthwise = node("Conv", "x wf", "y", group, { name: "n" });
  const plain = restored("int8", [], depthwise, [4, 1, 3, 3], image);
  const dynamic = (scale: number[]): Case => {
    const { nodes, constants } = quantize("uint8");
    return {
      nodes: [
        ...nodes,
        node("ConvInteger", "xq w xz wz", "i", group, { name: "n" }),
        node("Cast", "i", "f", { to: 1 }),
        node("ReduceMax", "x", "as", { keepdims: 0 }),
        node("Mul", "as ws", "m"),
        node("Mul", "f m", "y"),
      ],
      constants: [...constants, ["w", "uint8", [4, 1, 3, 3]], ["wz", "uint8", [], 0], ["ws", "float32", scale]],
      ...image,
    };
  };
  it.each([
    ["DequantizeLinear, a scale for all", plain, true],
    ["DequantizeLinear, a scale per channel", restored("int8", [4], depthwise, [4, 1, 3, 3], image, 0), false],
    ["16 bits", restored("int16", [], depthwise, [4, 1, 3, 3], image), false],
    ["no groups", restored("int8", [], conv, [8, 4, 3, 3], image), false],
    ["ConvInteger, a scale for all", dynamic([]), true],
    ["ConvInteger, a scale per channel", dynamic([4, 1, 1]), false],
  ])("%s", async (_, each, expected) => {
    for (const target of ["node", "web-wasm", "webgpu"] as const) {
      const found = (await findings(target, each)).filter(({ severity }) => severity === "inexact");
      expect(found.map(({ node, op }) => ({ node, op }))).toEqual(
        expected ? [{ node: "n", op: expect.stringMatching(/^Conv/) }] : [],
      );
    }
  });
});

describe("forms", () => {
  it.each(["node", "web-wasm"] as const)("those of integers run in %s", async (target) => {
    const { convDtype, nbits: many } = formsOn(target);
    const open = target === "node" ? runtimes.node : runtimes.web;
    const conv = integer("ConvInteger", "uint8", convDtype!);
    expect((await findings(target, conv)).filter(({ severity }) => severity === "fails")).toEqual([]);
    const cases = [
      conv,
      ...blockSizes.map((block) => nbits({ block })),
      ...many.bits.map((bits) => nbits({ bits })),
      ...many.gatherBits.map((bits) => gather("uint8", bits)),
    ];
    for (const each of cases) expect(await runs(open(modelOf(each)))).toBe(true);
  });
});

describe("what may be asked", () => {
  it("refuses targets that there are not, and files of tensors", async () => {
    const source = bytesSource(modelOf(unary("Relu")), "m.onnx");
    await expect(inspectModel(engine, source, { target: "mars" as never })).rejects.toThrow(/^target: "mars" given/);
    const tensors = bytesSource(await safetensorsFile([f32("w", [8, 64])]), "t.safetensors");
    await expect(inspectModel(engine, tensors, { target: "node" })).rejects.toThrow(/^target: is for ONNX/);
  });

  it("says nothing of targets if it is not asked", async () => {
    const inspection = await inspectModel(
      engine,
      bytesSource(modelOf(integer("ConvInteger", "uint8", "int8")), "m.onnx"),
    );
    expect("findings" in inspection).toBe(false);
  });
});
