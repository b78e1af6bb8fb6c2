import { describe, expect, it } from "vitest";
import { fed, noise, weight, whole } from "../../../helpers/half-inputs.ts";
import { expectAlike, halved, modelOf, type Spec } from "../../../helpers/halves.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { remarksOf } from "../../../helpers/remarks.ts";

// Nodes that stay float32 for the values of their constants, and masks, which do not.

const one = (name: string, number: number, dims: readonly number[] = []) => tensor(name, "float32", dims, [number]);
const lowest = -3.4028234663852886e38;

const keptIn = async (bytes: Uint8Array, wishes = {}) =>
  remarksOf((await halved(bytes, wishes)).report).filter((line) => line.startsWith("float32 as before"));

describe("a model full of BatchNormalization", () => {
  const CHANNELS = 8;
  /** Deviations of a layer's sums: what the variances are the squares of. */
  const deviations = [1e-4, 3e-3, 1, 40, 900, 5000];

  const layer = (i: number, deviation: number) => {
    const inputs = CHANNELS * 9;
    const spread = (j: number) => deviation * (1 + j / CHANNELS);
    const W = normals(randomOf(i + 1), CHANNELS * inputs, 1 / Math.sqrt(inputs)).map(
      (x, at) => x * spread(Math.floor(at / inputs)),
    );
    const per = (name: string, of: (j: number) => number) =>
      tensor(
        `${name}${i}`,
        "float32",
        [CHANNELS],
        Float32Array.from({ length: CHANNELS }, (_, j) => of(j)),
      );
    return {
      nodes: [
        node("Conv", `h${i} W${i}`, `c${i}`, { pads: [1, 1, 1, 1] }),
        node("BatchNormalization", `c${i} g${i} b${i} m${i} v${i}`, `n${i}`, { epsilon: { float: 1e-9 } }),
        node("LeakyRelu", `n${i}`, `h${i + 1}`),
      ],
      initializers: [
        tensor(`W${i}`, "float32", [CHANNELS, CHANNELS, 3, 3], W),
        per("g", (j) => 1 + j / 10),
        per("b", (j) => j / 20 - 0.2),
        per("m", (j) => (spread(j) * (j - 3)) / 10),
        per("v", (j) => spread(j) ** 2),
      ],
    };
  };
  const layers = deviations.map((deviation, i) => layer(i, deviation));
  const bytes = modelOf({
    nodes: layers.flatMap(({ nodes }) => nodes),
    initializers: layers.flatMap(({ initializers }) => initializers),
    inputs: [value("h0", `float32[1,${CHANNELS},12,12]`)],
    outputs: [value(`h${deviations.length}`, "float32")],
  });

  it.each([false, true])("keeps 45 dB, clamp: %s", async (clamp) => {
    const { bytes: half, types, report } = await halved(bytes, { clamp });
    await expectAlike(bytes, half, [{ h0: fed(3, 1, CHANNELS, 12, 12) }], 45);
    expect(types).toMatchObject({ W1: "float16", W2: "float16", W5: "float16", v2: "float16", v5: "float32" });
    expect(remarksOf(report).join("\n")).not.toContain("now its largest");
  });

  it("has a remark for each normalization that stays float32", async () => {
    const lines = await keptIn(bytes);
    expect(lines).toContain(
      "float32 as before: BatchNormalization BatchNormalization_of_n5 (beyond float16: v5 holds 25000000)",
    );
    expect(lines.join()).toContain("BatchNormalization_of_n0 (too small for float16: v0 holds 1e-8)");
    expect(lines.join()).not.toContain("BatchNormalization_of_n2");
  });
});

