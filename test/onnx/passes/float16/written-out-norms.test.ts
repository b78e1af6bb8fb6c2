import { describe, expect, it } from "vitest";
import { noise, weight } from "../../../helpers/half-inputs.ts";
import { expectAlike, type Halved, halved, modelOf } from "../../../helpers/halves.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { interpret } from "../../../helpers/onnx-interpreter.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";

// Norms as exporters write them out, on values whose squares are beyond float16.

const SIZE = 32;

const one = (name: string, number: number, dims: readonly number[] = []) => tensor(name, "float32", dims, [number]);
const constantNode = (name: string, number: number) =>
  node("Constant", "", name, { value: { tensor: one("", number) } });

interface Norm {
  /** From x to n. */
  readonly nodes: readonly Uint8Array[];
  readonly constants?: readonly Uint8Array[];
  readonly opset?: number;
}

const over = { axes: [-1] };
const square = node("Pow", "x two", "sq");
const mean = node("ReduceMean", "sq", "ms", over);
const shifted = node("Add", "ms eps", "me");
const root = node("Sqrt", "me", "rt");
const two = one("two", 2);
const eps = one("eps", 1e-6);
const centered = [node("ReduceMean", "x", "mu", over), node("Sub", "x mu", "d")];

const norms: Readonly<Record<string, Norm>> = {
  "RMSNorm, divided": { nodes: [square, mean, shifted, root, node("Div", "x rt", "n")], constants: [two, eps] },
  "RMSNorm with Mul(x, x)": {
    nodes: [node("Mul", "x x", "sq"), mean, shifted, root, node("Div", "x rt", "n")],
    constants: [eps],
  },
  "RMSNorm with a Reciprocal": {
    nodes: [square, mean, shifted, root, node("Reciprocal", "rt", "r"), node("Mul", "x r", "n")],
    constants: [two, eps],
  },
  "T5: one divided by the root": {
    nodes: [square, mean, shifted, root, node("Div", "one rt", "r"), node("Mul", "x r", "n")],
    constants: [two, eps, one("one", 1)],
  },
  "RMSNorm with Pow(-0.5)": {
    nodes: [square, mean, shifted, node("Pow", "me p", "r"), node("Mul", "x r", "n")],
    constants: [two, eps, one("p", -0.5)],
  },
  "RMSNorm with an integer exponent": {
    nodes: [square, mean, shifted, root, node("Div", "x rt", "n")],
    constants: [tensor("two", "int64", [], [2]), eps],
  },
  "LayerNormalization, as BERT has it": {
    nodes: [...centered, node("Pow", "d two", "sq"), mean, shifted, root, node("Div", "d rt", "n")],
    constants: [two, one("eps", 1e-12)],
  },
  "LayerNormalization with constants of nodes": {
    nodes: [
      constantNode("two", 2),
      constantNode("raw", 1e-5),
      node("Identity", "raw", "eps"),
      ...centered,
      node("Pow", "d two", "sq"),
      mean,
      shifted,
      root,
      node("Div", "d rt", "n"),
    ],
  },
  "L2 normalization with Max": {
    nodes: [node("ReduceL2", "x", "l", over), node("Max", "l eps", "m"), node("Div", "x m", "n")],
    constants: [eps],
  },
  "L2 normalization with a sum and Clip": {
    nodes: [
      square,
      node("ReduceSum", "sq axes", "ss"),
      node("Sqrt", "ss", "l"),
      node("Clip", "l eps", "m"),
      node("Div", "x m", "n"),
    ],
    constants: [two, one("eps", 1e-12), tensor("axes", "int64", [1], [-1])],
  },
  "sum of squares, opset 18": {
    nodes: [
      node("ReduceSumSquare", "x axes", "ss"),
      node("Mul", "ss part", "ms"),
      shifted,
      root,
      node("Div", "x rt", "n"),
    ],
    constants: [one("part", 1 / SIZE), eps, tensor("axes", "int64", [1], [-1])],
    opset: 18,
  },
};

/** Two projections with a norm between them, on values around 600. */
function modelWith({ nodes, constants = [] }: Norm, opset: number): Uint8Array {
  return modelOf(
    {
      nodes: [node("Identity", "h", "x"), ...nodes, node("Mul", "n gamma", "s"), node("MatMul", "s W", "y")],
      initializers: [...constants, tensor("gamma", "float32", [SIZE], noise(5, SIZE)), weight("W", SIZE, 8)],
      inputs: [value("h", `float32[3,${SIZE}]`)],
      outputs: [value("y", "float32")],
    },
    opset,
  );
}

/** Some as large as in the residuals of language models, a row of small ones. */
const values = noise(1, 3, SIZE).map((x, i) => (i < SIZE ? 600 * Math.sign(x) + x : i < 2 * SIZE ? 600 * x : x / 2000));

