import { describe, expect, it } from "vitest";
import { bytesSource } from "../../../../src/formats/byte-source.ts";
import { readModel } from "../../../../src/onnx/io/decode.ts";
import { TensorFiles } from "../../../../src/onnx/io/tensor-data.ts";
import { loadValue, NotComputed } from "../../../../src/onnx/passes/fold/constant-value.ts";
import { evaluateNode, isComputable } from "../../../../src/onnx/passes/fold/evaluate-node.ts";
import { type AttributeSpec, graph, model, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { normalsOf } from "../../../helpers/random.ts";
import { openNode, withSession } from "../../../helpers/sessions.ts";

// Each operator on constants, beside what ONNX Runtime computes of them.

interface Given {
  readonly type?: "float32" | "float64" | "int64" | "int32" | "bool";
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const floats = (shape: readonly number[], seed = 1): Given => {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Array.from(normalsOf(seed, count), Math.fround) };
};
const positive = (shape: readonly number[]): Given => {
  const { data } = floats(shape);
  return { shape, data: data.map((x) => Math.abs(x) + 0.5) };
};
const ints = (...data: number[]): Given => ({ type: "int64", shape: [data.length], data });
const i32 = (...data: number[]): Given => ({ type: "int32", shape: [data.length], data });
const scalar = (x: number): Given => ({ shape: [], data: [x] });

/** As exporters write it, 2^63 - 1 but for the rounding. */
const TO_THE_END = 2 ** 63 - 1024;

interface Case {
  readonly op: string;
  readonly inputs: readonly (Given | undefined)[];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  readonly opset?: number;
  /** Types of the outputs. Default: one float32. */
  readonly gives?: readonly NonNullable<Given["type"]>[];
}

const cases: readonly Case[] = [
  ...["Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Softplus"].map(
    (op) => ({
      ...{ op, inputs: [floats([3, 5])] },
    }),
  ),
  ...["Tanh", "Identity"].map((op) => ({ op, inputs: [floats([3, 5])] })),
  { op: "Round", inputs: [{ shape: [7], data: [0.5, 1.5, -2.5, 2.4, -0.6, 3e9, 8388609] }] },
  ...["Log", "Sqrt"].map((op) => ({ op, inputs: [positive([3, 5])] })),
  ...["Add", "Sub", "Mul", "Div", "Min", "Max"].flatMap((op) => [
    { op, inputs: [floats([2, 3, 4]), floats([2, 3, 4], 2)] },
    { op, inputs: [floats([2, 3, 4]), floats([3, 1], 2)] },
    { op, inputs: [floats([1, 4]), floats([2, 3, 1], 2)] },
    { op, inputs: [scalar(3), floats([5], 2)] },
    { op, inputs: [floats([0, 4]), floats([1, 4], 2)] },
  ]),
  { op: "Sum", inputs: [floats([2, 3]), floats([3], 2), floats([2, 1], 3)] },
  { op: "Max", inputs: [floats([2, 3]), floats([3], 2), floats([2, 1], 3)] },
  { op: "Mean", inputs: [floats([2, 3]), floats([3], 2), floats([2, 1], 3)] },
  ...["And", "Or", "Xor"].map((op): Case => {
    const [a, b] = [
      [1, 1, 0, 0],
      [1, 0, 1, 0],
    ].map((data) => ({ type: "bool", shape: [4], data }) as const);
    return { op, inputs: [a, b], gives: ["bool"] };
  }),
  { op: "Mod", inputs: [ints(7, -7, 7, -7), ints(3, 3, -3, -3)], gives: ["int64"] },
  { op: "Mod", inputs: [floats([5]), scalar(0.375)], attributes: { fmod: 1 } },
  {
    op: "Mul",
    inputs: [0.1, 0.2].map((x) => ({ type: "float64", shape: [1], data: [x] }) as const),
    gives: ["float64"],
  },
  { op: "Pow", inputs: [positive([2, 3]), scalar(0.5)] },
  { op: "Pow", inputs: [floats([2, 3]), scalar(-3)] },
  { op: "Pow", inputs: [floats([2, 3]), { type: "int64", shape: [], data: [2] }] },
  { op: "Div", inputs: [ints(7, -7, 7, -7), ints(2, 2, -2, -2)], gives: ["int64"] },
  { op: "Mul", inputs: [ints(7, -7), ints(3)], gives: ["int64"] },
  { op: "Clip", inputs: [floats([3, 4]), scalar(-0.5), scalar(0.5)] },
  { op: "Clip", inputs: [floats([3, 4]), undefined, scalar(0.25)] },
  { op: "Clip", inputs: [floats([3, 4])], attributes: { min: { float: -1 }, max: { float: 0.5 } }, opset: 9 },
  ...["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map((op): Case => {
    return { op, inputs: [ints(1, 2, 3), ints(2)], gives: ["bool"] };
  }),
  { op: "Not", inputs: [{ type: "bool", shape: [3], data: [1, 0, 1] }], gives: ["bool"] },
  { op: "Where", inputs: [{ type: "bool", shape: [2, 1], data: [1, 0] }, floats([3]), floats([2, 3], 2)] },
  { op: "Cast", inputs: [ints(3, -4)], attributes: { to: 1 } },
  { op: "Cast", inputs: [{ shape: [4], data: [1.9, -1.9, 0, 3] }], attributes: { to: 7 }, gives: ["int64"] },
  { op: "Cast", inputs: [{ shape: [3], data: [0, -0.5, 2] }], attributes: { to: 9 }, gives: ["bool"] },
  { op: "Transpose", inputs: [floats([2, 3, 4])] },
  { op: "Transpose", inputs: [floats([2, 3, 4])], attributes: { perm: [1, 0, 2] } },
  { op: "Transpose", inputs: [floats([2, 3, 4, 5])], attributes: { perm: [3, 1, 0, 2] } },
  { op: "Reshape", inputs: [floats([2, 3, 4]), ints(0, -1)] },
  { op: "Flatten", inputs: [floats([2, 3, 4])], attributes: { axis: 2 } },
  { op: "Squeeze", inputs: [floats([1, 3, 1]), ints(-1)] },
  { op: "Squeeze", inputs: [floats([1, 3, 1])], attributes: { axes: [0] }, opset: 11 },
  { op: "Unsqueeze", inputs: [floats([3, 2]), ints(0, -1)] },
  { op: "Unsqueeze", inputs: [floats([3, 2])], attributes: { axes: [1] }, opset: 11 },
  { op: "Slice", inputs: [floats([6, 7]), ints(1), ints(4), ints(0)] },
  { op: "Slice", inputs: [floats([6, 7]), ints(-3, 5), ints(2 ** 31, 1), ints(0, 1), ints(1, -2)] },
  { op: "Slice", inputs: [floats([6, 7]), ints(5), ints(-(2 ** 31)), ints(-2), ints(-1)] },
  { op: "Slice", inputs: [floats([6, 7]), ints(4), ints(2)] },
  { op: "Slice", inputs: [floats([6, 7]), ints(-2), ints(TO_THE_END)] },
  { op: "Slice", inputs: [floats([6, 7]), ints(-1), ints(-TO_THE_END), ints(1), ints(-3)] },
  { op: "Slice", inputs: [floats([6, 7])], attributes: { starts: [1, 2], ends: [3, 9] }, opset: 9 },
  { op: "Concat", inputs: [floats([2, 3]), floats([2, 1], 2)], attributes: { axis: 1 } },
  { op: "Concat", inputs: [floats([2, 3]), floats([1, 3], 2), floats([0, 3])], attributes: { axis: -2 } },
  { op: "Split", inputs: [floats([4, 6]), ints(1, 5)], attributes: { axis: 1 }, gives: ["float32", "float32"] },
  { op: "Split", inputs: [floats([4, 6])], gives: ["float32", "float32"], opset: 13 },
  {
    ...{ op: "Split", inputs: [floats([7])], attributes: { num_outputs: 3 }, opset: 18 },
    gives: ["float32", "float32", "float32"],
  },
  { op: "Split", inputs: [floats([4, 6])], attributes: { split: [3, 1] }, gives: ["float32", "float32"], opset: 11 },
  { op: "Expand", inputs: [floats([3, 1]), ints(2, 1, 4)] },
  { op: "Tile", inputs: [floats([2, 3]), ints(2, 3)] },
  { op: "Gather", inputs: [floats([4, 3]), { type: "int64", shape: [2, 2], data: [0, -1, 2, 2] }] },
  { op: "Gather", inputs: [floats([4, 3]), ints(2, 0)], attributes: { axis: 1 } },
  ...["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"].flatMap((op) => [
    { op, inputs: [floats([3, 4, 5])], opset: 13 },
    { op, inputs: [floats([3, 4, 5])], attributes: { axes: [0, 2], keepdims: 0 }, opset: 13 },
    { op, inputs: [floats([3, 4, 5])], attributes: { axes: [-2] }, opset: 13 },
    { op, inputs: [floats([3, 4, 5]), ints(1)], opset: 18 },
  ]),
  ...["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"].map((op) => ({
    ...{ op, inputs: [floats([3, 4, 5])], attributes: { noop_with_empty_axes: 1 }, opset: 18 },
  })),
  { op: "ReduceSum", inputs: [floats([3, 4, 5]), ints(1, 2)], attributes: { keepdims: 0 } },
  { op: "ReduceLogSum", inputs: [positive([3, 4])], attributes: { axes: [1] }, opset: 13 },
  ...["ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"].map((op): Case => {
    return { op, inputs: [ints(3, -4, 5)], gives: ["int64"], opset: 13 };
  }),
  { op: "MatMul", inputs: [floats([3, 4]), floats([4, 5], 2)] },
  { op: "MatMul", inputs: [floats([4]), floats([4, 5], 2)] },
  { op: "MatMul", inputs: [floats([2, 3, 4]), floats([4], 2)] },
  { op: "MatMul", inputs: [floats([4]), floats([4], 2)] },
  { op: "Gemm", inputs: [floats([3, 4]), floats([4, 5], 2), floats([5], 3)], attributes: { alpha: { float: 0.5 } } },
  { op: "Gemm", inputs: [floats([4, 3]), floats([5, 4], 2)], attributes: { transA: 1, transB: 1 } },
  { op: "Gemm", inputs: [floats([3, 4]), floats([4, 5], 2), floats([3, 1], 3)], attributes: { beta: { float: -2 } } },
  { op: "Trilu", inputs: [floats([2, 4, 5])], opset: 14 },
  {
    op: "Trilu",
    inputs: [floats([4, 3]), { type: "int64", shape: [], data: [-1] }],
    attributes: { upper: 0 },
    opset: 14,
  },
  { op: "MatMul", inputs: [floats([2, 1, 3, 4]), floats([5, 4, 2], 2)] },
  { op: "Shape", inputs: [floats([3, 4, 5])], gives: ["int64"] },
  { op: "Shape", inputs: [floats([3, 4, 5])], attributes: { start: 1, end: -1 }, gives: ["int64"], opset: 15 },
  { op: "Size", inputs: [floats([3, 4, 5])], gives: ["int64"] },
  { op: "ConstantOfShape", inputs: [ints(2, 3)] },
  {
    op: "ConstantOfShape",
    inputs: [ints(2)],
    attributes: { value: { tensor: tensor("", "int64", [1], [7]) } },
    gives: ["int64"],
  },
  { op: "Range", inputs: [scalar(1), scalar(4.5), scalar(0.5)] },
  { op: "Range", inputs: [7, 1, -2].map((x) => ({ type: "int64", shape: [], data: [x] }) as const), gives: ["int64"] },
];

