import { describe, expect, it } from "vitest";
import { createEngine } from "../../../../src/engine/engine.ts";
import { expectAlike, halved, modelOf } from "../../../helpers/halves.ts";
import { node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { halvesWidened } from "../../../helpers/onnx-values.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { halvesOf } from "../../../helpers/sessions.ts";

// What becomes of numbers that a half does not hold.

const lowest = -3.4028234663852886e38;

/** A model that adds, multiplies or divides by a constant. */
const with1 = (op: string, values: readonly number[], { inputs = "x k", shape = [values.length] } = {}) =>
  modelOf({
    nodes: [node(op, inputs, "y")],
    initializers: [tensor("k", "float32", shape, values)],
    inputs: [value("x", `float32[${values.length}]`)],
    outputs: [value("y", "float32")],
  });

async function constantOf(bytes: Uint8Array, wishes = {}): Promise<{ values: number[]; remarks: readonly string[] }> {
  const { graph, report } = await halved(bytes, wishes);
  const { raw } = graph.initializers.find(({ name }) => name === "k")!;
  return { values: [...halvesWidened(new Uint16Array(raw.slice().buffer))], remarks: remarksOf(report) };
}

describe("numbers beyond the largest half", () => {
  it.each([false, true])("keep their node in float32, clamp: %s", async (clamp) => {
    const bytes = with1("Mul", [1, -70000, 80000]);
    const { types, report } = await halved(bytes, { clamp });
    expect(types).toEqual({ k: "float32" });
    expect(remarksOf(report)).toContain("float32 as before: Mul Mul_of_y (beyond float16: k holds -70000)");
  });

  /** In a model of more weights than are looked at beforehand. */
  const huge = () => {
    const rows = Float32Array.from({ length: 1100 * 1000 }, () => 1);
    rows.set([70000, 1, -1e30], 7);
    return modelOf({
      nodes: [node("MatMul", "x w", "y")],
      initializers: [tensor("w", "float32", [1100, 1000], rows)],
      inputs: [value("x", "float32[1,1100]")],
      outputs: [value("y", "float32")],
    });
  };

  it("in a large model's large weights are refused with their tensor, place and value", async () => {
    await expect(halved(huge())).rejects.toThrow(
      'm.onnx: tensor "w": 70000 at flat index 7 is beyond float16 (up to 65504); ' +
        "clamp: true makes it that, exclude leaves the nodes that use it in float32",
    );
  });

  it("become it there where that is wanted, and count as lost but for those that stand for something endless", async () => {
    const { report } = await halved(huge(), { clamp: true });
    expect(report.tensors[0]).toMatchObject({ name: "w", to: "float16", maxAbs: 70000 - 65504 });
    expect(remarksOf(report)).toContain("beyond float16, now its largest: w (2 of 1100000, such as 70000)");
  });

  it("that round to it are no trouble", async () => {
    expect((await constantOf(with1("Mul", [65519.9, -65504, 65500]))).values).toEqual([65504, -65504, 65504]);
  });

  it.each([
    ["the lowest float", lowest, -65504],
    ["a mask as some write it", -1e9, -65504],
    ["infinity", Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ])("stand for what no number reaches: %s", async (_, number, half) => {
    const bytes = with1("Add", [0, number, 0, number]);
    expect((await constantOf(bytes)).values).toEqual([0, half, 0, half]);
  });

  it("are what they were as limits of others", async () => {
    const bytes = modelOf({
      nodes: [node("Clip", "x low k", "c"), node("Max", "c floor", "y")],
      initializers: [
        tensor("low", "float32", [], [-1e6]),
        tensor("k", "float32", [], [100000]),
        tensor("floor", "float32", [2], [-2e5, 0]),
      ],
      inputs: [value("x", "float32[2]")],
      outputs: [value("y", "float32")],
    });
    expect((await constantOf(bytes)).values).toEqual([65504]);
    await expectAlike(bytes, (await halved(bytes)).bytes, [{ x: { data: Float32Array.of(-7, 9), dims: [2] } }]);
  });

  it("mask attention as they did", async () => {
    const bytes = modelOf({
      nodes: [
        node("Cast", "mask", "m", { to: 1 }),
        node("Sub", "one m", "away"),
        node("Mul", "away k", "bias"),
        node("Add", "x bias", "masked"),
        node("Softmax", "masked", "y", { axis: -1 }),
      ],
      initializers: [tensor("one", "float32", [], [1]), tensor("k", "float32", [], [lowest])],
      inputs: [value("mask", "int64[4]"), value("x", "float32[2,4]")],
      outputs: [value("y", "float32")],
    });
    const x = { data: normals(randomOf(1), 8), dims: [2, 4] };
    const feeds = [
      [1, 1, 0, 1],
      [0, 0, 0, 0],
    ].map((mask) => ({
      mask: { data: BigInt64Array.from(mask, BigInt), dims: [4] },
      x,
    }));
    const { bytes: half } = await halved(bytes);
    await expectAlike(bytes, half, feeds.slice(0, 1));
    // Where all is masked anything goes, but for what is not a number.
    await expectAlike(bytes, half, feeds.slice(1), 0);
  });

  it("are told of", async () => {
    const { remarks } = await constantOf(with1("Add", [0, lowest]));
    expect(remarks).toContain(`beyond float16, now its largest: k (1 of 2, such as ${lowest})`);
  });
});

describe("numbers too small for a half", () => {
  it("become 0, or have fewer bits, and are counted", async () => {
    const { values, remarks } = await constantOf(with1("Mul", [1e-9, -1e-5, 0, 1, 3e-6, -2e-8]));
    expect(values.map((x) => (x === 0 ? 0 : 1))).toEqual([0, 1, 0, 1, 1, 0]);
    expect(remarks).toContain("too small for float16, now 0: k (2 of 6)");
    expect(remarks).toContain("too small to keep all bits in float16: k (2 of 6)");
  });

  it("are not counted where the half holds them exactly", async () => {
    const exact = [2 ** -24, -(2 ** -20), 3 * 2 ** -24, 0, 1];
    const { values, remarks } = await constantOf(with1("Mul", exact));
    expect(values).toEqual(exact);
    expect(remarks.join()).not.toContain("too small");
    expect((await constantOf(with1("Mul", [...exact, 1e-5]))).remarks).toContain(
      "too small to keep all bits in float16: k (1 of 6)",
    );
  });

  it("stay above 0 where they are all there is, lest something be divided by 0", async () => {
    const { values, remarks } = await constantOf(with1("Add", [1e-12], { shape: [] }));
    expect(values).toEqual([2 ** -24]);
    expect(remarks).toContain("too small for float16, now its smallest lest they be 0: k (1 of 1)");
    expect((await constantOf(with1("Add", [-1e-12], { shape: [1] }))).values).toEqual([-(2 ** -24)]);
    expect((await constantOf(with1("Add", [0], { shape: [1] }))).values).toEqual([0]);
  });

  it("stay what they are where one divides by them", async () => {
    const { types, report } = await halved(with1("Div", [1e-9, 1]));
    expect(types).toEqual({ k: "float32" });
    expect(remarksOf(report)).toContain("float32 as before: Div Div_of_y (too small for float16: k holds 1e-9)");
    expect((await constantOf(with1("Div", [1e-9, 1], { inputs: "k x" }))).values).toEqual([0, 1]);
  });
});

describe("in bfloat16", () => {
  it("only the last floats are beyond it", async () => {
    const { graph } = await halved(with1("Add", [lowest, 70000, 1e-9, 1e-40]), { dtype: "bfloat16" });
    const { raw } = graph.initializers[0]!;
    expect([...new Uint16Array(raw.slice().buffer)]).toEqual([0xff7f, 0x4789, 0x3089, 0x0001]);
  });
});

describe("an engine's narrow", () => {
  it.each(["simd", "scalar"] as const)("rounds half to even and counts, %s", async (kernels) => {
    const engine = await createEngine({ kernels });
    const values = normals(randomOf(5), 200_000, 1e-4);
    values.set([70000, Number.NaN, Number.POSITIVE_INFINITY, 0, 1e-9, 2 ** -24, -(2 ** -20)], 65534);
    const out = new Uint16Array(values.length);
    const narrowed = engine.convertToHalf({ data: values, shape: [values.length] }, { dtype: "float16", out });
    const expected = halvesOf(values);
    expect(Buffer.from(out.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    const small = Array.from(out, (half) => half & 0x7fff);
    const zeros = small.filter((half, i) => half === 0 && values[i] !== 0).length;
    const inexact = (half: number, i: number) => half * 2 ** -24 !== Math.abs(values[i]!);
    const subnormals = small.filter((half, i) => half > 0 && half < 0x400 && inexact(half, i)).length;
    const { loss, sums: _, ...counts } = narrowed;
    expect(counts).toEqual({ overflows: 1, first: { index: 65534, value: 70000 }, nonFinite: 2, zeros, subnormals });
    expect(loss.mse).toBeNaN();
    const finite = { data: values.subarray(0, 65534), shape: [65534] };
    const halves = { dtype: "float16", data: out.subarray(0, 65534), shape: [65534] } as const;
    const { loss: within } = engine.convertToHalf(finite, { dtype: "float16", out: new Uint16Array(65534) });
    expect(engine.error(finite, halves)).toMatchObject(within);
  });

  it("wants room of the right size", async () => {
    const engine = await createEngine();
    const values = { data: Float32Array.of(1, 2), shape: [2] };
    expect(() => engine.convertToHalf(values, { dtype: "float16", out: new Uint16Array(1) })).toThrow("out");
  });
});

describe("tensors of every storage", () => {
  it.each(["raw", "packed", "unpacked"] as const)("%s", async (store) => {
    const bytes = modelOf({
      nodes: [node("Mul", "x k", "y")],
      initializers: [tensor("k", "float32", [3], [1, -2.5, 1 / 3], { store })],
      inputs: [value("x", "float32[3]")],
      outputs: [value("y", "float32")],
    });
    expect((await constantOf(bytes)).values).toEqual([1, -2.5, 0.333251953125]);
  });

  it("empty", async () => {
    const bytes = modelOf({
      nodes: [node("Concat", "x k", "c", { axis: 0 }), node("Neg", "c", "y")],
      initializers: [tensor("k", "float32", [0], [])],
      inputs: [value("x", "float32[3]")],
      outputs: [value("y", "float32")],
    });
    const { types } = await halved(bytes);
    expect(types.k).toBe("float16");
  });
});

describe("a mask at the far end of a row of nodes", () => {
  it("takes no stack", async () => {
    const count = 5000;
    const row = Array.from({ length: count }, (_, i) => node("Neg", `m${i}`, `m${i + 1}`));
    const bytes = modelOf({
      nodes: [...row, node("Add", `x m${count}`, "s"), node("Softmax", "s", "y")],
      initializers: [tensor("m0", "float32", [4], [-1e9, 0, 0, 0])],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32")],
    });
    expect(remarksOf((await halved(bytes)).report).join("\n")).toContain("beyond float16: m0 holds -1000000000");
  });
});
