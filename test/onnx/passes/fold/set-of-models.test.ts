import { expect, it } from "vitest";
import { createEngine } from "../../../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../../../src/formats/byte-source.ts";
import { quantizeForTransformersJs } from "../../../../src/model.ts";
import { functionOf, node } from "../../../helpers/onnx-build.ts";
import { floats, nearness, type Sketch, sketch } from "../../../helpers/sketch.ts";

// Models of a set are made of one file, and have what is computed in common.

it("weights of functions that go by one name in different models of a set are not taken for each other", async () => {
  const own = (name: string, inputs: readonly string[], nodes: readonly Uint8Array[]) =>
    functionOf({ name, inputs, outputs: ["o"], nodes, domain: "own", opsets: { "": 17 } });
  const call = (op: string, inputs: string, output: string, name: string) =>
    node(op, inputs, output, {}, { domain: "own", name });
  const model: Sketch = {
    // Where the first is inlined, too, it takes a name that the others would have.
    nodes: [call("Plain", "x", "h", "a"), call("Scaled", "h w0 s", "a/b", ""), call("Scaled", "a/b w1 s", "y", "a/b")],
    functions: [
      own("Plain", ["a"], [node("Neg", "a", "b/k"), node("Neg", "b/k", "o")]),
      own("Scaled", ["a", "w", "s"], [node("Mul", "w s", "k"), node("MatMul", "a k", "o")]),
    ],
    ...{ weights: { w0: [64, 64], w1: [64, 64], s: [1, 64] }, opsets: { own: 1 } },
    ...{ feeds: { x: floats([2, 64]) }, outputs: ["y"] },
  };
  const before = sketch(model);
  const sinks = new Map<string, ReturnType<typeof bytesSink>>();
  const sinkFor = async (suffix: string) => sinks.set(suffix, bytesSink()).get(suffix)!;
  const only = ["fp16", "q4"] as const;
  await quantizeForTransformersJs(await createEngine(), bytesSource(before, "m.onnx"), sinkFor, { only });
  for (const sink of sinks.values()) expect(await nearness(before, sink.result(), model.feeds)).toBeGreaterThan(12);
});
