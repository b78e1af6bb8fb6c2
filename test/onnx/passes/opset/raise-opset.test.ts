import { describe, expect, it } from "vitest";
import { bytesSource } from "../../../../src/formats/byte-source.ts";
import { readModel } from "../../../../src/onnx/io/decode.ts";
import { encodeModel } from "../../../../src/onnx/io/encode.ts";
import { TensorFiles } from "../../../../src/onnx/io/tensor-data.ts";
import { attributeOf, type Graph, graphsOf, type Model, type Node } from "../../../../src/onnx/ir/graph.ts";
import { histories, irVersionOf, NEWEST_OPSET } from "../../../../src/onnx/passes/opset/operator-versions.ts";
import { raiseOpset } from "../../../../src/onnx/passes/opset/raise-opset.ts";
import { rewriteNames } from "../../../../src/onnx/passes/opset/rewrites/rewrite-table.ts";
import {
  bytesOfChunks,
  type ModelSpec,
  type NodeSpec,
  node,
  raised,
  tensor,
  writeSpec,
} from "../../../helpers/opset-models.ts";

const relu = (name: string) => node("Relu", "x", "y", {}, { name });

function specOf(opset: number, nodes: readonly NodeSpec[], more: Partial<ModelSpec> = {}): ModelSpec {
  return { opset, nodes, inputs: { x: "float32[1,2,3]" }, outputs: { y: "float32" }, ...more };
}

const nodeOf = ({ graph }: Model, op: string): Node => graph.nodes.find(({ opType }) => opType === op)!;

const numbersOf = ({ initializers }: Graph, name: string | undefined) => {
  const found = initializers.find((each) => each.name === name)!;
  return { type: found.type, shape: found.shape };
};

describe("the table of operators", () => {
  it("has a rewrite for every star, and no other", () => {
    const stars = Array.from(histories, ([op, { rewritten }]) => Array.from(rewritten, (opset) => `${op} ${opset}`));
    expect([...rewriteNames].toSorted()).toEqual(stars.flat().toSorted());
  });

  it("has all operators up to the newest opset, each with its opsets in order", () => {
    expect(histories.size).toBe(202);
    for (const { since } of histories.values()) expect(since).toBeLessThanOrEqual(NEWEST_OPSET);
  });

  it("knows the IR version of each opset", () => {
    const opsets = [1, 8, 9, 10, 11, 12, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25, 27];
    expect(opsets.map(irVersionOf)).toEqual([3, 3, 4, 5, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13]);
  });
});

