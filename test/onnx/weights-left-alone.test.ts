import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { node, value } from "../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { modelOf, old } from "../helpers/weight-fixtures.ts";

// Models of a few nodes, in each form: the codes are those that the engine gives along the axis that suits the node, and
// what the model gives is what it gave with the values that these codes stand for, in both of ONNX Runtime's builds.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

describe("left alone", () => {
  const cases: Readonly<Record<string, { reason: string | undefined; build: () => Uint8Array }>> = {
    "a weight without elements": {
      reason: "empty",
      build: () => withWeight([node("MatMul", "x W", "y")], tensor("W", "float32", [32, 0], [])),
    },
    "a table without rows": {
      reason: "empty",
      build: () => withWeight([node("Gather", "W x", "y")], tensor("W", "float32", [0, 32], [])),
    },
    "a scalar": {
      reason: "would not get smaller",
      build: () => withWeight([node("Einsum", "W x", "y", { equation: ",ij->ij" })], tensor("W", "float32", [], [0.5])),
    },
    "a weight so short that codes would not be shorter": {
      reason: "would not get smaller",
      build: () => withWeight([node("MatMul", "x W", "y")], tensor("W", "float32", [32, 1], normals(randomOf(1), 32))),
    },
    "a weight used by nobody": {
      reason: "used by no node",
      build: () => withWeight([node("Relu", "x", "y")], big()),
    },
    "a weight used by a view alone": {
      reason: "used behind Transpose, which cannot be followed",
      build: () => withWeight([node("Relu", "x", "y"), node("Transpose", "W", "v")], big()),
    },
    "a weight of an op of another domain": {
      reason: "used by com.example.Conv, not as a weight",
      build: () => withWeight([node("Conv", "x W", "y", {}, { domain: "com.example" })], big()),
    },
    "a weight of an op that is not known": {
      reason: "used by Fold, not as a weight",
      build: () => withWeight([node("Fold", "x W", "y")], big()),
    },
    "a weight behind a node that is no view": {
      reason: "used by Sinh, not as a weight",
      build: () => withWeight([node("Sinh", "W", "v"), node("MatMul", "x v", "y")], big()),
    },
    "a weight reshaped to a shape that is computed": {
      reason: "used behind Reshape, which cannot be followed",
      build: () =>
        withWeight([node("Shape", "x", "s"), node("Reshape", "W s", "v"), node("MatMul", "x v", "y")], big()),
    },
    "a matrix that is added": {
      reason: "used by Add, not as a weight",
      build: () => withWeight([node("Add", "x W", "y")], big()),
    },
    "indices of no float type": {
      reason: undefined,
      build: () => withWeight([node("Gather", "x W", "y")], tensor("W", "int64", [400], new Array(400).fill(1))),
    },
  };

  it.each(Object.entries(cases))("%s", async (_, { reason, build }) => {
    const before = build();
    const { bytes, report } = await quantized(before);
    expect(bytes).toEqual(before);
    expect(report.tensors.map((each) => each.reason)).toEqual(reason === undefined ? [] : [reason]);
  });

  it("other domains, where the weight is one of ours too", async () => {
    const before = withWeight(
      [node("MatMul", "x W", "t"), node("Odd", "t W", "y", {}, { domain: "com.example" })],
      big(),
    );
    const { bytes } = await quantized(before);
    const { nodes } = readGraph(graphIn(bytes));
    expect(nodes.map(({ op, outputs }) => `${op} ${outputs}`)).toEqual(["Cast W_cast", "Mul W", "MatMul t", "Odd y"]);
    expect(nodes[3]!.message).toEqual(readGraph(graphIn(before)).nodes[1]!.message);
  });

  function big(): Uint8Array {
    return tensor("W", "float32", [32, 24], normals(randomOf(1), 768));
  }

  function withWeight(nodes: readonly Uint8Array[], weight: Uint8Array): Uint8Array {
    return modelOf(
      old,
      { nodes, initializers: [weight], inputs: [value("x", "float32[2,32]")], outputs: [value("y", "float32")] },
      { "com.example": 1 },
    );
  }
});
