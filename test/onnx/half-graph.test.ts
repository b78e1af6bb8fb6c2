import { describe, expect, it } from "vitest";
import { expectAlike, graphWithin, halved, linesOf, modelOf } from "../helpers/halves.ts";
import { functionOf, graph, graphIn, node, payloads, tensor, texts, value } from "../helpers/onnx-build.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import type { Feed } from "../helpers/sessions.ts";

const noise = (seed: number, ...dims: number[]) =>
  normals(
    randomOf(seed),
    dims.reduce((a, b) => a * b, 1),
  );
const weight = (name: string, ...dims: number[]) => tensor(name, "float32", dims, noise(name.length, ...dims));
const fed = (seed: number, ...dims: number[]): Feed => ({ data: noise(seed, ...dims), dims });
const ints = (name: string, ...values: number[]) => tensor(name, "int64", [values.length], values);
const whole = (...values: number[]): Feed => ({ data: BigInt64Array.from(values, BigInt), dims: [values.length] });

describe("a graph in float16", () => {
  it("has half weights between a Cast in and a Cast out, and keeps the names of inputs and outputs", async () => {
    const bytes = modelOf({
      nodes: [node("MatMul", "x W", "h"), node("Relu", "h", "r"), node("Add", "r b", "y")],
      initializers: [weight("W", 8, 4), weight("b", 4)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32[2,4]")],
      values: [value("h", "float32[2,4]"), value("r", "float32[2,4]")],
    });
    const { lines, types, bytes: half, report } = await halved(bytes);
    expect(types).toEqual({ W: "float16", b: "float16" });
    expect(lines).toEqual([
      "Cast(x)>x_float16",
      "MatMul(x_float16,W)>h",
      "Relu(h)>r",
      "Add(r,b)>y_float16",
      "Cast(y_float16)>y",
    ]);
    expect(report.tensors[0]).toMatchObject({ name: "W", from: "float32", to: "float16", bytesAfter: 64 });
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }]);
  });

  it("has inputs and outputs in float16 where that is wanted", async () => {
    const bytes = modelOf({
      nodes: [node("MatMul", "x W", "y"), node("Celu", "x", "z")],
      initializers: [weight("W", 8, 4)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32[2,4]"), value("z", "float32")],
    });
    const { lines, bytes: half } = await halved(bytes, { io: "float16" });
    expect(lines).toEqual(["Cast(x)>x_float32", "MatMul(x,W)>y", "Celu(x_float32)>z_float32", "Cast(z_float32)>z"]);
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }]);
    await expect(halved(bytes, { io: "bfloat16" })).rejects.toThrow("io: bfloat16 given; float32 or float16 is wanted");
  });

  it("casts a value once for all that take it, and back once", async () => {
    const bytes = modelOf({
      nodes: [
        node("Mul", "x k", "a"),
        node("Celu", "a", "b"),
        node("Celu", "a", "c", { alpha: { float: 2 } }),
        node("Add", "b c", "d"),
        node("Mul", "d b", "y"),
      ],
      initializers: [weight("k", 4)],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32[4]")],
    });
    const { lines, report, bytes: half } = await halved(bytes);
    expect(lines.filter((line) => line.startsWith("Cast"))).toEqual([
      "Cast(x)>x_float16",
      "Cast(a)>a_float32",
      "Cast(b)>b_float16",
      "Cast(c)>c_float16",
      "Cast(y_float16)>y",
    ]);
    expect(remarksOf(report)).toContain("float32 as before: 2 Celu (has float16 from opset 28 on)");
    await expectAlike(bytes, half, [{ x: fed(1, 4) }]);
  });

  it("leaves float32 what only moves numbers between float32", async () => {
    const bytes = modelOf({
      nodes: [
        node("Reshape", "boxes s", "b"),
        node("Transpose", "scores", "t", { perm: [0, 2, 1] }),
        node("NonMaxSuppression", "b t n iou", "y"),
        node("MatMul", "scores W", "z"),
      ],
      initializers: [ints("s", 1, 4, 4), weight("W", 2, 3), ints("n", 3), tensor("iou", "float32", [1], [0.5])],
      inputs: [value("boxes", "float32[4,4]"), value("scores", "float32[1,4,2]")],
      outputs: [value("y", "int64"), value("z", "float32")],
    });
    const { lines, types, bytes: half } = await halved(bytes);
    expect(lines.filter((line) => line.startsWith("Cast"))).toEqual([
      "Cast(scores)>scores_float16",
      "Cast(z_float16)>z",
    ]);
    expect(types).toMatchObject({ W: "float16", iou: "float32" });
    await expectAlike(bytes, half, [{ boxes: fed(1, 4, 4), scores: fed(2, 1, 4, 2) }]);
  });

  it("keeps inputs in float32 that have to be: scales of Resize", async () => {
    const bytes = modelOf({
      nodes: [node("Conv", "x W", "h"), node("Resize", "h - scales", "y")],
      initializers: [weight("W", 2, 3, 1, 1), tensor("scales", "float32", [4], [1, 1, 2, 2])],
      inputs: [value("x", "float32[1,3,4,4]")],
      outputs: [value("y", "float32")],
    });
    const { types, bytes: half } = await halved(bytes);
    expect(types).toEqual({ W: "float16", scales: "float32" });
    await expectAlike(bytes, half, [{ x: fed(1, 1, 3, 4, 4) }]);
  });

  it("stores a small constant twice where both types are wanted, a large one once", async () => {
    const bytes = modelOf({
      nodes: [
        ...[node("Celu", "k", "k2"), node("Mul", "x k", "a"), node("Mul", "a k2", "b")],
        ...[node("Celu", "T", "t"), node("MatMul", "b T", "c"), node("MatMul", "c t", "y")],
      ],
      initializers: [weight("k", 40), weight("T", 40, 40)],
      inputs: [value("x", "float32[2,40]")],
      outputs: [value("y", "float32")],
    });
    const { types, lines, bytes: half } = await halved(bytes);
    expect(types).toEqual({ k: "float32", k_float16: "float16", T_float16: "float16" });
    expect(lines).toContain("Cast(T_float16)>T");
    await expectAlike(bytes, half, [{ x: fed(1, 2, 40) }]);
  });

  it("retargets the model's own Casts and drops those that have nothing left to do", async () => {
    const bytes = modelOf({
      nodes: [
        node("Cast", "i", "f", { to: 1 }),
        node("Mul", "f k", "a"),
        node("Cast", "a", "h", { to: 10 }),
        node("Mul", "h kh", "hh"),
        node("Cast", "hh", "b", { to: 1 }),
        node("Mul", "b k", "c"),
        node("Cast", "i", "g", { to: 1 }),
        node("Celu", "g", "d"),
        node("Celu", "b", "e"),
        node("Sum", "c d e", "y"),
        node("Cast", "c", "z", { to: 11 }),
      ],
      initializers: [weight("k", 4), tensor("kh", "float16", [4], [0x3c00, 0x3c00, 0x4000, 0xc000])],
      inputs: [value("i", "int64[4]")],
      outputs: [value("y", "float32"), value("z", "float64")],
    });
    const { lines, bytes: half } = await halved(bytes);
    expect(lines).toEqual([
      "Cast(i)>f",
      "Mul(f,k)>a",
      "Mul(a,kh)>hh",
      "Cast(hh)>b",
      "Mul(hh,k)>c",
      "Cast(i)>g",
      "Celu(g)>d",
      "Cast(d)>d_float16",
      "Celu(b)>e",
      "Cast(e)>e_float16",
      "Sum(c,d_float16,e_float16)>y_float16",
      "Cast(y_float16)>y",
      "Cast(c)>z",
    ]);
    await expectAlike(bytes, half, [{ i: whole(3, -5, 7, 100) }]);
  });

  it("converts what attributes say of types and numbers", async () => {
    const bytes = modelOf({
      nodes: [
        node("Constant", "", "one", { value_float: { float: 1.5 } }),
        node("Constant", "", "list", { value_floats: { floats: [1, 2, 3] } }),
        node("Constant", "", "table", { value: { tensor: tensor("", "float32", [3], [3, 2, 1]) } }),
        node("ConstantOfShape", "s", "filled", { value: { tensor: tensor("", "float32", [1], [0.5]) } }),
        node("ConstantOfShape", "s", "empty"),
        node("EyeLike", "x2", "eye"),
        node("RandomNormalLike", "x", "r", { dtype: 1, seed: { float: 1 } }),
        node("RandomUniform", "", "u", { shape: [3], dtype: 1 }),
        node("Mul", "r empty", "zero"),
        node("Mul", "u empty", "zero2"),
        node("Sum", "x one list table filled empty zero zero2", "sum"),
        node("MatMul", "sum eye", "y"),
      ],
      initializers: [ints("s", 3)],
      inputs: [value("x", "float32[3]"), value("x2", "float32[3,3]")],
      outputs: [value("y", "float32")],
    });
    const { types, report, bytes: half } = await halved(bytes);
    expect(types).toMatchObject({ one: "float16", list: "float16", table: "float16" });
    expect(remarksOf(report)).toContain("float32 as before: RandomUniform (ONNX Runtime makes no float16 there)");
    await expectAlike(bytes, half, [{ x: fed(1, 3), x2: fed(2, 3, 3) }]);
  });

  it("knows outputs that are float32 whatever the rest is", async () => {
    const bytes = modelOf({
      nodes: [node("LayerNormalization", "x s", "n mean inv"), node("Mul", "n mean", "a"), node("Add", "a inv", "y")],
      initializers: [weight("s", 4)],
      inputs: [value("x", "float32[2,4]")],
      outputs: [value("y", "float32")],
    });
    const { lines, bytes: half } = await halved(bytes);
    expect(lines).toContain("Cast(mean)>mean_float16");
    await expectAlike(bytes, half, [{ x: fed(1, 2, 4) }]);
  });

  it("tells what it declares of its values anew", async () => {
    const wrong = modelOf({
      nodes: [node("Relu", "x", "h"), node("Mul", "h k", "m"), node("Celu", "m", "c"), node("Mul", "c k", "y")],
      initializers: [weight("k", 4)],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32[4]")],
      values: ["h", "m", "c", "k"].map((name) => value(name, "float32[4]")),
    });
    const { bytes } = await halved(wrong);
    const infos = payloads(graphIn(bytes), 13).map((info) => {
      const type = payloads(payloads(info, 2)[0]!, 1)[0]!;
      return `${texts(info, 1)[0]} ${type[1]}`;
    });
    expect(infos).toEqual(["h 10", "m 10", "c 1", "k 10"]);
    await expectAlike(wrong, bytes, [{ x: fed(1, 4) }]);
  });

  it("takes models that list initializers among their inputs", async () => {
    const bytes = modelOf(
      {
        nodes: [node("MatMul", "x W", "h"), node("Upsample", "h s", "y")],
        initializers: [weight("W", 8, 4), tensor("s", "float32", [2], [1, 2])],
        inputs: [value("x", "float32[2,8]"), value("W", "float32[8,4]"), value("s", "float32[2]")],
        outputs: [value("y", "float32")],
      },
      9,
      { ir: 3 },
    );
    const { graph: made, bytes: half } = await halved(bytes);
    expect(made.inputs).toEqual(["x"]);
    await expectAlike(bytes, half, [{ x: fed(1, 2, 8) }]);
  });

  it("puts the nodes of an unsorted graph in order", async () => {
    const bytes = modelOf({
      nodes: [node("Celu", "h", "y"), node("MatMul", "x W", "h")],
      initializers: [weight("W", 8, 4)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32")],
    });
    const { lines } = await halved(bytes);
    expect(lines).toEqual(["Cast(x)>x_float16", "MatMul(x_float16,W)>h", "Cast(h)>h_float32", "Celu(h_float32)>y"]);
  });

  it("leaves alone what has no float32", async () => {
    const bytes = modelOf({
      nodes: [node("Mul", "x k", "y"), node("Add", "i j", "z")],
      initializers: [tensor("k", "float16", [2], [0x3c00, 0x4000]), tensor("j", "float64", [2], [1, 2])],
      inputs: [value("x", "float16[2]"), value("i", "float64[2]")],
      outputs: [value("y", "float16"), value("z", "float64")],
    });
    const { bytes: half, report } = await halved(bytes);
    expect(Buffer.from(half).equals(bytes)).toBe(true);
    expect(remarksOf(report)).toContain("nothing to convert to float16: it has no float32");
  });
});

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

  it("are functions of the model's own", async () => {
    const twice = functionOf({
      name: "Twice",
      domain: "own",
      inputs: ["a"],
      outputs: ["b"],
      nodes: [node("Constant", "", "k", { value_float: { float: 2 } }), node("Mul", "a k", "b")],
      opsets: { "": 17 },
    });
    const bytes = modelOf(
      {
        nodes: [node("MatMul", "x W", "h"), node("Twice", "h", "t", {}, { domain: "own" }), node("Relu", "t", "y")],
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
    expect(remarksOf(report)).toContain("float32 as before: own.Twice (a function of the model's own)");
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