describe("raising", () => {
  it("leaves a model that is there already as it is, to the byte", async () => {
    const spec = specOf(9, [node("Softmax", "x", "y")]);
    const { bytes, report } = await raised(spec, 9);
    expect(bytes).toEqual(writeSpec(spec));
    expect(report).toEqual({ from: 9, to: 9, rewritten: [] });
  });

  it("keeps nodes that need no change, the same objects and bytes", async () => {
    const spec = specOf(9, [
      node("Relu", "x", "r"),
      node("Unsqueeze", "r", "u", { axes: [0] }),
      node("Tanh", "u", "y"),
    ]);
    const source = { ...bytesSource(writeSpec(spec)), name: "m.onnx" };
    const model = await readModel(source);
    const [first, second, third] = model.graph.nodes;
    await raiseOpset(model, await TensorFiles.open(source, model), 13, "m.onnx");
    expect(model.graph.nodes).toEqual([first, second, third]);
    expect(model.graph.nodes.map(({ origin, attributes }) => origin?.was.attributes === attributes)).toEqual([
      true,
      false,
      true,
    ]);
    const written = Buffer.from(await bytesOfChunks(encodeModel(model)));
    for (const { origin } of [first!, third!]) {
      const { start, end } = origin!.message;
      expect(written.includes(Buffer.from(await source.slice(start, end)))).toBe(true);
    }
  });

  it("never lowers the IR version", async () => {
    expect((await raised(specOf(9, [relu("r")], { ir: 10 }), 11)).model.irVersion).toBe(10);
    expect((await raised(specOf(9, [relu("r")], { ir: 4 }), 24)).model.irVersion).toBe(12);
  });

  it("takes initializers from the inputs, where IR 3 wanted them and later ones could be set by callers", async () => {
    const spec = specOf(7, [node("Add", "x b", "y")], {
      ir: 3,
      initializers: { b: tensor("float32", [3], [1, 2, 3]) },
      inputs: { x: "float32[1,2,3]", b: "float32[3]" },
    });
    expect((await raised(spec, 8)).model.graph.inputs).toHaveLength(2);
    expect((await raised(spec, 9)).model.graph.inputs.map(({ name }) => name)).toEqual(["x"]);
    const later = await raised({ ...spec, ir: 4 }, 9);
    expect(later.model.graph.inputs).toHaveLength(2);
  });

  it("raises IR 3 for the sake of an initializer", async () => {
    const spec = specOf(4, [node("Reshape", "x", "y", { shape: [6] })], { ir: 3 });
    const { model } = await raised(spec, 5);
    expect([model.irVersion, numbersOf(model.graph, nodeOf(model, "Reshape").inputs[1])]).toEqual([
      4,
      { type: "int64", shape: [1] },
    ]);
  });

  it("makes names that nothing has, in any graph", async () => {
    const branch = (output: string) => ({
      graph: {
        nodes: [node("Unsqueeze", "x", output, { axes: [0] }, { name: "up" })],
        outputs: { [output]: "float32" },
      },
    });
    const spec = specOf(
      11,
      [node("Identity", "x", "up_axes"), node("If", "c", "y", { then_branch: branch("t"), else_branch: branch("e") })],
      { inputs: { x: "float32[3]", c: "bool[]" } },
    );
    const { model, report } = await raised(spec, 13);
    const [outer, ...inner] = [...graphsOf(model.graph)];
    expect(outer!.initializers).toEqual([]);
    expect(inner.map(({ initializers }) => initializers.map(({ name }) => name))).toEqual([
      ["up_axes_1"],
      ["up_axes_2"],
    ]);
    expect(inner.map(({ nodes }) => nodes[0]!.inputs)).toEqual([
      ["x", "up_axes_1"],
      ["x", "up_axes_2"],
    ]);
    expect(report.rewritten).toEqual(['Unsqueeze "up": axes as input', 'Unsqueeze "up": axes as input']);
  });

  it("calls nodes without a name by their output", async () => {
    const spec = specOf(9, [node("Upsample", "x", "y", {}, { name: "" })]);
    const withScales = {
      ...spec,
      nodes: [node("Upsample", "x s", "y", {}, { name: "" })],
      initializers: { s: tensor("float32", [3], [1, 1, 2]) },
    };
    const { report, model } = await raised(withScales, 13);
    expect(report.rewritten).toEqual(['Upsample "y": as Resize, as asymmetric']);
    // What was needed on the way only is gone.
    expect(model.graph.initializers.map(({ name }) => name)).toEqual(["s"]);
    expect(nodeOf(model, "Resize").inputs).toEqual(["x", "", "s"]);
  });

  it("leaves other domains alone", async () => {
    const spec = specOf(9, [node("Squeeze", "x", "y", { axes: [0] }, { domain: "my.own" })], {
      domains: { "my.own": 1 },
    });
    const { model, report } = await raised(spec, 21);
    expect(report.rewritten).toEqual([]);
    expect([...model.opsets]).toEqual([
      ["", 21],
      ["my.own", 1],
    ]);
  });

  it("leaves functions alone that have no nodes of ONNX's own", async () => {
    const calls = [node("Mine", "x", "y", {}, { domain: "local" })];
    const spec = specOf(17, calls, { domains: { local: 1 }, functions: { Mine: { "com.microsoft": 1 } } });
    expect((await raised(spec, 21)).model.opsets.get("")).toBe(21);
    const bound = { ...spec, functions: { Mine: { "": 17 } } };
    await expect(raised(bound, 21)).rejects.toThrow(
      'model.onnx: its function "Mine" is made of ONNX\'s own operators, which stay at their opset; inline the functions first, or leave the model at opset 17',
    );
    expect((await raised(bound, 17)).report.rewritten).toEqual([]);
  });

  it("keeps the order of what an operator is given", async () => {
    const clip = specOf(9, [node("Clip", "x", "y", { max: { float: 6 } })], {
      inputs: { x: "float64[2]" },
      outputs: { y: "float64" },
    });
    const { model } = await raised(clip, 11);
    const { inputs } = nodeOf(model, "Clip");
    // float64 was held within the bounds of float32.
    expect(inputs.slice(1).map((name) => numbersOf(model.graph, name))).toEqual([
      { type: "float64", shape: [] },
      { type: "float64", shape: [] },
    ]);
    const half = await raised({ ...clip, inputs: { x: "float16[2]" } }, 11);
    expect(nodeOf(half.model, "Clip").inputs).toEqual(["x", "", "Clip_of_y_max"]);
    expect(numbersOf(half.model.graph, "Clip_of_y_max").type).toBe("float16");
  });

  it("finds out what a value is from what makes it", async () => {
    const nodes = [
      node("Cast", "x", "a", { to: 10 }),
      node("Transpose", "a", "b", { perm: [2, 0, 1] }),
      node("Flatten", "b", "c"),
      node("Clip", "c", "d", { min: { float: 0 } }),
      node("Softmax", "d", "y"),
    ];
    const { model, report } = await raised(specOf(9, nodes, { inputs: { x: "float32" } }), 13);
    expect(numbersOf(model.graph, nodeOf(model, "Clip").inputs[1]).type).toBe("float16");
    expect(report.rewritten).toEqual(['Clip "Clip_of_d": min as input']);
  });

  it("adds what defaults were, where they changed", async () => {
    const nodes = [
      node("Selu", "x", "a"),
      node("Concat", "a a", "b"),
      node("Pad", "b", "y", { paddings: [0, 0, 0, 0, 0, 1] }),
    ];
    const { model } = await raised(specOf(1, nodes, { ir: 3 }), 6);
    expect(attributeOf(nodeOf(model, "Selu"), "alpha", "float")).toBeCloseTo(1.6732, 5);
    expect(attributeOf(nodeOf(model, "Concat"), "axis", "int")).toBe(1);
    expect(attributeOf(nodeOf(model, "Pad"), "pads", "ints")).toEqual([0, 0, 0, 0, 0, 1]);
  });
});
