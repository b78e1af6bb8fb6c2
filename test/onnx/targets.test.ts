import { describe, expect, it } from "vitest";
import { bytesSource, createEngine, inspectModel, type Target, type TargetFinding } from "../../src/index.ts";
import { formsOn } from "../../src/onnx/targets/forms.ts";
import {
  type AttributeSpec,
  graph,
  model,
  node,
  type TypeName,
  tensor,
  typeCodes,
  value,
} from "../helpers/onnx-build.ts";
import { runtimes, type Session, withSession } from "../helpers/sessions.ts";
import { type Placement, placementsOf } from "../helpers/webgpu-placement.ts";

// What is said of targets, held against the runtimes that are installed: when they are raised, this tells what has aged.
const engine = await createEngine();

type Constant = readonly [name: string, type: TypeName, dims: readonly number[], fill?: number];

interface Case {
  readonly nodes: readonly Uint8Array[];
  readonly constants?: readonly Constant[];
  readonly x?: string;
  readonly opset?: number;
  readonly domains?: Readonly<Record<string, number>>;
}

const small = (type: TypeName, dims: readonly number[]) => {
  const count = dims.reduce((a, b) => a * b, 1);
  return type === "int4" || type === "uint4" ? new Uint8Array(Math.ceil(count / 2)).fill(0x21) : undefined;
};

/** A model from x to y; constants hold one value all over. */
function modelOf({ nodes, constants = [], x = "float32[2,64]", opset = 21, domains = { "com.microsoft": 1 } }: Case) {
  return model({
    ir: 10,
    opsets: { "": opset, ...domains },
    graph: graph({
      nodes,
      initializers: constants.map(([name, type, dims, fill = 1]) => {
        const count = dims.reduce((a, b) => a * b, 1);
        return tensor(name, type, dims, small(type, dims) ?? new Array<number>(count).fill(fill));
      }),
      inputs: [value("x", x)],
      outputs: [value("y", "float32")],
    }),
  });
}

const ms = { domain: "com.microsoft" };
const quantize = (type: "int8" | "uint8") => ({
  nodes: [node("QuantizeLinear", "x xs xz", "xq")],
  constants: [["xs", "float32", [], 1] as const, ["xz", type, [], 0] as const],
});

function integer(
  op: "MatMulInteger" | "ConvInteger",
  a: "int8" | "uint8",
  b: "int8" | "uint8",
  zeros: number[] = [],
): Case {
  const { nodes, constants } = quantize(a);
  const isConv = op === "ConvInteger";
  const shape = isConv ? [8, 4, 3, 3] : [64, 8];
  return {
    nodes: [...nodes, node(op, "xq w xz wz", "i", {}, { name: "n" }), node("Cast", "i", "y", { to: 1 })],
    constants: [...constants, ["w", b, shape], ["wz", b, zeros, 0]],
    x: isConv ? "float32[1,4,8,8]" : "float32[2,64]",
  };
}

interface NBits {
  readonly bits?: number;
  readonly block?: number;
  readonly zeros?: TypeName;
  readonly type?: "float32" | "float16";
}

function nbits({ bits = 4, block = 32, zeros, type = "float32" }: NBits): Case {
  const blocks = 512 / block;
  const attributes = { K: 512, N: 8, bits, block_size: block };
  const dims = zeros === "uint8" ? [8, Math.ceil((blocks * bits) / 8)] : [8, blocks];
  const inside = node("MatMulNBits", `h w s${zeros ? " z" : ""}`, "i", attributes, { ...ms, name: "n" });
  const to = { to: typeCodes[type] };
  return {
    nodes: [node("Cast", "x", "h", to), inside, node("Cast", "i", "y", { to: 1 })],
    constants: [
      ["w", "uint8", [8, blocks, (block * bits) / 8]],
      ["s", type, [8, blocks], type === "float16" ? 0x2e66 : 0.1],
      ...(zeros ? [["z", zeros, dims, 8] as const] : []),
    ],
    x: "float32[2,512]",
  };
}

function gather(data: TypeName, bits: number): Case {
  const width = data === "uint8" ? (128 * bits) / 8 : 128;
  const attributes = { gather_axis: 0, quantize_axis: 1, block_size: 32, bits };
  return {
    nodes: [
      node("Cast", "x", "i", { to: 7 }),
      node("GatherBlockQuantized", "w i s", "y", attributes, { ...ms, name: "n" }),
    ],
    constants: [
      ["w", data, [10, width]],
      ["s", "float32", [10, 4]],
    ],
  };
}

