import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { matricesIn } from "../../../helpers/nbits.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { openNode, withSession } from "../../../helpers/sessions.ts";
import { drawnTensor, floats, nearnessTo, type Sketch } from "../../../helpers/sketch.ts";

// Which products become MatMulNBits, and what is refused: weights that are shared, left out, made by other nodes, in inner
// graphs; options that mean nothing.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectLeft, expectNear } = rewriterOf(() => engine, { format: "nbits" });

const product = (k: number, n: number): Sketch => ({
  nodes: [node("MatMul", "x w", "y")],
  weights: { w: [k, n] },
  feeds: { x: floats([3, k]) },
  outputs: ["y"],
});

describe("which", () => {
  const feeds = { x: floats([3, 64]) };
  const shared = "others use it as it is, so it would have to be stored twice";

  it("are left out by name", async () => {
    const nodes = [node("MatMul", "x w", "y"), node("MatMul", "x v", "z")];
    const model: Sketch = { nodes, weights: { w: [64, 16], v: [64, 16] }, feeds, outputs: ["y", "z"] };
    for (const options of [{ exclude: ["MatMul_of_z"] }, { include: ["w"] }]) {
      const { ops, reasons } = await rewritten(model, options);
      expect(ops).toEqual({ MatMulNBits: 1, MatMul: 1 });
      expect(reasons).toEqual([undefined, options.include ? "not included" : "excluded"]);
    }
  });

  it("share a weight: two MatMul, one of them left out, one that is an output", async () => {
    const nodes = [node("MatMul", "x w", "y"), node("MatMul", "x w", "z")];
    const model: Sketch = { nodes, weights: { w: [64, 16] }, feeds, outputs: ["y", "z"] };
    expect(await expectNear(model, { bits: 8 })).toEqual({ MatMulNBits: 2 });
    await expectLeft(model, [`excluded; ${shared}`], { exclude: ["MatMul_of_z"] });
    await expectLeft({ ...model, outputs: ["y", "z", "w"] }, [shared]);
    const turnedToo = {
      ...model,
      nodes: [nodes[0]!, node("Transpose", "w", "v", { perm: [1, 0] }), node("Neg", "v", "z")],
    };
    await expectLeft(turnedToo, [shared]);
  });

  it("share a weight in two layouts: both are stored, or none where that saves nothing", async () => {
    const square: Sketch = {
      nodes: [node("MatMul", "x w", "y"), node("Gemm", "x w", "z", { transB: 1 })],
      weights: { w: [64, 64] },
      feeds,
      outputs: ["y", "z"],
    };
    const opTypes = ["MatMul", "Gemm"];
    const { bytes, before } = await rewritten(square, { opTypes });
    expect(matricesIn(bytes).map(({ n, k }) => [n, k])).toEqual([
      [64, 64],
      [64, 64],
    ]);
    const want = await withSession(openNode(before), (session) => session.run(feeds));
    expect(await nearnessTo(want, bytes, feeds)).toBeGreaterThan(15);
    // Either alone would save a little.
    const small: Sketch = { ...square, weights: { w: [20, 20] }, feeds: { x: floats([3, 20]) } };
    await expectLeft(small, ["would not get smaller"], { opTypes, bits: 8, blockSize: 16, scheme: "asymmetric" });
  });

  it("are in inner graphs, with weights of these and of the graph around", async () => {
    const branch = (output: string) => ({
      graph: graph({
        nodes: [node("MatMul", "x w", `${output}1`), node("MatMul", `${output}1 v_${output}`, output)],
        initializers: [drawnTensor(`v_${output}`, [32, 16], 7)],
        outputs: [value(output, "float32")],
      }),
    });
    const model: Sketch = {
      nodes: [node("If", "c", "y", { then_branch: branch("p"), else_branch: branch("q") })],
      weights: { w: [64, 32] },
      feeds: { ...feeds, c: { dims: [], data: Uint8Array.of(1) } },
      outputs: ["y"],
    };
    const { bytes, before, ops } = await rewritten(model, { bits: 8 });
    expect(ops).toEqual({ If: 1, MatMulNBits: 4 });
    const want = await withSession(openNode(before), (session) => session.run(model.feeds));
    expect(await nearnessTo(want, bytes, model.feeds)).toBeGreaterThan(35);
  });

  it("take a weight from another node, or have none", async () => {
    const nodes = [
      node("Transpose", "w", "v", { perm: [2, 1, 0] }),
      node("MatMul", "x v", "y"),
      node("MatMul", "y x2", "z"),
    ];
    const weights = { w: [5, 64, 2] };
    const model: Sketch = { nodes, weights, feeds: { ...feeds, x2: floats([5, 4]) }, outputs: ["z"] };
    const reason = "MatMul takes it from Transpose, not as it is stored";
    expect(await expectLeft(model, [reason])).toContain(
      "1 MatMul has no constant to multiply with, so no weight: MatMul_of_z",
    );
  });
});

describe("what is asked for", () => {
  it.each<{ options: QuantizeModelOptions; message: string }>([
    { options: { blockSize: 48 }, message: "blockSize: 48 given; 16, 32, 64, 128, 256 are allowed" },
    { options: { blockSize: 512 }, message: "blockSize: 512 given" },
    { options: { bits: 3 as 4 }, message: "bits: 3 given; 2, 4, 8 are allowed" },
    { options: { accuracyLevel: 5 as 4 }, message: "accuracyLevel: 5 given" },
    { options: { dtype: "int4", bits: 8 }, message: "dtype: int4 given with 8 bits; leave one of them out" },
    { options: { opTypes: ["Conv"] }, message: "opTypes: the model has no Conv node" },
    { options: { opTypes: ["Gemm", "Gather"] }, message: "opTypes: the model has no Gemm node" },
    { options: { opTypes: ["MatMul", "Matmul"] }, message: "opTypes: the model has no Matmul node" },
    { options: { perChannel: true }, message: "perChannel: matrices of MatMulNBits have a scale for each block" },
    { options: { include: ["v"] }, message: 'include: "v" matches no weight or node' },
  ])("$options is refused", async ({ options, message }) => {
    await expect(rewritten(product(64, 16), options)).rejects.toThrow(message);
  });

  it("a list of types for all models may name some that this one has not", async () => {
    const { ops } = await rewritten(product(64, 16), { opTypes: ["MatMul", "Gemm", "Gather"] });
    expect(ops).toEqual({ MatMulNBits: 1 });
  });

  it("int4 and uint4 are the same; the scheme tells whether zero points are stored", async () => {
    const of = async (options: QuantizeModelOptions) => (await rewritten(product(64, 16), options)).bytes;
    expect(await of({ dtype: "uint4" })).toEqual(await of({ dtype: "int4" }));
    expect(await of({ bits: 4, scheme: "symmetric" })).toEqual(await of({ dtype: "int4" }));
    expect(await of({ dtype: "uint4", scheme: "asymmetric" })).toEqual(
      await of({ dtype: "int4", scheme: "asymmetric" }),
    );
    expect(matricesIn(await of({ scheme: "asymmetric" }))[0]!.node.inputs).toHaveLength(4);
  });
});
