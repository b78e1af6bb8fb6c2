import { describe } from "vitest";
import {
  common,
  type Fixtures,
  fed4,
  itGivesTheSame,
  random,
  weights,
  x4,
  y,
} from "../../../helpers/opset-fixtures.ts";
import { feed, node, tensor } from "../../../helpers/opset-models.ts";

const gates = { LSTM: 4, GRU: 3, RNN: 1 } as const;

const fixtures: Fixtures = {
  "convolutions' company": {
    opset: 9,
    nodes: [
      node("Conv", "x w", "c", { auto_pad: "SAME_LOWER", kernel_shape: [2, 2] }),
      node("LRN", "c", "l", { size: 3 }),
      node("InstanceNormalization", "l s s", "n"),
      node("MeanVarianceNormalization", "n", "m"),
      node("LpNormalization", "m", "p", { axis: 1 }),
      node("GlobalAveragePool", "p", "g"),
      node("GlobalMaxPool", "p", "h"),
      node("Sum", "g h p", "y"),
    ],
    initializers: { w: weights(1, 4, 2, 2, 2), s: weights(2, 4) },
    ...common,
  },
  activations: {
    opset: 10,
    nodes: [
      ...[
        "Elu",
        "LeakyRelu",
        "Selu",
        "HardSigmoid",
        "Softplus",
        "Softsign",
        "ThresholdedRelu",
        "Shrink",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Sin",
        "Atan",
      ].map((op, i, ops) => node(op, i === 0 ? "x" : ops[i - 1]!, op)),
      node("Max", "Atan x", "max"),
      node("Min", "max half", "min"),
      node("Pow", "x two", "pow"),
      node("Mean", "min pow", "y"),
    ],
    initializers: { half: tensor("float32", [], [0.5]), two: tensor("float32", [1], [2]) },
    ...common,
  },
  "moving and picking": {
    opset: 11,
    nodes: [
      node("DepthToSpace", "x", "d", { blocksize: 2 }),
      node("SpaceToDepth", "d", "s", { blocksize: 2 }),
      node("GatherND", "s i", "g"),
      node("Gather", "s j", "ga", { axis: -1 }),
      node("CumSum", "ga axis", "cs"),
      node("Compress", "cs keep", "co", { axis: 0 }),
      node("ReverseSequence", "g lengths", "y", { batch_axis: 0, time_axis: 1 }),
      node("Shape", "co", "shape"),
      node("Size", "co", "size"),
      node("Expand", "size shape", "z"),
      node("NonZero", "g", "nz"),
      node("Mod", "nz n", "mod"),
    ],
    initializers: {
      i: tensor("int64", [2, 2], [0, 1, 0, 3]),
      j: tensor("int64", [2], [0, 1]),
      axis: tensor("int64", [], [1]),
      keep: tensor("bool", [1], [1]),
      lengths: tensor("int64", [2], [2, 1]),
      n: tensor("int64", [1], [3]),
    },
    inputs: { x: "float32[1,4,2,4]" },
    outputs: { y: "float32", z: "int64", mod: "int64" },
    feeds: { x: random(1, 1, 4, 2, 4) },
  },
  NonMaxSuppression: {
    opset: 10,
    nodes: [node("NonMaxSuppression", "b s m", "y")],
    initializers: { m: tensor("int64", [1], [2]) },
    inputs: { b: "float32[1,3,4]", s: "float32[1,1,3]" },
    outputs: { y: "int64" },
    feeds: {
      b: feed("float32", [1, 3, 4], [0, 0, 1, 1, 0, 0, 1, 0.9, 2, 2, 3, 3]),
      s: feed("float32", [1, 1, 3], [0.5, 0.9, 0.4]),
    },
  },
  BatchNormalization: {
    opset: 7,
    nodes: [node("BatchNormalization", "x s b m v", "y", { spatial: 1 })],
    initializers: {
      s: weights(1, 2),
      b: weights(2, 2),
      m: weights(3, 2),
      v: tensor("float32", [2], [0.5, 2]),
    },
    ...common,
  },
  ...Object.fromEntries(
    [
      { auto_pad: "SAME_UPPER", strides: [2, 2] },
      { auto_pad: "SAME_LOWER", strides: [2, 2] },
      { output_shape: [8, 10], strides: [2, 2] },
      { output_padding: [1, 1], strides: [2, 2] },
    ].map((attributes, i) => [
      `ConvTranspose ${i}`,
      {
        opset: 7,
        nodes: [node("ConvTranspose", "x w", "y", { ...attributes, kernel_shape: [3, 3] } as never)],
        initializers: { w: weights(4, 2, 3, 3, 3) },
        ...common,
      },
    ]),
  ),
  "Gemm and Flatten": {
    opset: 7,
    nodes: [node("Flatten", "x", "f"), node("Gemm", "f w b", "y", { transB: 1 })],
    initializers: { w: weights(5, 3, 40), b: weights(6, 3) },
    ...common,
  },
  Scatter: {
    opset: 9,
    nodes: [node("Scatter", "x i u", "y", { axis: 1 })],
    initializers: { i: tensor("int64", [1, 2], [1, 3]), u: tensor("float32", [1, 2], [1.5, 2.5]) },
    inputs: { x: "float32[1,5]" },
    outputs: y,
    feeds: { x: random(1, 1, 5) },
  },
  OneHot: {
    opset: 9,
    nodes: [node("OneHot", "i d v", "y")],
    initializers: { d: tensor("int64", [1], [4]), v: tensor("float32", [2], [-1, 2]) },
    inputs: { i: "int64[3]" },
    outputs: y,
    feeds: { i: feed("int64", [3], [0, 3, 2]) },
  },
  ...Object.fromEntries(
    (["LSTM", "GRU", "RNN"] as const).map((op) => [
      op,
      {
        opset: 7,
        nodes: [node(op, "x w r b", "y", { hidden_size: 3 })],
        initializers: {
          w: weights(1, 1, 3 * gates[op], 2),
          r: weights(2, 1, 3 * gates[op], 3),
          b: weights(3, 1, 6 * gates[op]),
        },
        inputs: { x: "float32[4,1,2]" },
        outputs: y,
        feeds: { x: random(4, 4, 1, 2) },
      },
    ]),
  ),
  "quantized and back": {
    opset: 10,
    nodes: [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
    initializers: { s: tensor("float32", [], [0.02]), z: tensor("uint8", [], [128]) },
    ...common,
  },
  "the rest that changed in name only": {
    opset: 9,
    nodes: [
      node("Conv", "x w", "c", { kernel_shape: [1, 1] }),
      node("Transpose", "c", "t", { perm: [0, 2, 3, 1] }),
      node("ArgMax", "t", "i", { axis: 3, keepdims: 0 }),
      node("Cast", "i", "f", { to: 1 }),
      node("PRelu", "t p", "pr"),
      node("Flatten", "pr", "fl"),
      node("Reshape", "f k", "g"),
      node("Concat", "fl g", "cc", { axis: 1 }),
      node("Constant", "", "a", { value: { tensor: tensor("float32", [1], [0.2]) } }),
      node("Less", "cc a", "le"),
      node("Where", "le a cc", "y"),
    ],
    initializers: { w: weights(1, 3, 2, 1, 1), p: weights(2, 3), k: tensor("int64", [2], [1, -1]) },
    ...common,
  },
  "Scan over a batch of one": {
    opset: 8,
    ir: 4,
    nodes: [
      node("Scan", "- h x", "last y", {
        num_scan_inputs: 1,
        directions: [1],
        body: {
          graph: {
            nodes: [node("Add", "state item", "next"), node("Identity", "next", "shown")],
            inputs: { state: "float32[3]", item: "float32[3]" },
            outputs: { next: "float32[3]", shown: "float32[3]" },
          },
        },
      }),
    ],
    inputs: { h: "float32[1,3]", x: "float32[1,4,3]" },
    outputs: { last: "float32", ...y },
    feeds: { h: random(1, 1, 3), x: random(2, 1, 4, 3) },
  },
  ...Object.fromEntries(
    [1, 0].map((condition) => [
      `subgraphs, of the same names: ${condition}`,
      {
        opset: 9,
        nodes: [
          node("If", "c", "y", {
            then_branch: {
              graph: {
                nodes: [
                  node("Slice", "x", "s", { axes: [3], starts: [0], ends: [2] }),
                  node("Softmax", "s", "t", {}),
                  node("Unsqueeze", "t", "u", { axes: [0] }),
                ],
                outputs: { u: "float32" },
              },
            },
            else_branch: {
              graph: {
                nodes: [
                  node("Slice", "x", "s", { axes: [3], starts: [1], ends: [3] }),
                  node("Clip", "s", "t", { max: { float: 0.2 } }),
                  node("Unsqueeze", "t", "u", { axes: [0] }),
                ],
                outputs: { u: "float32" },
              },
            },
          }),
        ],
        inputs: { ...x4, c: "bool[]" },
        outputs: y,
        feeds: { ...fed4, c: feed("bool", [], [condition]) },
      },
    ]),
  ),
  Loop: {
    opset: 9,
    nodes: [
      node("Loop", "n c h", "last y", {
        body: {
          graph: {
            nodes: [
              node("Identity", "go", "on"),
              node("ReduceSum", "state", "sum", { axes: [0], keepdims: 1 }),
              node("Add", "state sum", "next"),
              node("Split", "next", "a b", { axis: 0, split: [1, 2] }),
            ],
            inputs: { i: "int64[]", go: "bool[]", state: "float32[3]" },
            outputs: { on: "bool[]", next: "float32[3]", b: "float32[2]" },
          },
        },
      }),
    ],
    initializers: { n: tensor("int64", [], [3]), c: tensor("bool", [], [1]) },
    inputs: { h: "float32[3]" },
    outputs: { last: "float32", ...y },
    feeds: { h: random(1, 3) },
  },
};

describe("raised models give what they gave: layers and subgraphs", () => itGivesTheSame(fixtures));
