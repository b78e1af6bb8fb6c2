import { describe, expect, it } from "vitest";
import { halved, modelOf, type Spec } from "../../../helpers/halves.ts";
import { runAll } from "../../../helpers/model-feeds.ts";
import { node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { type Feed, type Feeds, runtimes, withSession } from "../../../helpers/sessions.ts";

// Sizes, indices and counts that are reckoned in floats: of them a half keeps 11 bits.

const number = (name: string, x: number, dims: readonly number[] = []) => tensor(name, "float32", dims, [x]);
const ints = (name: string, ...values: number[]) => tensor(name, "int64", [values.length], values);
const whole = (...values: number[]): Feed => ({ data: BigInt64Array.from(values, BigInt), dims: [values.length] });
const zeros = (...dims: number[]): Feed => ({ data: new Float32Array(dims.reduce((a, b) => a * b, 1)), dims });

const long = [2051, 16001, 80000];

/** Runs a model and its halves in both runtimes: the integers, and the dimensions of all, are the same. */
async function expectSameIntegers(spec: Spec, feeds: readonly Feeds[], wishes = {}, opset = 17) {
  const before = modelOf(spec, opset);
  const made = await halved(before, wishes);
  for (const open of Object.values(runtimes)) {
    const [float, half] = await Promise.all(
      [before, made.bytes].map((bytes) => withSession(open(bytes), (session) => runAll(session, feeds))),
    );
    const seen = (runs: typeof float) =>
      runs!.map((outputs) =>
        Object.entries(outputs).map(([name, { type, dims, data }]) => [
          ...[name, dims],
          type.startsWith("float") ? undefined : data,
        ]),
      );
    expect(seen(half)).toEqual(seen(float));
  }
  return made;
}

describe("numbers that become integers", () => {
  it.each(["float32", "float16"] as const)("count the frames of a signal, %s outside", async (io) => {
    const spec = {
      nodes: [
        ...[node("Shape", "x", "shape"), node("Gather", "shape last", "n"), node("Cast", "n", "f", { to: 1 })],
        ...[node("Sub", "f window", "left"), node("Div", "left hop", "hops"), node("Floor", "hops", "floor")],
        ...[node("Add", "floor one", "count"), node("Cast", "count", "frames", { to: 7 })],
        ...[node("Range", "first frames step", "y"), node("Mul", "x hop", "z")],
      ],
      initializers: [
        ...[tensor("last", "int64", [], [1]), tensor("first", "int64", [], [0]), tensor("step", "int64", [], [1])],
        ...[number("window", 400), number("hop", 160), number("one", 1)],
      ],
      inputs: [value("x", "float32[1,n]")],
      outputs: [value("y", "int64[frames]"), value("z", "float32[1,n]")],
    };
    const feeds = long.map((n) => ({ x: zeros(1, n) }));
    const { report, types } = await expectSameIntegers(spec, feeds, { io });
    expect(types).toMatchObject({ window: "float32", hop: "float32", hop_float16: "float16" });
    expect(remarksOf(report)).toContain("float32 as before: Sub, Div, Floor, Add (numbers that become integers)");
  });

  it("are sizes to resize to", async () => {
    const spec = {
      nodes: [
        ...[node("Shape", "x", "shape"), node("Cast", "shape", "f", { to: 1 }), node("Mul", "f twice", "wide")],
        ...[node("Cast", "wide", "sizes", { to: 7 }), node("Resize", "x - - sizes", "y", { mode: "nearest" })],
      ],
      initializers: [tensor("twice", "float32", [4], [1, 1, 1, 2])],
      inputs: [value("x", "float32[1,1,1,n]")],
      outputs: [value("y", "float32")],
    };
    const { types, lines } = await expectSameIntegers(
      spec,
      long.map((n) => ({ x: zeros(1, 1, 1, n) })),
    );
    expect(types.twice).toBe("float32");
    expect(lines).toContain("Mul(f,twice)>wide");
  });

  it("are scales to resize by", async () => {
    const spec = {
      nodes: [
        ...[node("Shape", "x", "shape"), node("Cast", "shape", "f", { to: 1 }), node("Cast", "to", "t", { to: 1 })],
        ...[node("Div", "t f", "scales"), node("Resize", "x - scales", "y", { mode: "nearest" })],
      ],
      inputs: [value("x", "float32[1,1,1,n]"), value("to", "int64[4]")],
      outputs: [value("y", "float32")],
    };
    const feeds = long.map((n) => ({ x: zeros(1, 1, 1, n), to: whole(1, 1, 1, 2 * n) }));
    const { report } = await expectSameIntegers(spec, feeds);
    expect(remarksOf(report)).toContain("float32 as before: Div (numbers that become integers)");
  });

  it("are ids of tokens, which a layer takes too", async () => {
    const spec = {
      nodes: [
        ...[node("Cast", "ids", "f", { to: 1 }), node("Mul", "f three", "m"), node("Cast", "m", "y", { to: 7 })],
        ...[
          node("Cast", "f", "back", { to: 7 }),
          node("Cast", "f", "d", { to: 11 }),
          node("Cast", "d", "e", { to: 6 }),
        ],
        ...[node("Softmax", "f", "z"), node("Cast", "c", "k", { to: 7 }), node("Mul", "z c", "w")],
      ],
      initializers: [number("three", 3), tensor("c", "float32", [3], [2051, 16001, 50001])],
      inputs: [value("ids", "int64[3]")],
      outputs: [
        ...[value("y", "int64[3]"), value("back", "int64[3]"), value("e", "int32[3]"), value("k", "int64[3]")],
        ...[value("z", "float32[3]"), value("w", "float32[3]")],
      ],
    };
    const { types, lines } = await expectSameIntegers(spec, [{ ids: whole(...long) }]);
    expect(types).toMatchObject({ three: "float32", c_float16: "float16" });
    expect(lines).toEqual(expect.arrayContaining(["Softmax(f)>z_float16", "Mul(f_float32,three)>m"]));
  });

  it("are lengths that are summed and compared", async () => {
    const spec = {
      nodes: [
        ...[node("Cast", "mask", "f", { to: 1 }), node("ReduceSum", "f", "n", { keepdims: 0 })],
        ...[
          node("Cast", "n", "length", { to: 7 }),
          node("Cast", "places", "p", { to: 1 }),
          node("Less", "p n", "less"),
        ],
        ...[node("Cast", "less", "y", { to: 7 }), node("Where", "less x low", "z")],
      ],
      initializers: [ints("places", ...Array.from({ length: 5000 }, (_, i) => i)), number("low", -1e4)],
      inputs: [value("mask", "int64[5000]"), value("x", "float32[5000]")],
      outputs: [value("length", "int64[]"), value("y", "int64[5000]"), value("z", "float32[5000]")],
    };
    const mask = whole(...Array.from({ length: 5000 }, (_, i) => (i < 4099 ? 1 : 0)));
    const { report } = await expectSameIntegers(spec, [{ mask, x: zeros(5000) }]);
    expect(remarksOf(report)).toContain("float32 as before: ReduceSum, Less (numbers that become integers)");
  });

  it("are what follows a network's last layer, and no more of it", async () => {
    const weights = (name: string) => tensor(name, "float32", [8, 8], normals(randomOf(name.length), 64));
    const bytes = modelOf({
      nodes: [
        ...[node("MatMul", "x W", "h"), node("Add", "h x", "r"), node("MatMul", "r VV", "i"), node("Add", "i r", "s")],
        ...[node("Mul", "s most", "m"), node("Round", "m", "n"), node("Clip", "n low most", "c")],
        ...[node("Cast", "c", "y", { to: 2 }), node("ArgMax", "s", "best"), node("Cast", "s", "z", { to: 7 })],
      ],
      initializers: [weights("W"), weights("VV"), number("most", 255), number("low", 0)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "uint8[2,8]"), value("best", "int64"), value("z", "int64[2,8]")],
    });
    const { lines, report } = await halved(bytes);
    expect(lines).toEqual([
      ...["Cast(x)>x_float16", "MatMul(x_float16,W)>h", "Add(h,x_float16)>r", "MatMul(r,VV)>i", "Add(i,r)>s"],
      ...["Cast(s)>s_float32", "Mul(s_float32,most)>m", "Round(m)>n", "Clip(n,low,most)>c", "Cast(c)>y"],
      ...["ArgMax(s)>best", "Cast(s_float32)>z"],
    ]);
    expect(remarksOf(report)).toContain("float32 as before: Mul, Round, Clip (numbers that become integers)");
  });
});

