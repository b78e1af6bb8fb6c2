import { describe, expect, it } from "vitest";
import { fed, weight } from "../../../helpers/half-inputs.ts";
import { expectAlike, graphWithin, halved, linesOf, modelOf } from "../../../helpers/halves.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";

describe("graphs within nodes", () => {
  it("of If take values from around in the type that they want, and give halves", async () => {
    const branch = (op: string, name: string) =>
      graph({
        nodes: [node(op, "h", `${name}_c`), node("MatMul", `${name}_c ${name}_W`, name)],
        initializers: [weight(`${name}_W`, 4, 4)],
        outputs: [value(name, "float32")],
      });
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x W", "h"),
        node("If", "which", "o", {
          then_branch: { graph: branch("Celu", "a") },
          else_branch: { graph: branch("Relu", "b") },
        }),
        node("Relu", "o", "y"),
      ],
      initializers: [weight("W", 8, 4)],
      inputs: [value("x", "float32[2,8]"), value("which", "bool[1]")],
      outputs: [value("y", "float32")],
    });
    const { lines, graph: made, bytes: half } = await halved(bytes);
    expect(lines).toContain("Cast(h)>h_float32");
    expect(linesOf(graphWithin(made, "If", "then_branch"))).toEqual([
      "Celu(h_float32)>a_c",
      "Cast(a_c)>a_c_float16",
      "MatMul(a_c_float16,a_W)>a",
    ]);
    expect(linesOf(graphWithin(made, "If", "else_branch"))).toEqual(["Relu(h)>b_c", "MatMul(b_c,b_W)>b"]);
    const feeds = [0, 1].map((which) => ({ x: fed(1, 2, 8), which: { data: Uint8Array.of(which), dims: [1] } }));
    await expectAlike(bytes, half, feeds);
  });

  it.each([
    ["Relu", "float32"],
    ["Celu", "float32"],
    ["Relu", "float16"],
  ] as const)("of Loop carry halves, with %s in it and %s outside", async (op, io) => {
    const body = graph({
      nodes: [
        node("Identity", "go", "on"),
        node("MatMul", "state W2", "m"),
        node(op, "m", "k"),
        node("Add", "k x", "next"),
        node("ReduceMean", "next", "seen", { keepdims: 0 }),
      ],
      initializers: [weight("W2", 4, 4)],
      inputs: [value("i", "int64[]"), value("go", "bool[]"), value("state", "float32[2,4]")],
      outputs: [value("on", "bool[]"), value("next", "float32[2,4]"), value("seen", "float32[]")],
    });
    const bytes = modelOf({
      nodes: [node("Loop", "n - x", "last means", { body: { graph: body } }), node("Relu", "last", "y")],
      initializers: [tensor("n", "int64", [], [3])],
      inputs: [value("x", "float32[2,4]")],
      outputs: [value("y", "float32"), value("means", "float32")],
    });
    const { bytes: half } = await halved(bytes, { io });
    await expectAlike(bytes, half, [{ x: fed(1, 2, 4) }]);
  });

  it("give constants, and what they take, as it is", async () => {
    const branch = (name: string, nodes: Uint8Array[], initializers: Uint8Array[]) =>
      graph({ nodes, initializers, outputs: [value(name, "float32")] });
    const large = weight("b", 40, 40);
    const bytes = modelOf({
      nodes: [
        node("If", "which", "o", {
          then_branch: {
            graph: branch("a", [node("Constant", "", "a", { value: { tensor: weight("", 40, 40) } })], []),
          },
          else_branch: { graph: branch("b", [node("Celu", "b", "unused")], [large]) },
        }),
        node("MatMul", "x o", "y"),
      ],
      inputs: [value("x", "float32[2,40]"), value("which", "bool[1]")],
      outputs: [value("y", "float32")],
    });
    const { bytes: half } = await halved(bytes);
    const feeds = [0, 1].map((which) => ({ x: fed(1, 2, 40), which: { data: Uint8Array.of(which), dims: [1] } }));
    await expectAlike(bytes, half, feeds);
  });

  it("of Scan carry and scan halves", async () => {
    const body = graph({
      nodes: [node("Add", "sum x", "next"), node("Celu", "next", "seen")],
      inputs: [value("sum", "float32[4]"), value("x", "float32[4]")],
      outputs: [value("next", "float32[4]"), value("seen", "float32[4]")],
    });
    const bytes = modelOf({
      nodes: [node("Scan", "zero xs", "last all", { body: { graph: body }, num_scan_inputs: 1 })],
      initializers: [tensor("zero", "float32", [4], [0, 1, 0, 0])],
      inputs: [value("xs", "float32[5,4]")],
      outputs: [value("last", "float32"), value("all", "float32")],
    });
    const { types, bytes: half } = await halved(bytes);
    expect(types.zero).toBe("float16");
    await expectAlike(bytes, half, [{ xs: fed(1, 5, 4) }]);
  });
});
