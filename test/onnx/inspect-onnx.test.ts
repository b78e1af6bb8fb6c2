import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { inspectModel } from "../../src/model.ts";
import type { InspectOptions, ModelInspection } from "../../src/onnx/inspect-onnx.ts";
import { safetensorsFile } from "../helpers/checkpoints.ts";
import { functionOf, graph, model, node, value } from "../helpers/onnx-build.ts";
import { sparseTensor, tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { drawnTensor, floats, type Sketch, sketch } from "../helpers/sketch.ts";

// What inspect says of each float tensor of 4 kB or more: why it would stay float, or what it would lose.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const inspected = async (bytes: Uint8Array, options?: InspectOptions) =>
  (await inspectModel(engine, bytesSource(bytes), options)) as ModelInspection;

/** Values of 4 kB, and just less. */
const LARGE = 1024;

const reasons = ({ weights }: ModelInspection) => Object.fromEntries(weights.map(({ name, reason }) => [name, reason]));

const of = (nodes: readonly Uint8Array[], weights: NonNullable<Sketch["weights"]>, rest: Partial<Sketch> = {}) =>
  sketch({ nodes, weights, feeds: { x: floats([1, LARGE]) }, outputs: ["y"], ...rest });

const image = { feeds: { x: floats([1, LARGE, 2, 2]) } };

describe("a float tensor stays float, says inspect,", () => {
  const cases: Readonly<Record<string, [bytes: () => Uint8Array, reasons: Readonly<Record<string, unknown>>]>> = {
    "as scale and bias of a norm": [
      () => of([node("LayerNormalization", "x g b", "y")], { g: [LARGE], b: [LARGE] }),
      {
        g: "used by LayerNormalization as its scale, not as a weight",
        b: "used by LayerNormalization as its bias, not as a weight",
      },
    ],
    "as the scale of a norm of another domain": [
      () =>
        of([node("SkipSimplifiedLayerNormalization", "x x g", "y", {}, { domain: "com.microsoft" })], { g: [LARGE] }),
      { g: "used by com.microsoft.SkipSimplifiedLayerNormalization as its scale, not as a weight" },
    ],
    "as statistics of BatchNormalization": [
      () => of([node("BatchNormalization", "x g g m v", "y")], { g: [LARGE], m: [LARGE], v: [LARGE] }, image),
      {
        g: "used by BatchNormalization as its scale, BatchNormalization as its bias, not as a weight",
        m: "used by BatchNormalization as its mean, not as a weight",
        v: "used by BatchNormalization as its variance, not as a weight",
      },
    ],
    "as a bias": [
      () =>
        of([node("Gemm", "x w c", "h"), node("Add", "h d", "i"), node("Mul", "i e", "y")], {
          ...{ w: [LARGE, LARGE], c: [LARGE], d: [1, LARGE], e: [LARGE] },
        }),
      {
        w: undefined,
        c: "used by Gemm as its bias, not as a weight",
        d: "used by Add as its bias, not as a weight",
        e: "used by Mul as its scale, not as a weight",
      },
    ],
    "with nodes that take no weights": [
      () => of([node("Add", "x w", "y")], { w: [4, LARGE] }),
      { w: "used by Add, not as a weight" },
    ],
    "with no node that takes it": [() => of([node("Relu", "x", "y")], { w: [LARGE] }), { w: "used by no node" }],
    "as an output": [() => of([node("Relu", "x", "y")], { w: [LARGE] }, { outputs: ["y", "w"] }), { w: "an output" }],
    "behind what cannot be followed": [
      () =>
        of([node("Shape", "x", "s"), node("Reshape", "w s", "v"), node("MatMul", "v t", "y")], {
          w: [LARGE],
          t: [LARGE, 4],
        }),
      { w: "used behind Reshape, which cannot be followed", t: undefined },
    ],
    "as float64": [
      () =>
        of([node("Cast", "x", "x64", { to: 11 }), node("MatMul", "x64 w", "z"), node("Cast", "z", "y", { to: 1 })], {
          w: tensor("w", "float64", [LARGE, 1], new Array(LARGE).fill(0.5)),
        }),
      { w: "float64" },
    ],
    "as codes would take more room": [
      () => of([node("MatMul", "h w", "y"), node("Transpose", "x", "h", { perm: [1, 0] })], { w: [1, LARGE] }),
      { w: "would not get smaller" },
    ],
  };

  it.each(Object.entries(cases))("%s", async (_, [bytes, wanted]) => {
    expect(reasons(await inspected(bytes()))).toEqual(wanted);
  });

  it("in a function of the model's own, or sparse", async () => {
    const data = new Array(LARGE).fill(0.5);
    const constant = (name: string, output: string, length: number) =>
      node("Constant", "", output, { value: { tensor: tensor(name, "float32", [length], data.slice(0, length)) } });
    const branch = graph({ nodes: [constant("deep", "z", LARGE)], outputs: [value("z", "float32")] });
    const nodes = [
      constant("", "c", LARGE),
      constant("small", "s", LARGE - 1),
      node("If", "flag", "z", { then_branch: { graph: branch }, else_branch: { graph: branch } }),
      node("Add", "a c", "b"),
    ];
    const bytes = model({
      opsets: { "": 17, own: 1 },
      graph: graph({
        nodes: [node("F", "x", "h", {}, { domain: "own" }), node("Add", "h w", "y")],
        inputs: [value("x", `float32[${LARGE}]`)],
        outputs: [value("y", "float32")],
        sparse: [
          sparseTensor(tensor("w", "float32", [LARGE], data), tensor("", "int64", [LARGE], [...data.keys()]), [
            2 * LARGE,
          ]),
        ],
      }),
      functions: [functionOf({ name: "F", domain: "own", inputs: ["a"], outputs: ["b"], opsets: { "": 17 }, nodes })],
    });
    const { weights } = await inspected(bytes);
    const inFunction = 'in the function "F", which is copied as it is';
    expect(weights.map(({ name, bytes, reason }) => [name, bytes, reason])).toEqual([
      ["c", 4096, inFunction],
      ["deep", 4096, inFunction],
      ["deep", 4096, inFunction],
      ["w", 4096, "sparse"],
    ]);
  });

  it("where options leave it out", async () => {
    const bytes = of([node("MatMul", "x w", "h"), node("Gemm", "h v", "y")], { w: [LARGE, 8], v: [8, LARGE] });
    expect(reasons(await inspected(bytes))).toEqual({ w: undefined, v: undefined });
    expect(reasons(await inspected(bytes, { exclude: ["w"] }))).toEqual({ w: "excluded", v: undefined });
    expect(reasons(await inspected(bytes, { include: ["w"] }))).toEqual({ w: undefined, v: "not included" });
    expect(reasons(await inspected(bytes, { opTypes: ["Gemm"] }))).toEqual({
      w: "not of those op types",
      v: undefined,
    });
  });
});

it("vectors of less than 4 kB are not listed", async () => {
  const bytes = of(
    [node("LayerNormalization", "x g", "y")],
    { g: [LARGE - 1] },
    { feeds: { x: floats([1, LARGE - 1]) } },
  );
  expect(reasons(await inspected(bytes))).toEqual({});
});

it("a quantized weight is no weight that nodes compute, and its scales are told of with it", async () => {
  const { bytes } = await quantized(of([node("MatMul", "x w", "y")], { w: [LARGE, LARGE] }));
  const { weights, quantized: already, remarks } = await inspected(bytes);
  expect({ weights, remarks }).toEqual({ weights: [], remarks: undefined });
  expect(already).toEqual([
    { name: "w", shape: [LARGE, LARGE], dtype: "int8", bytes: LARGE * LARGE + 4096, scales: LARGE },
  ]);
});

describe("weights that nodes compute from constants", () => {
  const normalized: Sketch = {
    nodes: [
      node("ReduceL2", "v", "n", { axes: [0] }),
      node("Div", "v n", "u"),
      node("Mul", "u g", "w"),
      node("MatMul", "x w", "y"),
    ],
    weights: { v: [64, 48], g: [48] },
    feeds: { x: floats([2, 64]) },
    outputs: ["y"],
  };

  it("are listed as what they would be, and nothing of the file is told otherwise", async () => {
    const bytes = sketch(normalized);
    const { weights, remarks, nodes, ...facts } = await inspected(bytes);
    expect(weights).toHaveLength(1);
    expect(weights[0]).toMatchObject({ name: "w", shape: [64, 48], ops: ["MatMul"], isComputed: true });
    expect(weights[0]!.reason).toBeUndefined();
    expect(remarksOf({ remarks: remarks! })).toEqual(["1 weight computed once, from constants: w"]);
    expect(nodes).toEqual({ ReduceL2: 1, Div: 1, Mul: 1, MatMul: 1 });
    expect(facts.bytes).toBe(bytes.length);
    // The prospect is what quantizing gives.
    const { report } = await quantized(bytes);
    expect(report.tensors[0]!.sqnr).toBeCloseTo(weights[0]!.sqnr!.int8PerChannel, 9);
  });

  it("and are not computed stay, with a remark that says why", async () => {
    const zeros = drawnTensor("v", { shape: [64, 48], data: new Array(64 * 48).fill(0) });
    const { weights, remarks } = await inspected(sketch({ ...normalized, weights: { v: zeros, g: [48] } }));
    expect(reasons({ weights } as ModelInspection)).toEqual({ v: "used by ReduceL2, Div, not as a weight" });
    expect(remarks!.map(({ code }) => code)).toEqual(["not-folded"]);
    expect(remarks![0]!.message).toContain("NaN or infinities");
  });

  it("stay computed where their nodes are left out", async () => {
    const nodes = [...normalized.nodes, node("Gemm", "y k", "z")];
    const other = sketch({ ...normalized, nodes, weights: { ...normalized.weights, k: [48, 8] }, outputs: ["z"] });
    const found = await inspected(other, { opTypes: ["Gemm"] });
    expect(found.remarks).toBeUndefined();
    expect(reasons(found)).toEqual({ v: "used by ReduceL2, Div, not as a weight", k: undefined });
  });
});

it.each(["include", "exclude", "opTypes"])(
  "%s is refused where it is no list, and for files of tensors",
  async (name) => {
    const bytes = of([node("MatMul", "x w", "y")], { w: [LARGE, 8] });
    await expect(inspected(bytes, { [name]: "w" } as InspectOptions)).rejects.toThrow("an array of strings is wanted");
    await expect(inspected(bytes, { [name]: ["nothing"] })).rejects.toThrow("nothing");
    const file = await safetensorsFile([{ name: "w", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
    await expect(inspected(file, { [name]: ["w"] })).rejects.toThrow("is for ONNX models; this is a file of tensors");
  },
);