describe("a model that ends in a logarithm", () => {
  const BINS = 33;
  const FRAME = 64;
  const wave = (name: string, of: (angle: number) => number) =>
    tensor(
      name,
      "float32",
      [FRAME, BINS],
      Float32Array.from({ length: FRAME * BINS }, (_, i) =>
        of((2 * Math.PI * Math.floor(i / BINS) * (i % BINS)) / FRAME),
      ),
    );
  const mel = tensor(
    "mel",
    "float32",
    [BINS, 10],
    Float32Array.from({ length: BINS * 10 }, (_, i) =>
      Math.max(0, 1 - Math.abs(Math.floor(i / 10) - 3 * (i % 10)) / 3),
    ),
  );
  /** Of a few loud frames and some that are nearly silent. */
  const frames = noise(7, 6, FRAME).map((x, i) => x * 10 ** (1 - Math.floor(i / FRAME)));

  it.each([
    ["a sum with epsilon", [node("Add", "p eps", "s")]],
    ["a maximum", [node("Max", "p eps", "s")]],
    ["Clip", [node("Clip", "p eps", "s")]],
    ["bands", [node("MatMul", "p mel", "b"), node("Add", "b eps", "s")]],
  ])("of %s keeps 45 dB", async (_, nodes) => {
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x cos", "re"),
        node("MatMul", "x sin", "im"),
        node("Mul", "re re", "re2"),
        node("Pow", "im two", "im2"),
        node("Add", "re2 im2", "p"),
        ...nodes,
        node("Log", "s", "y"),
      ],
      initializers: [wave("cos", Math.cos), wave("sin", Math.sin), mel, one("two", 2), one("eps", 1e-10)],
      inputs: [value("x", `float32[6,${FRAME}]`)],
      outputs: [value("y", "float32")],
    });
    const { bytes: half, types, report } = await halved(bytes);
    expect(types).toMatchObject({ cos: "float16", sin: "float16", eps: "float32" });
    expect(remarksOf(report).join("\n")).toMatch(
      /float32 as before: \w+ \w+_of_s \(too small for float16 where it decides the result: eps is 1e-10\)/,
    );
    await expectAlike(bytes, half, [{ x: { data: Float32Array.from(frames), dims: [6, FRAME] } }], 45);
  });

  it.each(["Identity", "Cast", "Reshape"])("with an epsilon behind %s", async (op) => {
    const rest = op === "Cast" ? { to: 1 } : {};
    const bytes = modelOf({
      nodes: [
        node(op, op === "Reshape" ? "raw shape" : "raw", "eps", rest),
        node("Relu", "x", "r"),
        node("Add", "r eps", "s"),
        node("Log", "s", "y"),
      ],
      initializers: [one("raw", 1e-10, [1]), tensor("shape", "int64", [1], [1])],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32")],
    });
    const { bytes: half, types } = await halved(bytes);
    expect(types.raw).toBe("float32");
    await expectAlike(bytes, half, [{ x: { data: Float32Array.of(-1, 0, 2, 1e-4), dims: [4] } }], 45);
  });
});