function modelOf({ op, inputs, attributes = {}, opset = 17, gives = ["float32"] }: Case): Uint8Array {
  const names = inputs.map((given, i) => (given ? `c${i}` : "-")).join(" ");
  const outputs = gives.map((_, i) => `y${i}`);
  const initializers = inputs.flatMap((given, i) =>
    given ? [tensor(`c${i}`, given.type ?? "float32", given.shape, given.data)] : [],
  );
  return model({
    opsets: { "": opset },
    graph: graph({
      nodes: [node(op, names, outputs.join(" "), attributes)],
      initializers,
      outputs: gives.map((type, i) => value(`y${i}`, type)),
    }),
  });
}

async function evaluated(bytes: Uint8Array) {
  const source = bytesSource(bytes, "m.onnx");
  const { graph: read, ...rest } = await readModel(source);
  const files = await TensorFiles.open(source, { graph: read, ...rest });
  const [only] = read.nodes;
  const byName = new Map(read.initializers.map((each) => [each.name, each]));
  const inputs = await Promise.all(
    only!.inputs.map((name) => (name === "" ? undefined : loadValue(byName.get(name)!, files))),
  );
  expect(isComputable(only!)).toBe(true);
  return evaluateNode(only!, inputs, files);
}

describe("constants are computed as ONNX Runtime does", () => {
  it.each(cases.map((each, i) => [i, each.op, JSON.stringify(each.attributes ?? {}), each] as const))(
    "%i: %s %s",
    async (_, __, ___, each) => {
      const bytes = modelOf(each);
      const want = await withSession(openNode(bytes, { optimization: "disabled" }), (session) => session.run({}));
      const got = await evaluated(bytes);
      expect(got).toHaveLength(Object.keys(want).length);
      got.forEach(({ type, shape, data }, i) => {
        const { dims, data: wanted } = want[`y${i}`]!;
        expect([type, shape]).toEqual([each.gives?.[i] ?? "float32", [...dims]]);
        const numbers = Array.from(wanted as ArrayLike<number | bigint>, Number);
        expect(data).toHaveLength(numbers.length);
        numbers.forEach((x, at) => {
          expect(Math.abs(data[at]! - x)).toBeLessThanOrEqual(2e-6 * Math.abs(x) + 1e-7);
        });
      });
    },
  );
});

