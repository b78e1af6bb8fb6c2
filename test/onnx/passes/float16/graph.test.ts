import { describe, expect, it } from "vitest";
import { fed, ints, weight, whole } from "../../../helpers/half-inputs.ts";
import { expectAlike, halved, modelOf } from "../../../helpers/halves.ts";
import { node, value } from "../../../helpers/onnx-build.ts";
import { graphIn, payloads, texts } from "../../../helpers/onnx-read.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";

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
