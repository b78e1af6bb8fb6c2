import { describe } from "vitest";
import { common, type Fixtures, fed4, itGivesTheSame, random, x4, y } from "../../../helpers/opset-fixtures.ts";
import { node, tensor } from "../../../helpers/opset-models.ts";

const fixtures: Fixtures = {
  "Softmax over the last axis": {
    opset: 7,
    nodes: [node("Softmax", "x", "y")],
    inputs: { x: "float32[2,5]" },
    outputs: y,
    feeds: { x: random(1, 2, 5) },
  },
  "Softmax over the one axis that is not 1": {
    opset: 11,
    nodes: [node("Softmax", "x", "y")],
    inputs: { x: "float32[2,5,1,1]" },
    outputs: y,
    feeds: { x: random(1, 2, 5, 1, 1) },
  },
  "Softmax over several axes": {
    opset: 9,
    nodes: [node("Softmax", "x", "y", { axis: 2 })],
    ...common,
  },
  "Softmax of what is not known": {
    opset: 11,
    nodes: [node("Softmax", "x", "y", { axis: -2 })],
    inputs: { x: "float32" },
    outputs: y,
    feeds: fed4,
  },
  LogSoftmax: { opset: 9, nodes: [node("LogSoftmax", "x", "y")], ...common },
  Hardmax: { opset: 9, nodes: [node("Hardmax", "x", "y")], ...common },
  "Squeeze and Unsqueeze": {
    opset: 9,
    nodes: [
      node("Squeeze", "x", "s", { axes: [0] }),
      node("Unsqueeze", "s", "u", { axes: [0, 4] }),
      node("Squeeze", "u", "y"),
    ],
    ...common,
  },
  ...Object.fromEntries(
    ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"].map((op) => [
      `Reduce${op}`,
      {
        opset: 9,
        nodes: [
          node("Abs", "x", "a"),
          node(`Reduce${op}`, "a", "y", { axes: [1, 3] }),
          node(`Reduce${op}`, "a", "z", { keepdims: 0 }, { name: "all" }),
        ],
        inputs: x4,
        outputs: { ...y, z: "float32" },
        feeds: fed4,
      },
    ]),
  ),
  "Split in equal parts": {
    opset: 9,
    nodes: [node("Split", "x", "y z", { axis: 2 })],
    inputs: x4,
    outputs: { ...y, z: "float32" },
    feeds: fed4,
  },
  "Split in given parts": {
    opset: 7,
    nodes: [node("Split", "x", "y z", { axis: 3, split: [2, 3] })],
    inputs: x4,
    outputs: { ...y, z: "float32" },
    feeds: fed4,
  },
  "Clip with both bounds": {
    opset: 7,
    nodes: [node("Relu", "x", "r"), node("Clip", "r", "y", { min: { float: 0.1 }, max: { float: 0.7 } })],
    ...common,
  },
  "Clip from above": {
    opset: 9,
    nodes: [node("Clip", "x", "y", { max: { float: 0.3 } })],
    ...common,
  },
  "Clip without bounds": { opset: 9, nodes: [node("Clip", "x", "y")], ...common },
  Pad: {
    opset: 9,
    nodes: [node("Pad", "x", "y", { pads: [0, 0, 1, 2, 0, 0, 0, -1], value: { float: 0.5 } })],
    ...common,
  },
  "Pad by reflection": {
    opset: 9,
    nodes: [node("Pad", "x", "y", { pads: [0, 0, 1, 2, 0, 0, 0, 1], mode: "reflect" })],
    ...common,
  },
  Slice: {
    opset: 9,
    nodes: [
      node("Slice", "x", "s", { axes: [3, 2], starts: [-3, 1], ends: [Number.MAX_SAFE_INTEGER, -1] }),
      node("Slice", "s", "y", { starts: [0, 1], ends: [1, 2] }, { name: "again" }),
    ],
    ...common,
  },
  TopK: {
    opset: 9,
    nodes: [node("TopK", "x", "y i", { k: 3 })],
    inputs: x4,
    outputs: { ...y, i: "int64" },
    feeds: fed4,
  },
  "Dropout with a mask": {
    opset: 7,
    nodes: [node("Dropout", "x", "y mask", { ratio: { float: 0.25 } })],
    inputs: x4,
    outputs: y,
    values: { mask: "float32[1,2,4,5]" },
    feeds: fed4,
  },
  ...Object.fromEntries(
    [{}, { axis: 2 }, { axis: 1, onesided: 1 }].map((attributes, i) => [
      `DFT ${i}`,
      {
        opset: 17,
        nodes: [node("DFT", "x", "y", attributes)],
        inputs: { x: "float32[1,4,6,1]" },
        outputs: y,
        feeds: { x: random(1, 1, 4, 6, 1) },
      },
    ]),
  ),
  "DFT of a length": {
    opset: 17,
    nodes: [node("DFT", "x n", "y")],
    initializers: { n: tensor("int64", [], [8]) },
    inputs: { x: "float32[1,6,1]" },
    outputs: y,
    feeds: { x: random(1, 1, 6, 1) },
  },
};

describe("raised models give what they gave: attributes that became inputs, and axes", () => itGivesTheSame(fixtures));