function sqnrByTheStandard(before: Uint8Array, after: Uint8Array): number {
  const h = { type: "float32", shape: [3, SIZE], data: Float64Array.from(values) } as const;
  const [float, half] = [before, after].map((bytes) => interpret(bytes, { h }).y!.data);
  let worst = Number.POSITIVE_INFINITY;
  for (let row = 0; row < 3; row++) {
    const sum = (of: (i: number) => number) =>
      Array.from({ length: 8 }, (_, i) => of(8 * row + i)).reduce((a, b) => a + b);
    const noiseOf = sum((i) => (float![i]! - half![i]!) ** 2);
    worst = Math.min(worst, 10 * Math.log10(sum((i) => float![i]! ** 2) / noiseOf));
  }
  return worst;
}

const cases = Object.entries(norms).flatMap(([name, norm]) =>
  (norm.opset ? [norm.opset, 21] : [13, 17]).map((opset) => [name, opset, norm] as const),
);

describe("from the square to the root", () => {
  it.each(cases)("%s, opset %i", async (_, opset, norm) => {
    const before = modelWith(norm, opset);
    const { bytes, types, report } = await halved(before);
    expect(sqnrByTheStandard(before, bytes)).toBeGreaterThan(45);
    expect(types).toMatchObject({ W: "float16", gamma: "float16" });
    expect(remarksOf(report).join()).toMatch(/float32 as before: .*\(from squares to their root\)/);
    await expectAlike(before, bytes, [{ h: { data: Float32Array.from(values), dims: [3, SIZE] } }], 45);
  });

  it("is infinite in float16 without: the interpreter sees what CPUs hide", () => {
    const square = modelOf({
      nodes: [node("Cast", "h", "x", { to: 10 }), node("Mul", "x x", "s"), node("Cast", "s", "y", { to: 1 })],
      inputs: [value("h", "float32[2]")],
      outputs: [value("y", "float32")],
    });
    const h = { type: "float32", shape: [2], data: Float64Array.of(600, 3.001) } as const;
    expect([...interpret(square, { h }).y!.data]).toEqual([Number.POSITIVE_INFINITY, 9.015625]);
  });

  it("in a branch of If", async () => {
    const { nodes, constants } = norms["RMSNorm with a Reciprocal"]!;
    const branch = (op: string, name: string) =>
      graph({
        nodes: op === "norm" ? [...nodes, node("Identity", "n", name)] : [node("Tanh", "x", name)],
        initializers: op === "norm" ? (constants ?? []) : [],
        outputs: [value(name, "float32")],
      });
    const before = modelOf({
      nodes: [
        node("Identity", "h", "x"),
        node("If", "which", "o", {
          then_branch: { graph: branch("norm", "a") },
          else_branch: { graph: branch("tanh", "b") },
        }),
        node("MatMul", "o W", "y"),
      ],
      initializers: [weight("W", SIZE, 8)],
      inputs: [value("h", `float32[3,${SIZE}]`), value("which", "bool[]")],
      outputs: [value("y", "float32")],
    });
    const { bytes, types } = await halved(before);
    expect(types).toEqual({ W: "float16" });
    const which = { type: "bool", shape: [], data: Float64Array.of(1) } as const;
    const h = { type: "float32", shape: [3, SIZE], data: Float64Array.from(values) } as const;
    const [float, half] = [before, bytes].map((each) => interpret(each, { h, which }).y!.data);
    for (const [i, x] of float!.entries()) expect(Math.abs(half![i]! - x)).toBeLessThan(0.05);
  });

  it("leaves alone squares that no root is taken of", async () => {
    const { lines } = await gelu();
    expect(lines.slice(1, -1).every((line) => !line.includes("float32") && !line.startsWith("Cast"))).toBe(true);
  });

  it("is bfloat16, which holds such squares, where that is asked for", async () => {
    const { report } = await halved(modelWith(norms["RMSNorm, divided"]!, 17), { dtype: "bfloat16" });
    expect(remarksOf(report).join()).not.toContain("squares");
  });
});

/** GELU with its cube, and the square of ReLU: large squares are no more likely there than anywhere. */
function gelu(): Promise<Halved> {
  return halved(
    modelOf({
      nodes: [
        node("MatMul", "x W", "h"),
        node("Pow", "h three", "cube"),
        node("Mul", "cube k", "small"),
        node("Add", "h small", "sum"),
        node("Tanh", "sum", "t"),
        node("Mul", "h t", "g"),
        node("Relu", "g", "r"),
        node("Mul", "r r", "rr"),
        node("MatMul", "rr V", "y"),
      ],
      initializers: [one("three", 3), one("k", 0.0447), weight("W", 8, 8), weight("V", 8, 8)],
      inputs: [value("x", "float32[2,8]")],
      outputs: [value("y", "float32")],
    }),
  );
}
