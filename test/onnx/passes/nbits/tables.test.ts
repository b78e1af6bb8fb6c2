import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { intOf, matricesIn } from "../../../helpers/nbits.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { openNode, withSession } from "../../../helpers/sessions.ts";
import { floats, indices, initializersIn, nearness, nearnessTo, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Tables of 2, 4 and 8 bits in blocks: GatherBlockQuantized in place of Gather, in both runtimes beside a float model that
// has the values which the codes stand for.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectLeft } = rewriterOf(() => engine, { format: "nbits", opTypes: ["Gather"] });

const kinds: readonly QuantizeModelOptions[] = [
  { bits: 4, blockSize: 16 },
  { bits: 4, blockSize: 32, scheme: "asymmetric" },
  { bits: 8, blockSize: 16 },
  { bits: 8, blockSize: 32, scheme: "asymmetric" },
  { bits: 2, blockSize: 16 },
  { bits: 2, blockSize: 64, scheme: "asymmetric" },
];

const lookup = (rows: number, width: number, type: "float32" | "float16" = "float32"): Sketch => ({
  type,
  nodes: [node("Gather", "t ids", "y")],
  weights: { t: { shape: [rows, width], type } },
  feeds: { ids: indices([3, 1, -2, rows - 1, 3]) },
  outputs: ["y"],
});

/** Expects what a float table of the restored values gives: values are looked up, so nothing is added up. */
async function expectSame(model: Sketch, options: QuantizeModelOptions = {}, least = 140) {
  const { bytes, ops } = await rewritten(model, options);
  const [matrix] = matricesIn(bytes);
  const { n, k, values } = matrix!;
  const float = sketch({
    ...model,
    type: "float32",
    weights: { ...model.weights, t: { shape: [n, k], data: values } },
  });
  const want = await withSession(openNode(float), (session) => session.run(model.feeds));
  const typed = Object.entries(want).map(([name, output]) => [name, { ...output, type: model.type ?? "float32" }]);
  expect(await nearnessTo(Object.fromEntries(typed), bytes, model.feeds)).toBeGreaterThan(least);
  return { ops, matrix: matrix! };
}

describe("rows of a table", () => {
  it.each([64, 48, 40, 20, 12])("of %d values, whatever blocks they end in", async (width) => {
    for (const options of kinds) {
      const { report } = await rewritten(lookup(50, width), options);
      if (report.tensors[0]!.reason !== undefined) {
        expect([width, report.tensors[0]!.reason]).toEqual([12, "would not get smaller"]);
        continue;
      }
      const { ops, matrix } = await expectSame(lookup(50, width), options);
      expect(ops).toEqual({ GatherBlockQuantized: 1 });
      const { bits = 4, blockSize } = options;
      const names = ["gather_axis", "quantize_axis", "block_size", "bits"];
      expect(names.map((name) => intOf(matrix.node, name))).toEqual([0, 1, blockSize, bits]);
      expect(matrix.node.inputs.slice(2)).toEqual(
        options.scheme === "asymmetric" ? ["t_scales", "t_zero_points"] : ["t_scales"],
      );
    }
  });

  it("by indices of two dimensions, of none, of int32, by none", async () => {
    const feeds = [
      indices([1, 2, 3, -4, 5, 6], [2, 3]),
      indices([7], []),
      { dims: [3], data: Int32Array.of(0, 49, -50) },
      indices([]),
    ];
    for (const ids of feeds) await expectSame({ ...lookup(50, 32), feeds: { ids } }, { blockSize: 16 });
  });

  it("of float16, with scales of float16", async () => {
    for (const options of kinds) await expectSame(lookup(50, 64, "float16"), options, 60);
  });

  it("is near the float table", async () => {
    const least = { 2: 3, 4: 17, 8: 42 };
    for (const options of kinds) {
      const { before, bytes } = await rewritten(lookup(50, 64), options);
      expect(await nearness(before, bytes, lookup(50, 64).feeds)).toBeGreaterThan(least[options.bits!]);
    }
  });

  it("in inner graphs, by negative axes, with zeros and with one value throughout", async () => {
    const branch = (output: string) => ({
      graph: graph({ nodes: [node("Gather", "t ids", output, { axis: -2 })], outputs: [value(output, "float32")] }),
    });
    const data = Float32Array.from({ length: 50 * 32 }, (_, i) => (i < 32 ? 0 : i < 64 ? -0.7 : Math.sin(i)));
    const model: Sketch = {
      nodes: [node("If", "c", "y", { then_branch: branch("p"), else_branch: branch("q") })],
      weights: { t: { shape: [50, 32], data } },
      feeds: { ids: indices([0, 1, 2]), c: { dims: [], data: Uint8Array.of(1) } },
      outputs: ["y"],
    };
    for (const options of kinds) {
      const { matrix } = await expectSame(model, options);
      for (const x of matrix.values.slice(0, 32)) expect(x).toBeCloseTo(0, 9);
      for (const x of matrix.values.slice(32, 64)) expect(x).toBeCloseTo(-0.7, 6);
    }
  });
});

describe("left as it is", () => {
  it.each([
    { what: "columns", shape: [50, 32], attributes: { axis: 1 }, reason: "Gather of other things than a table's rows" },
    {
      what: "three dimensions",
      shape: [50, 4, 8],
      attributes: {},
      reason: "Gather of other things than a table's rows",
    },
    { what: "a vector", shape: [50], attributes: {}, reason: "Gather of other things than a table's rows" },
    {
      what: "an odd width",
      shape: [50, 33],
      attributes: {},
      reason: "Gather of rows of 33 values, whose codes of 4 bits fill no whole bytes",
    },
    { what: "no rows", shape: [0, 32], attributes: {}, reason: "empty" },
  ])("$what", async ({ shape, attributes, reason }) => {
    const ids = shape[0] === 0 ? indices([]) : indices([1, 2]);
    const nodes = [node("Gather", "t ids", "y", attributes)];
    await expectLeft({ ...lookup(50, 32), nodes, weights: { t: { shape } }, feeds: { ids } }, [reason]);
  });

  it("one value a row, whose scale takes more than it saves", async () => {
    await expectLeft(lookup(50, 1), ["would not get smaller"], { bits: 8 });
  });

  it("but an odd width of 8 bits is none", async () => {
    expect((await expectSame(lookup(50, 33), { bits: 8 })).ops).toEqual({ GatherBlockQuantized: 1 });
  });

  it("in 2 bits for WebGPU, which some versions run in 4 and 8 alone", async () => {
    const reason = "Gather in 2 bits, which not all versions of the target run; 4 and 8 they do";
    await expectLeft(lookup(50, 64), [reason], { bits: 2, blockSize: 16, target: "webgpu" });
    for (const [bits, target] of [
      [2, "node"],
      [2, "web-wasm"],
      [4, "webgpu"],
      [8, "webgpu"],
    ] as const) {
      const { ops } = await rewritten(lookup(50, 64), { bits, blockSize: 16, target });
      expect(ops).toEqual({ GatherBlockQuantized: 1 });
    }
  });

  it("where it is not asked for", async () => {
    await expectLeft(lookup(50, 64), ["Gather is quantized only if the op types include it"], {
      opTypes: undefined,
    });
  });

  it("one with infinities is refused, with name and place", async () => {
    const data = new Float32Array(50 * 32).fill(1);
    data[40] = Number.POSITIVE_INFINITY;
    const model = { ...lookup(50, 32), weights: { t: { shape: [50, 32], data } } };
    await expect(rewritten(model)).rejects.toThrow(
      'model.onnx: tensor "t": holds Infinity at flat index 40; exclude it',
    );
  });
});

describe("a table that is a weight, too", () => {
  const tied = (op: "MatMul" | "Gemm"): Sketch => ({
    nodes: [node("Gather", "t ids", "r"), node(op, "x t", "y", op === "Gemm" ? { transB: 1 } : {})],
    weights: { t: [48, 64] },
    feeds: { ids: indices([3, 1, -2]), x: floats([3, op === "Gemm" ? 64 : 48]) },
    outputs: ["r", "y"],
  });
  const twice = "others use it as it is, so it would have to be stored twice";

  it("stays as it is where one of both is not asked for", async () => {
    await expectLeft(tied("MatMul"), [`not of those op types; ${twice}`], { opTypes: ["MatMul"] });
    await expectLeft(tied("MatMul"), [`not of those op types; ${twice}`]);
    await expectLeft(tied("Gemm"), [`not of those op types; ${twice}`]);
  });

  it.each(["MatMul", "Gemm"] as const)("is stored for Gather and for %s", async (op) => {
    for (const options of kinds) {
      const { before, bytes, ops, report } = await rewritten(tied(op), { ...options, opTypes: ["Gather", op] });
      // The rows of a matrix that lies transposed are those of the table.
      const isOne = op === "Gemm";
      expect(ops).toEqual({ GatherBlockQuantized: 1, MatMulNBits: 1, ...(isOne && { Reshape: 1 }) });
      expect(initializersIn(bytes)).not.toContain("t");
      const codes = initializersIn(bytes).filter((name) => /_Q\d$/.test(name) || /_Q\d_\d$/.test(name));
      expect(codes).toHaveLength(isOne ? 1 : 2);
      const least = { 2: 2, 4: 16, 8: 38 }[options.bits!];
      expect(await nearness(before, bytes, tied(op).feeds)).toBeGreaterThan(least);
      const [{ bytesAfter, bytesBefore }] = report.tensors as [(typeof report.tensors)[0]];
      expect(bytesAfter).toBeLessThan(bytesBefore);
    }
  });

  it("stays as it is where both forms together are no smaller", async () => {
    // Blocks of the matrix' short columns are mostly empty.
    const model: Sketch = {
      ...tied("MatMul"),
      weights: { t: [2, 64] },
      feeds: { ids: indices([1]), x: floats([3, 2]) },
    };
    await expectLeft(model, ["would not get smaller"], { opTypes: ["Gather", "MatMul"] });
  });
});