describe("numbers that decide the result", () => {
  const between = (nodes: readonly Uint8Array[], initializers: readonly Uint8Array[], opset = 17) =>
    modelOf(
      {
        nodes: [node("MatMul", "x W", "h"), ...nodes, node("MatMul", "o V", "y")],
        initializers: [weight("W", 8, 8), weight("V", 8, 4), ...initializers],
        inputs: [value("x", "float32[3,8]")],
        outputs: [value("y", "float32")],
      },
      opset,
    );
  const feeds = [{ x: fed(2, 3, 8) }];

  it.each<[string, readonly Uint8Array[], readonly Uint8Array[], number]>([
    [
      "a small factor before a root",
      [node("Abs", "h", "a"), node("Mul", "a k", "m"), node("Sqrt", "m", "o")],
      [one("k", 1e-9)],
      17,
    ],
    [
      "a small divisor",
      [node("Tanh", "h", "t"), node("Mul", "t k", "m"), node("Div", "m k", "o")],
      [one("k", 1e-8)],
      13,
    ],
    ["a large factor and its inverse", [node("Mul", "h k", "m"), node("Div", "m k", "o")], [one("k", 2 ** 20)], 15],
    [
      "a large summand that is taken away again",
      [node("Add", "h k", "m"), node("Sub", "m k", "o")],
      [one("k", 100001)],
      21,
    ],
    [
      "a reciprocal of the smallest",
      [node("Relu", "h", "r"), node("Add", "r k", "m"), node("Reciprocal", "m", "q"), node("Mul", "q k", "o")],
      [one("k", 1e-7)],
      18,
    ],
    [
      "a negative power",
      [node("Abs", "h", "r"), node("Add", "r k", "m"), node("Pow", "m p", "o")],
      [one("k", 1e-7), one("p", -0.25)],
      14,
    ],
  ])("%s", async (_, nodes, initializers, opset) => {
    const bytes = between(nodes, initializers, opset);
    const { bytes: half, types, report, lines } = await halved(bytes);
    // What is divided by nearly nothing, or a root of it, may still be out of range where the next layer takes it.
    const isOut = lines.some((line) => /^(Sqrt|Reciprocal)/.test(line));
    expect(types).toMatchObject({ W: "float16", V: isOut ? "float32" : "float16", k: "float32" });
    expect(remarksOf(report).join("\n")).toMatch(/float32 as before: \w+ \w+ \((beyond|too small for) float16.*: k /);
    await expectAlike(bytes, half, feeds, 45);
  });

  it("do not take a whole network with them", async () => {
    const nodes = [node("Mul", "h k", "m"), node("Tanh", "m", "t"), node("Relu", "t", "o")];
    const { lines } = await halved(between(nodes, [one("k", 1e6)]));
    expect(lines).toContain("MatMul(x_float16,W)>h");
    expect(lines).toContain("Relu(t_float16)>o");
  });

  it.each([true, false])("in a branch, brought back there: %s", async (isBack) => {
    const branch = graph({
      nodes: isBack ? [node("Mul", "h k", "m"), node("Tanh", "m", "a")] : [node("Mul", "h k", "a")],
      initializers: [one("k", 1e6)],
      outputs: [value("a", "float32")],
    });
    const other = graph({ nodes: [node("Relu", "h", "b")], outputs: [value("b", "float32")] });
    const bytes = modelOf({
      nodes: [
        node("MatMul", "x W", "h"),
        node("If", "which", "o", { then_branch: { graph: branch }, else_branch: { graph: other } }),
        node("Tanh", "o", "t"),
        node("MatMul", "t V", "y"),
      ],
      initializers: [weight("W", 8, 8), weight("V", 8, 4)],
      inputs: [value("x", "float32[3,8]"), value("which", "bool[1]")],
      outputs: [value("y", "float32")],
    });
    const { bytes: half, types, lines } = await halved(bytes);
    expect(types).toEqual({ W: "float16", V: "float16" });
    expect(lines.includes("Cast(t)>t_float16")).toBe(!isBack);
    const which = [0, 1].map((flag) => ({ which: { data: Uint8Array.of(flag), dims: [1] }, x: fed(2, 3, 8) }));
    await expectAlike(bytes, half, which, 45);
  });
});

describe("masks", () => {
  const attention = (nodes: readonly Uint8Array[], initializers: readonly Uint8Array[]): Spec => ({
    nodes: [...nodes, node("Softmax", "s", "p", { axis: -1 }), node("MatMul", "p V", "y")],
    initializers: [weight("V", 4, 8), ...initializers],
    inputs: [value("x", "float32[2,4]"), value("mask", "int64[4]")],
    outputs: [value("y", "float32")],
  });
  const toFloat = node("Cast", "mask", "m", { to: 1 });
  const away = node("Sub", "one m", "a");

  it.each<[string, readonly Uint8Array[], readonly Uint8Array[]]>([
    [
      "times the lowest float",
      [toFloat, away, node("Mul", "a k", "b"), node("Add", "x b", "s")],
      [one("one", 1), one("k", lowest)],
    ],
    ["times -1e9", [toFloat, away, node("Mul", "a k", "b"), node("Add", "x b", "s")], [one("one", 1), one("k", -1e9)]],
    [
      "times -100000",
      [toFloat, away, node("Mul", "a k", "b"), node("Add", "x b", "s")],
      [one("one", 1), one("k", -100000)],
    ],
    ["chosen by Where", [node("Cast", "mask", "m", { to: 9 }), node("Where", "m x k", "s")], [one("k", -1e9)]],
    [
      "infinite",
      [node("Cast", "mask", "m", { to: 9 }), node("Where", "m x k", "s")],
      [one("k", Number.NEGATIVE_INFINITY)],
    ],
    [
      "put in by ScatterND",
      [node("ScatterND", "x at k", "s")],
      [tensor("at", "int64", [1, 2], [0, 1]), one("k", -1e9, [1])],
    ],
    ["a table that is added", [node("Add", "x k", "s")], [tensor("k", "float32", [4], [0, lowest, 0, 0])]],
    ["limits of Clip", [node("Clip", "x k top", "s")], [one("k", -1e6), one("top", 1e30)]],
  ])("%s become the largest half", async (_, nodes, initializers) => {
    const bytes = modelOf(attention(nodes, initializers));
    const { bytes: half, types } = await halved(bytes);
    expect(types).toMatchObject({ k: "float16", V: "float16" });
    expect(await keptIn(bytes)).toEqual([]);
    await expectAlike(bytes, half, [{ x: fed(1, 2, 4), mask: whole(1, 0, 1, 1) }], 50);
  });

  it.each([false, true])("are not what is added for its own sake, clamp: %s", async (clamp) => {
    const bytes = modelOf({
      nodes: [node("Add", "x k", "s"), node("Sqrt", "s", "r"), node("Mul", "r W", "y")],
      initializers: [one("k", 2.5e7), weight("W", 4)],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32")],
    });
    const { bytes: half, types } = await halved(bytes, { clamp });
    expect(types.k).toBe("float32");
    await expectAlike(bytes, half, [{ x: { data: Float32Array.of(1e6, 2, 3e7, 4), dims: [4] } }], 50);
  });
});

describe("the epsilon of a normalization that is one node", () => {
  it("is an attribute, which is float32 as before", async () => {
    const bytes = modelOf({
      nodes: [node("LayerNormalization", "x g b", "n", { epsilon: { float: 1e-12 } }), node("MatMul", "n W", "y")],
      initializers: [weight("g", 8), weight("b", 8), weight("W", 8, 4)],
      inputs: [value("x", "float32[3,8]")],
      outputs: [value("y", "float32")],
    });
    const { bytes: half, types } = await halved(bytes);
    expect(types).toEqual({ g: "float16", b: "float16", W: "float16" });
    await expectAlike(bytes, half, [{ x: fed(1, 3, 8) }], 50);
  });
});