describe("is not computed", () => {
  const mul = (data: readonly number[]): Given => ({ type: "int64", shape: [data.length], data });
  it.each<readonly [string, Case]>([
    ["integers divided by 0", { op: "Div", inputs: [mul([1]), mul([0])], gives: ["int64"] }],
    ["shapes that do not go together", { op: "Add", inputs: [floats([2]), floats([3])] }],
    ["what is too large", { op: "Expand", inputs: [floats([1]), ints(2 ** 20, 2 ** 20)] }],
    ["a shape that is none", { op: "ConstantOfShape", inputs: [ints(-3)] }],
    ["an index beyond the table", { op: "Gather", inputs: [floats([4, 3]), ints(4)] }],
    ["an axis that is not there", { op: "Concat", inputs: [floats([4, 3])], attributes: { axis: 2 } }],
    ["a step of 0", { op: "Slice", inputs: [floats([4]), ints(0), ints(2), ints(0), ints(0)] }],
    [
      "a norm along no axis",
      { op: "ReduceL1", inputs: [floats([4])], attributes: { noop_with_empty_axes: 1 }, opset: 18 },
    ],
    ["integers that overflow", { op: "Mul", inputs: [i32(2 ** 31 - 1), i32(2)], gives: ["int32"] }],
    ["integers beyond 2^53", { op: "Sub", inputs: [ints(TO_THE_END), ints(1)], gives: ["int64"] }],
    ["axes that are none", { op: "Squeeze", inputs: [floats([1, 4]), ints()] }],
    ["a range that does not end", { op: "Range", inputs: [scalar(0), scalar(1), scalar(0)] }],
  ])("%s", async (_, each) => {
    await expect(evaluated(modelOf(each))).rejects.toBeInstanceOf(NotComputed);
  });
});