/** Codes behind a node that restores them, then a use of the float weight. */
function restored(
  codes: TypeName,
  scale: number[],
  use: Uint8Array,
  shape: number[],
  rest: Partial<Case> = {},
  axis = 1,
): Case {
  const attributes: Record<string, AttributeSpec> = scale.length > 0 ? { axis } : {};
  if (scale.length > 1) attributes.block_size = shape[axis]! / scale[axis]!;
  return {
    nodes: [node("DequantizeLinear", "w s", "wf", attributes), use],
    constants: [
      ["w", codes, shape, 3],
      ["s", "float32", scale, 0.1],
    ],
    ...rest,
  };
}

const matMul = node("MatMul", "x wf", "y", {}, { name: "n" });
const conv = node("Conv", "x wf", "y", {}, { name: "n" });
const image = { x: "float32[1,4,8,8]" };

const unary = (op: string, attributes = {}, rest: Partial<Case> = {}): Case => ({
  nodes: [node(op, "x", "y", attributes, { name: "n" })],
  ...rest,
});
/** An op between two casts. */
const typed = (op: string, type: TypeName, inputs = "c", constants: Case["constants"] = []): Case => ({
  nodes: [
    node("Cast", "x", "c", { to: typeCodes[type] }, { name: "first" }),
    node(op, inputs, "d", {}, { name: "n" }),
    node("Cast", "d", "y", { to: 1 }, { name: "last" }),
  ],
  constants,
});

async function findings(target: Target, each: Case): Promise<readonly TargetFinding[]> {
  const inspection = await inspectModel(engine, bytesSource(modelOf(each), "m.onnx"), { target });
  return "findings" in inspection ? inspection.findings! : [];
}

/** What the current version does, as far as it is said. */
const said = (all: readonly TargetFinding[]) => all.filter(({ upTo }) => upTo === undefined);

async function runs(open: Promise<Session>): Promise<boolean> {
  try {
    return await withSession(open, async (session) => {
      const { name, shape } = session.inputs[0]!;
      const count = (shape as number[]).reduce((a, b) => a * b, 1);
      const data = Float32Array.from({ length: count }, (_, i) => (i % 7) * 0.3);
      await session.run({ [name]: { data, dims: shape as number[] } });
      return true;
    });
  } catch {
    return false;
  }
}

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
    expect(await findings("web-wasm", nbits({ bits: 2, type: "float16" }))).toMatchObject([{ upTo: "1.24.3" }]);
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
    ["Cos", "Elu", "HardSwish", "Sin", "ThresholdedRelu"].map((op) => [
      `${op}, opset 22`,
      unary(op, {}, { opset: 22 }),
    ]),
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
      expect(fails, JSON.stringify(placement)).toBe("fails" in placement);
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
      expect.objectContaining({ severity: "fails", reason: expect.stringContaining("shader-f16") }),
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
    const data = { name: "t.data", byteLength: 2 ** 28, slice: async (a: number, b: number) => new Uint8Array(b - a) };
    const source = { ...bytesSource(big, "m.onnx"), sibling: async () => data };
    const abort = AbortSignal.abort(new Error("enough"));
    // What is known of nodes needs no weight, but the whole report does.
    await expect(inspectModel(engine, source as never, { target: "webgpu", signal: abort })).rejects.toThrow();
  });
});

describe("forms", () => {
  it.each(["node", "web-wasm"] as const)("those of integers run in %s", async (target) => {
    const { integers, nbits: many } = formsOn(target);
    const open = target === "node" ? runtimes.node : runtimes.web;
    for (const op of ["MatMulInteger", "ConvInteger"] as const) {
      const each = integer(op, "uint8", integers[op]!);
      expect(await runs(open(modelOf(each)))).toBe(true);
      expect((await findings(target, each)).filter(({ severity }) => severity === "fails")).toEqual([]);
    }
    for (const block of many.blockSizes) expect(await runs(open(modelOf(nbits({ block }))))).toBe(true);
    for (const bits of many.floatZeroPoints) {
      expect(await runs(open(modelOf(nbits({ bits, zeros: "float32" }))))).toBe(true);
    }
  });

  it("those of webgpu stay on the GPU", async () => {
    const { cast, dequantize, table, nbits: many, integers } = formsOn("webgpu");
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
    expect(Object.values(integers).filter((type) => type !== undefined)).toEqual([]);
  });
});

describe("what may be asked", () => {
  it("refuses targets that there are not, and files of tensors", async () => {
    const source = bytesSource(modelOf(unary("Relu")), "m.onnx");
    await expect(inspectModel(engine, source, { target: "mars" as never })).rejects.toThrow(/^target: "mars" given/);
    const npy = new TextEncoder().encode("\x93NUMPY");
    await expect(inspectModel(engine, bytesSource(npy, "t.npy"), { target: "node" })).rejects.toThrow();
  });

  it("says nothing of targets if it is not asked", async () => {
    const inspection = await inspectModel(
      engine,
      bytesSource(modelOf(integer("ConvInteger", "uint8", "int8")), "m.onnx"),
    );
    expect("findings" in inspection).toBe(false);
  });
});
