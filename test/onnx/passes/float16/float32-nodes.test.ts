import { describe, expect, it } from "vitest";
import { fed, ints, weight, whole } from "../../../helpers/half-inputs.ts";
import { expectAlike, graphWithin, halved, linesOf, modelOf } from "../../../helpers/halves.ts";
import { functionOf, graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";

describe("nodes that stay float32", () => {
  it("stand in graphs of which nobody knows what passes into them", async () => {
    const inner = graph({
      nodes: [node("MatMul", "h V", "o")],
      initializers: [weight("V", 4, 4)],
      outputs: [value("o", "float32")],
    });
    const branch = graph({ nodes: [node("Relu", "h", "p")], outputs: [value("p", "float32")] });
    const outer = graph({
      nodes: [
        node("If", "which", "q", { then_branch: { graph: branch }, else_branch: { graph: inner } }),
        node("Add", "q h", "z"),
      ],
      outputs: [value("z", "float32")],
    });
    const { graph: made, report } = await halved(
      modelOf({
        nodes: [
          node("MatMul", "x W", "h"),
          node("Walk", "h", "y", { body: { graph: outer } }, { domain: "com.microsoft" }),
        ],
        initializers: [weight("W", 8, 4)],
        inputs: [value("x", "float32[2,8]"), value("which", "bool[1]")],
        outputs: [value("y", "float32")],
      }),
    );
    expect(linesOf(made)).toContain("Walk(h_float32)>y");
    const body = graphWithin(made, "Walk", "body");
    expect(linesOf(body)).toEqual(["If(which)>q", "Add(q,h_float32)>z"]);
    expect(linesOf(graphWithin(body, "If", "else_branch"))).toEqual(["MatMul(h_float32,V)>o"]);
    expect(remarksOf(report)).toContain("float32 as before: com.microsoft.Walk (nothing is known of it in float16)");
  });

  it("are functions of the model's own that are not inlined", async () => {
    const twice = functionOf({
      name: "Twice",
      domain: "com.microsoft",
      inputs: ["a"],
      outputs: ["b"],
      nodes: [node("Constant", "", "k", { value_float: { float: 2 } }), node("Mul", "a k", "b")],
      opsets: { "": 17 },
    });
    const bytes = modelOf(
      {
        nodes: [
          node("MatMul", "x W", "h"),
          node("Twice", "h", "t", {}, { domain: "com.microsoft" }),
          node("Relu", "t", "y"),
        ],
        initializers: [weight("W", 8, 4)],
        inputs: [value("x", "float32[2,8]")],
        outputs: [value("y", "float32")],
        values: [value("t", "float32")],
      },
      17,
      { functions: [twice] },
    );
    const { lines, report, bytes: half } = await halved(bytes);
    expect(lines).toContain("Twice(h_float32)>t");
    expect(remarksOf(report)).toContain("float32 as before: com.microsoft.Twice (a function of the model's own)");
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }]);
  });

  it("are those of domains that nobody knows, and what takes values whose type only they know", async () => {
    const { lines, types } = await halved(
      modelOf({
        nodes: [
          node("Relu", "x", "h"),
          node("What", "h V", "t", {}, { domain: "com.microsoft" }),
          node("Softmax", "t", "s"),
          node("Mul", "s k", "u"),
          node("Add", "x k", "y"),
        ],
        initializers: [weight("V", 4), weight("k", 4)],
        inputs: [value("x", "float32[4]")],
        outputs: [value("u", "float32"), value("y", "float32")],
      }),
    );
    expect(lines).toContain("What(h_float32,V)>t");
    expect(lines).toContain("Softmax(t)>s");
    expect(types).toMatchObject({ V: "float32" });
  });

  it("reckon angles from positions", async () => {
    const bytes = modelOf({
      nodes: [
        node("Cast", "positions", "p", { to: 1 }),
        node("Unsqueeze", "p ax", "column"),
        node("MatMul", "column frequencies", "angles"),
        node("Concat", "angles angles", "both", { axis: 1 }),
        node("Cos", "both", "c"),
        node("Sin", "both", "s"),
        node("Mul", "x c", "a"),
        node("Mul", "x s", "b"),
        node("Add", "a b", "y"),
      ],
      initializers: [tensor("frequencies", "float32", [1, 2], [1, 0.01]), ints("ax", 1)],
      inputs: [value("positions", "int64[2]"), value("x", "float32[2,4]")],
      outputs: [value("y", "float32")],
    });
    const { lines, types, report, bytes: half } = await halved(bytes);
    expect(types.frequencies).toBe("float32");
    expect(lines).toContain("Cast(c)>c_float16");
    expect(remarksOf(report)).toContain("float32 as before: Unsqueeze, MatMul, Concat, Cos, Sin (reckons angles)");
    await expectAlike(bytes, half, [{ positions: whole(2047, 4099), x: fed(1, 2, 4) }]);
  });

  it("stand between quantized values", async () => {
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x W", "h"),
        node("QuantizeLinear", "h hs hz", "hq"),
        node("DequantizeLinear", "hq hs hz", "hd"),
        node("DequantizeLinear", "Vq vs", "V"),
        node("MatMul", "hd V", "m"),
        node("Relu", "m", "r"),
        node("QuantizeLinear", "r hs hz", "rq"),
        node("DequantizeLinear", "rq hs hz", "y"),
      ],
      initializers: [
        weight("W", 8, 4),
        tensor("hs", "float32", [], [0.05]),
        tensor("hz", "uint8", [], [128]),
        tensor(
          "Vq",
          "int8",
          [4, 4],
          Int8Array.from({ length: 16 }, (_, i) => i - 8),
        ),
        tensor("vs", "float32", [], [0.01]),
      ],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32")],
    });
    const { types, lines, bytes: half } = await halved(bytes);
    expect(types).toMatchObject({ W: "float16", hs: "float32", vs: "float32" });
    expect(lines.filter((line) => line.startsWith("Cast"))).toEqual(["Cast(x)>x_float16", "Cast(h)>h_float32"]);
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }], 30);
  });

  it("make integer products numbers again", async () => {
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x W", "h"),
        node("DynamicQuantizeLinear", "h", "q s z"),
        node("Mul", "s vs", "scales"),
        node("MatMulInteger", "q Vq z", "i"),
        node("Cast", "i", "f", { to: 1 }),
        node("Mul", "f scales", "o"),
        node("Add", "o b", "y"),
      ],
      initializers: [
        weight("W", 8, 300),
        weight("b", 4),
        tensor(
          "Vq",
          "int8",
          [300, 4],
          Int8Array.from({ length: 1200 }, (_, i) => 100 + (i % 3)),
        ),
        tensor("vs", "float32", [], [1e-6]),
      ],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32")],
    });
    const { types, bytes: half } = await halved(bytes);
    expect(types).toMatchObject({ W: "float16", vs: "float32" });
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }], 50);
  });

  it("are those that are excluded, not included or of other types", async () => {
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x W", "h", {}, { name: "first" }),
        node("Relu", "h", "r", {}, { name: "act" }),
        node("MatMul", "r V", "y", {}, { name: "last" }),
      ],
      initializers: [weight("W", 8, 4), weight("V", 4, 4)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32")],
    });
    const first = ["MatMul(x_float16,W)>h", "Relu(h)>r", "Cast(r)>r_float32", "MatMul(r_float32,V)>y"];
    expect((await halved(bytes, { exclude: ["last"] })).lines.slice(1)).toEqual(first);
    expect((await halved(bytes, { exclude: ["V"] })).lines.slice(1)).toEqual(first);
    const { types, report } = await halved(bytes, { include: ["W"] });
    expect(types).toEqual({ W: "float16", V: "float32" });
    expect(remarksOf(report)).toContain("float32 as before: Relu, MatMul (not included)");
    expect(remarksOf((await halved(bytes, { opTypes: ["MatMul"] })).report)).toContain(
      "float32 as before: Relu (not of those op types)",
    );
    await expect(halved(bytes, { exclude: ["nowhere"] })).rejects.toThrow("matches no weight or node");
    await expect(halved(bytes, { opTypes: ["Gemm"] })).rejects.toThrow("the model has no Gemm node");
  });
});