describe("what ONNX Runtime does not run in float16", () => {
  it.each([9, 13, 17])("MeanVarianceNormalization of opset %i", async (opset) => {
    const spec = {
      nodes: [node("Neg", "x", "h"), node("MeanVarianceNormalization", "h", "n"), node("Abs", "n", "y")],
      inputs: [value("x", "float32[2,3,4,4]")],
      outputs: [value("y", "float32")],
    };
    const x = { data: normals(randomOf(3), 96), dims: [2, 3, 4, 4] };
    const { report } = await expectSameIntegers(spec, [{ x }], {}, opset);
    expect(remarksOf(report)).toContain(
      "float32 as before: MeanVarianceNormalization (ONNX Runtime does not run it in float16)",
    );
  });

  it("AffineGrid", async () => {
    const spec = {
      nodes: [node("Neg", "x", "h"), node("AffineGrid", "h size", "g"), node("Abs", "g", "y")],
      initializers: [ints("size", 1, 1, 4, 4)],
      inputs: [value("x", "float32[1,2,3]")],
      outputs: [value("y", "float32")],
    };
    const { report } = await expectSameIntegers(
      spec,
      [{ x: { data: normals(randomOf(3), 6), dims: [1, 2, 3] } }],
      {},
      20,
    );
    expect(remarksOf(report)).toContain("float32 as before: AffineGrid (ONNX Runtime does not run it in float16)");
  });
});

