import { graph, node, value } from "./onnx-build.ts";
import { tensor } from "./onnx-tensors.ts";
import { branch, type Fixture, given, indices, loopBody, matrix, modelOf, no, x32, yes } from "./weight-fixtures.ts";

export const inGraphs: Readonly<Record<string, Fixture>> = {
  "in the branches of If": {
    weights: { W1: matrix, W2: matrix },
    feeds: [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "y", {
            then_branch: {
              graph: branch("then", { nodes: [node("MatMul", "x W1", "then_y")], initializers: [w("W1")] }),
            },
            else_branch: {
              graph: branch("else", { nodes: [node("MatMul", "x W2", "else_y")], initializers: [w("W2")] }),
            },
          }),
        ],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "outside, used in the branches of If and outside": {
    weights: { W: matrix },
    feeds: [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "z", {
            then_branch: { graph: branch("then", { nodes: [node("MatMul", "x W", "then_y")] }) },
            else_branch: {
              graph: branch("else", { nodes: [node("Neg", "x", "n"), node("MatMul", "n W", "else_y")] }),
            },
          }),
          node("MatMul", "x W", "t"),
          node("Add", "t z", "y"),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "in If, the names of whose codes are taken outside": {
    weights: { W: matrix, V: matrix },
    feeds: [{ ...x32, flag: yes }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "z", {
            then_branch: {
              graph: branch("then", { nodes: [node("MatMul", "x V", "then_y")], initializers: [w("V")] }),
            },
            else_branch: { graph: branch("else", { nodes: [node("MatMul", "x W", "else_y")] }) },
          }),
          node("MatMul", "x W", "V_quantized"),
          node("Add", "V_quantized z", "y"),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "in the body of Loop": loop(true, false),
  "outside, used in the body of Loop": loop(false, false),
  "a Constant node in the body of Loop": loop(true, true),
  "a Constant node outside, used in the body of Loop": loop(false, true),
  "in If in Loop": {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Loop", "trips - x", "y", {
            body: {
              graph: loopBody([
                node("If", "go", "s1", {
                  then_branch: {
                    graph: branch("then", { nodes: [node("MatMul", "s0 W", "then_y")], initializers: [w("W")] }),
                  },
                  else_branch: { graph: branch("else", { nodes: [node("Identity", "s0", "else_y")] }) },
                }),
              ]),
            },
          }),
        ],
        initializers: [tensor("trips", "int64", [], [3])],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
  "in the body of Scan": {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 }, V: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [{ s: given([2, 32]), xs: given([5, 2, 32], 2) }],
    build: (w, opset) => {
      const body = graph({
        name: "body",
        nodes: [
          node("MatMul", "s0 W", "a"),
          node("MatMul", "x0 V", "b"),
          node("Add", "a b", "c"),
          node("Tanh", "c", "s1"),
          node("Identity", "s1", "y1"),
        ],
        initializers: [w("W")],
        inputs: [value("s0", "float32[2,32]"), value("x0", "float32[2,32]")],
        outputs: [value("s1", "float32[2,32]"), value("y1", "float32[2,32]")],
      });
      return modelOf(opset, {
        nodes: [node("Scan", "s xs", "y ys", { body: { graph: body }, num_scan_inputs: 1 })],
        initializers: [w("V")],
        inputs: [value("s", "float32[2,32]"), value("xs", "float32[5,2,32]")],
        outputs: [value("y", "float32[2,32]"), value("ys", "float32[5,2,32]")],
      });
    },
  },
  "a table outside, looked up in Loop": {
    weights: { T: { shape: [48, 32], channel: 0, single: 1, block: 1 } },
    feeds: [{ ...x32, i: indices([2], [3, -1]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Loop", "trips - x", "y", {
            body: { graph: loopBody([node("Gather", "T i", "row"), node("Add", "s0 row", "s1")]) },
          }),
        ],
        initializers: [tensor("trips", "int64", [], [3]), w("T")],
        inputs: [value("x", "float32[2,32]"), value("i", "int64[2]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
  "a Constant node": {
    weights: { W: matrix, V: { shape: [24, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Constant", "", "W", { value: { tensor: w("W", "another name") } }),
          node("MatMul", "x W", "t"),
          node("Constant", "", "V", { value: { tensor: w("V", "") } }),
          node("MatMul", "t V", "y"),
        ],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
};

/** Three trips of a MatMul over what the one before gave. */
export function loop(inside: boolean, constant: boolean): Fixture {
  return {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) => {
      const nodes = constant ? [node("Constant", "", "W", { value: { tensor: w("W") } })] : [];
      const initializers = constant ? [] : [w("W")];
      const steps = [node("MatMul", "s0 W", "t"), node("Tanh", "t", "s1")];
      const body = inside ? loopBody([...nodes, ...steps], initializers) : loopBody(steps);
      return modelOf(opset, {
        nodes: [...(inside ? [] : nodes), node("Loop", "trips - x", "y", { body: { graph: body } })],
        initializers: [tensor("trips", "int64", [], [3]), ...(inside ? [] : initializers)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      });
    },
  };
}
