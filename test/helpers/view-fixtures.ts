import { node, value } from "./onnx-build.ts";
import {
  branch,
  type Fixture,
  given,
  int64s,
  matrix,
  modelOf,
  type Weight,
  wide,
  x32,
  yes,
} from "./weight-fixtures.ts";

/** A MatMul with [32, 24] at the end of a chain of views from W. */
export function viewed(weight: Weight, nodes: readonly Uint8Array[], constants: readonly Uint8Array[] = []): Fixture {
  return {
    weights: { W: weight },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [...nodes, node("MatMul", "x V", "y")],
        initializers: [w("W"), ...constants],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
  };
}

export const views: Readonly<Record<string, Fixture>> = {
  Transpose: viewed({ shape: [24, 32], channel: 0, block: 1 }, [node("Transpose", "W", "V", { perm: [1, 0] })]),
  // ONNX Runtime ends the process over one behind a DequantizeLinear with an axis: its order is said then.
  "Transpose that says no order": viewed({ shape: [24, 32], channel: 0, block: 1 }, [node("Transpose", "W", "V")]),
  Identity: viewed(matrix, [node("Identity", "W", "I"), node("Identity", "I", "V")]),
  "Cast from float16": viewed({ ...wide, type: "float16", stays: ["cast int16"] }, [node("Cast", "W", "V", { to: 1 })]),
  "Cast from bfloat16": viewed({ ...wide, type: "bfloat16", stays: ["cast int16"] }, [
    node("Cast", "W", "V", { to: 1 }),
  ]),
  "Reshape that joins what is summed over": viewed(
    { shape: [4, 8, 24], channel: 2 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Reshape that joins channels": viewed(
    { shape: [32, 4, 6], channel: [1, 2], block: 0 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Reshape that parts channels": {
    // A part of an axis is no axis: one scale for all.
    weights: { W: { shape: [32, 24], block: 0 } },
    feeds: [{ x: given([4, 2, 32]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Reshape", "W s", "R"),
          node("Transpose", "R", "V", { perm: [1, 0, 2] }),
          node("MatMul", "x V", "y"),
        ],
        initializers: [w("W"), int64s("s", [32, 4, 6])],
        inputs: [value("x", "float32[4,2,32]")],
        outputs: [value("y", "float32")],
      }),
  },
  "Reshape with 0 and -1": viewed(
    { shape: [32, 4, 6], channel: [1, 2], block: 0 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [0, -1])],
  ),
  "Reshape to a shape from a Constant node": viewed({ shape: [4, 8, 24], channel: 2 }, [
    node("Constant", "", "s", { value: { tensor: int64s("", [-1, 24]) } }),
    node("Reshape", "W s", "V"),
  ]),
  Squeeze: viewed(
    { shape: [1, 32, 1, 24], channel: 3, block: 1 },
    [node("Squeeze", "W a", "V")],
    [int64s("a", [0, -2])],
  ),
  "Squeeze of all that can be": viewed({ shape: [1, 32, 24, 1], channel: 2, block: 1 }, [node("Squeeze", "W", "V")]),
  Unsqueeze: viewed(matrix, [node("Unsqueeze", "W a", "V")], [int64s("a", [0])]),
  "Unsqueeze from the end": viewed(matrix, [node("Unsqueeze", "W a", "V")], [int64s("a", [-3, -4])]),
  Flatten: viewed({ shape: [32, 4, 6], channel: [1, 2], block: 0 }, [node("Flatten", "W", "V")]),
  "Flatten from the end": viewed({ shape: [4, 8, 24], channel: 2 }, [node("Flatten", "W", "V", { axis: -1 })]),
  "a chain of them": viewed(
    { shape: [24, 4, 8], channel: 0 },
    [
      node("Reshape", "W s", "v1"),
      node("Transpose", "v1", "v2", { perm: [1, 0] }),
      node("Unsqueeze", "v2 a", "v3"),
      node("Identity", "v3", "v4"),
      node("Squeeze", "v4 a", "v5"),
      node("Flatten", "v5", "V"),
    ],
    [int64s("s", [24, 32]), int64s("a", [1])],
  ),
  "Transpose and Reshape that leave nothing of the channels": viewed(
    { shape: [8, 32, 3], block: 1 },
    [node("Transpose", "W", "v1", { perm: [1, 0, 2] }), node("Reshape", "v1 s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Transpose of an HWIO kernel for Conv": {
    weights: { W: { shape: [3, 3, 8, 16], channel: 3, block: 2 } },
    feeds: [{ x: given([1, 8, 6, 6]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Transpose", "W", "V", { perm: [3, 2, 0, 1] }), node("Conv", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[1,8,6,6]")],
        outputs: [value("y", "float32")],
      }),
  },
  "a view outside, used in If": {
    weights: { W: { shape: [24, 32], channel: 0, block: 1 } },
    feeds: [{ ...x32, flag: yes }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Transpose", "W", "V", { perm: [1, 0] }),
          node("If", "flag", "y", {
            then_branch: { graph: branch("then", { nodes: [node("MatMul", "x V", "then_y")] }) },
            else_branch: {
              graph: branch("else", {
                nodes: [node("Identity", "V", "else_v"), node("Gemm", "x else_v", "else_y")],
              }),
            },
          }),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32")],
      }),
  },
};