describe("a long row of Casts", () => {
  it("takes no stack", async () => {
    const count = 20_000;
    const row = Array.from({ length: count }, (_, i) => node("Cast", `c${i}`, `c${i + 1}`, { to: 1 }));
    const bytes = modelOf({
      nodes: [node("Neg", "x", "c0"), ...row, node("Abs", `c${count}`, "y")],
      inputs: [value("x", "float32[4]")],
      outputs: [value("y", "float32")],
    });
    expect((await halved(bytes)).lines).toEqual([
      ...["Cast(x)>x_float16", "Neg(x_float16)>c0", "Abs(c0)>y_float16", "Cast(y_float16)>y"],
    ]);
  });
});

describe("what ConstantOfShape is filled with", () => {
  const bytes = modelOf({
    nodes: [
      node("ConstantOfShape", "s", "filled", { value: { tensor: tensor("", "float32", [1], [-1e5]) } }),
      node("Add", "x filled", "y"),
    ],
    initializers: [ints("s", 3)],
    inputs: [value("x", "float32[3]")],
    outputs: [value("y", "float32")],
  });

  it("stays float32 with who takes it, where float16 does not hold it", async () => {
    for (const wishes of [{}, { clamp: true }]) {
      const made = await halved(bytes, wishes);
      const [outputs] = await withSession(runtimes.node(made.bytes), (session) => runAll(session, [{ x: zeros(3) }]));
      expect([...(outputs!.y!.data as Float32Array)]).toEqual([-1e5, -1e5, -1e5]);
      expect(remarksOf(made.report).join("\n")).toContain("beyond float16: filled holds -100000");
    }
  });
});