describe("opsets", () => {
  const spec = {
    nodes: [node("MatMul", "x W", "h"), node("LeakyRelu", "h", "y")],
    initializers: [weight("W", 8, 4)],
    inputs: [value("x", "float32[2,8]")],
    outputs: [value("y", "float32")],
  };

  it("that have no bfloat16, or no Cast that could be written, are raised", async () => {
    const { types, report } = await halved(modelOf(spec, 12), { dtype: "bfloat16" });
    expect(types).toEqual({ W: "bfloat16" });
    expect(remarksOf(report)).toContain("opset 12 raised to 13, which bfloat16 needs");
    const older = await halved(modelOf(spec, 5));
    expect(older.types).toEqual({ W: "float16" });
    expect(remarksOf(older.report)).toContain("opset 5 raised to 7, which float16 needs");
    await expect(halved(modelOf(spec, 12), { dtype: "bfloat16", opset: 12 })).rejects.toThrow(
      "opset: 12 given; bfloat16 needs at least 13",
    );
  });

  it("tell which nodes take bfloat16", async () => {
    const { types, lines, report } = await halved(modelOf(spec, 13), { dtype: "bfloat16" });
    expect(types).toEqual({ W: "bfloat16" });
    expect(lines).toEqual([
      "Cast(x)>x_bfloat16",
      "MatMul(x_bfloat16,W)>h",
      "Cast(h)>h_float32",
      "LeakyRelu(h_float32)>y",
    ]);
    expect(remarksOf(report)).toContain("float32 as before: LeakyRelu (has bfloat16 from opset 16 on)");
    expect(remarksOf(report).join()).toContain("bfloat16 is for GPUs and other runtimes");
    const newer = await halved(modelOf(spec, 16), { dtype: "bfloat16", io: "bfloat16" });
    expect(newer.lines).toEqual(["MatMul(x,W)>h", "LeakyRelu(h)>y"]);
  });
});
