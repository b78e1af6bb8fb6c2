import { describe } from "vitest";
import { counting, type Fixtures, itGivesTheSame, y } from "../../../helpers/opset-fixtures.ts";
import { feed, node, tensor } from "../../../helpers/opset-models.ts";

const fixtures: Fixtures = {
  "GroupNormalization 21 as it was in 18": {
    opset: 18,
    nodes: [node("GroupNormalization", "x s b", "y", { num_groups: 2 })],
    initializers: { s: tensor("float32", [2], [2, 3]), b: tensor("float32", [2], [10, 20]) },
    inputs: { x: "float32[1,4,2]" },
    outputs: y,
    feeds: { x: feed("float32", [1, 4, 2], [-1, 1, -1, 1, -1, 1, -1, 1]) },
    expected: [8, 12, 8, 12, 17, 23, 17, 23],
  },
  "Add along an axis": {
    opset: 6,
    ir: 3,
    nodes: [node("Add", "x b", "y", { broadcast: 1, axis: 1 })],
    initializers: { b: tensor("float32", [2], [100, 200]) },
    inputs: { x: "float32[1,2,2]", b: "float32[2]" },
    outputs: y,
    feeds: { x: counting(1, 2, 2) },
    expected: [101, 102, 203, 204],
  },
  "Mul from the end, with hints": {
    opset: 5,
    ir: 3,
    nodes: [node("Mul", "x b", "y", { broadcast: 1, consumed_inputs: [0, 0] })],
    initializers: { b: tensor("float32", [2], [1, 10]) },
    inputs: { x: "float32[1,2,2]", b: "float32[2]" },
    outputs: y,
    feeds: { x: counting(1, 2, 2) },
    expected: [1, 20, 3, 40],
  },
  "PRelu by channel": {
    opset: 6,
    ir: 3,
    nodes: [node("Neg", "x", "n"), node("PRelu", "n p", "y")],
    initializers: { p: tensor("float32", [2], [2, 3]) },
    inputs: { x: "float32[1,2,1,2]", p: "float32[2]" },
    outputs: y,
    feeds: { x: counting(1, 2, 1, 2) },
    expected: [-2, -4, -9, -12],
  },
  "many old ways at once": {
    opset: 1,
    ir: 3,
    nodes: [
      node("Reshape", "x", "r", { shape: [1, 2, 2] }),
      node("Concat", "r r", "c"),
      node("Tile", "c n a", "t"),
      node("Pad", "t", "p", { paddings: [0, 1, 0, 0, 0, 0], value: { float: 7 } }),
      node("Cast", "p", "k", { to: "FLOAT" }),
      node("Split", "k l", "y z", { axis: 1 }),
    ],
    initializers: {
      n: tensor("int64", [1], [2]),
      a: tensor("int64", [1], [2]),
      l: tensor("int64", [2], [2, 3]),
    },
    inputs: { x: "float32[4]", n: "int64[1]", a: "int64[1]", l: "int64[2]" },
    outputs: { ...y, z: "float32" },
    feeds: { x: counting(4) },
    expected: [7, 7, 7, 7, 1, 2, 1, 2],
  },
  "Upsample with two scales": {
    opset: 1,
    ir: 3,
    nodes: [node("Upsample", "x", "y", { height_scale: { float: 1 }, width_scale: { float: 2 }, mode: "nearest" })],
    inputs: { x: "float32[1,1,1,2]" },
    outputs: y,
    feeds: { x: counting(1, 1, 1, 2) },
    expected: [1, 1, 2, 2],
  },
  "tested, not trained": {
    opset: 6,
    ir: 3,
    nodes: [
      node("BatchNormalization", "x s b m v", "n bm bv", { is_test: 1, epsilon: { float: 0 } }),
      node("Dropout", "n", "d mask", { is_test: 1 }),
      node("Gemm", "d w c", "y", { broadcast: 1 }),
    ],
    initializers: {
      s: tensor("float32", [2], [1, 2]),
      b: tensor("float32", [2], [0, 1]),
      m: tensor("float32", [2], [1, 2]),
      v: tensor("float32", [2], [1, 1]),
      w: tensor("float32", [2, 1], [1, 1]),
      c: tensor("float32", [1], [0.5]),
    },
    inputs: { x: "float32[1,2]" },
    outputs: y,
    feeds: { x: counting(1, 2) },
    expected: [1.5],
  },
};

describe("raised models give what they gave: what was before opset 7, where the runtime has no kernels, and GroupNormalization", () =>
  itGivesTheSame(fixtures));
