import { describe, expect, it } from "vitest";
import { fed, ints, weight } from "../../../helpers/half-inputs.ts";
import { expectAlike, halved, type Spec } from "../../../helpers/halves.ts";
import { graph, model, node, value } from "../../../helpers/onnx-build.ts";
import { sparseTensor, tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";

// Initializers that are inputs as well, which callers may set, and sparse ones.

const modelOf = (spec: Spec & { readonly sparse?: readonly Uint8Array[] }, ir = 8) =>
  model({ ir, opsets: { "": 17 }, graph: graph(spec) });

const spec: Spec = {
  nodes: [
    node("MatMul", "x w", "m"),
    node("Mul", "m gain", "g"),
    node("Greater", "g thr", "is"),
    node("Where", "is g thr", "y"),
  ],
  initializers: [weight("w", 8, 8), tensor("gain", "float32", [], [2]), tensor("thr", "float32", [1], [0.1])],
  inputs: [value("x", "float32[2,8]"), value("gain", "float32[]"), value("thr", "float32[1]")],
  outputs: [value("y", "float32[2,8]")],
};

const x = fed(1, 2, 8);
const thr = { data: Float32Array.of(0.75), dims: [1] };

describe("inputs with defaults", () => {
  it.each(["float32", "float16"] as const)("stay inputs, of float32 with a Cast, %s outside", async (io) => {
    const before = modelOf(spec);
    const { bytes, graph: made, types, lines, report } = await halved(before, { io });
    expect(made.inputs).toEqual(["x", "gain", "thr"]);
    expect(types).toEqual({ w: "float16", gain: "float32", thr: "float32" });
    expect(lines).toEqual(expect.arrayContaining(["Cast(gain)>gain_float16", "Cast(thr)>thr_float16"]));
    expect(remarksOf(report).join()).not.toContain("no longer");
    await expectAlike(before, bytes, [{ x }, { x, thr }, { x, thr, gain: { data: Float32Array.of(-3), dims: [] } }]);
  });

  it("that are weights stay float32 inputs, too, and the report says why", async () => {
    const before = modelOf({ ...spec, inputs: [...spec.inputs!, value("w", "float32[8,8]")] });
    const { bytes, graph: made, types, report } = await halved(before);
    expect(made.inputs).toEqual(["x", "gain", "thr", "w"]);
    expect(types.w).toBe("float32");
    expect(report.tensors).toMatchObject([{ name: "w", to: "float32", reason: "an input that callers may set" }]);
    await expectAlike(before, bytes, [{ x }, { x, w: fed(9, 8, 8) }]);
  });

  it("need not fit into float16, as what they are by default decides nothing", async () => {
    const before = modelOf({
      ...spec,
      initializers: [spec.initializers![0]!, tensor("gain", "float32", [], [1e6]), spec.initializers![2]!],
    });
    const { bytes, types } = await halved(before);
    expect(types.gain).toBe("float32");
    await expectAlike(before, bytes, [{ x, gain: { data: Float32Array.of(2), dims: [] } }]);
  });

  it("may be outputs", async () => {
    const before = modelOf({ ...spec, outputs: [...spec.outputs, value("thr", "float32[1]")] });
    const { bytes } = await halved(before, { io: "float16" });
    await expectAlike(before, bytes, [{ x, thr }]);
  });

  it("of IR 3 are constants from now on", async () => {
    const before = model({
      ir: 3,
      opsets: { "": 8 },
      graph: graph({
        nodes: [node("MatMul", "x w", "m"), node("Add", "m b", "y")],
        initializers: [weight("w", 8, 8), weight("b", 8)],
        inputs: [value("x", "float32[2,8]"), value("w", "float32[8,8]"), value("b", "float32[8]")],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes, graph: made, types, report } = await halved(before);
    expect(made.inputs).toEqual(["x"]);
    expect(types).toEqual({ w: "float16", b: "float16" });
    expect(remarksOf(report)).toEqual(
      expect.arrayContaining([
        "2 initializers listed among the graph's inputs, as old models do: no longer",
        "IR version 3 raised to 4",
      ]),
    );
    await expectAlike(before, bytes, [{ x }]);
  });

  it("are none where all of many initializers are listed, as exporters for old versions did, and the report says so", async () => {
    const sizes = Array.from({ length: 5 }, (_, i) => [`w${i}`, `b${i}`] as const);
    const before = modelOf(
      {
        nodes: sizes.flatMap(([w, b], i) => [
          node("MatMul", `h${i} ${w}`, `m${i}`),
          node("Add", `m${i} ${b}`, `a${i}`),
          node("Tanh", `a${i}`, `h${i + 1}`),
        ]),
        initializers: sizes.flatMap(([w, b]) => [weight(w, 8, 8), weight(b, 8)]),
        inputs: [
          value("h0", "float32[2,8]"),
          ...sizes.flatMap(([w, b]) => [value(w, "float32[8,8]"), value(b, "float32[8]")]),
        ],
        outputs: [value("h5", "float32")],
      },
      4,
    );
    const { bytes, graph: made, types, report } = await halved(before);
    expect(made.inputs).toEqual(["h0"]);
    expect(new Set(Object.values(types))).toEqual(new Set(["float16"]));
    expect(remarksOf(report)).toContain("10 initializers listed among the graph's inputs, as old models do: no longer");
    await expectAlike(before, bytes, [{ h0: x }], 45);
  });
});

describe("sparse initializers", () => {
  const sparse = () => [sparseTensor(tensor("w", "float32", [3], [1, 2, -3]), ints("w_at", 1, 17, 60), [8, 8])];

  it.each(["float32", "float16"] as const)("stay float32 and are cast, %s outside", async (io) => {
    const before = modelOf({
      nodes: [node("MatMul", "x w", "m"), node("MatMul", "m v", "y")],
      initializers: [weight("v", 8, 8)],
      sparse: sparse(),
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32[2,8]")],
    });
    const { bytes, types, lines } = await halved(before, { io });
    expect(types).toEqual({ v: "float16" });
    expect(lines).toContain("Cast(w)>w_float16");
    await expectAlike(before, bytes, [{ x }]);
  });
});
