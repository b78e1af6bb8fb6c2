import { expect, it } from "vitest";
import { makeTensor, type Tensor } from "../../../../src/onnx/ir/graph.ts";
import { equalWeights } from "../../../../src/onnx/passes/fold/equal-weights.ts";
import type { ComputedWeight } from "../../../../src/onnx/passes/fold/find-computed-weights.ts";

it("thousands of weights that differ in their last byte are told apart in no time, and equal ones found", () => {
  const weights = Array.from({ length: 4000 }, (_, i) => ({ name: `w${i}` }) as ComputedWeight);
  const tensors = new Map<ComputedWeight, Tensor>(
    weights.map((weight, i) => {
      const values = new Float32Array(1024).fill(1);
      values[1023] = i % 3999;
      return [weight, makeTensor(weight.name, "float32", [32, 32], new Uint8Array(values.buffer))];
    }),
  );
  const found = equalWeights(weights, tensors);
  const shared = found.filter((each) => each.weights.length > 1).map((each) => each.weights.map(({ name }) => name));
  expect(found).toHaveLength(3999);
  expect(shared).toEqual([["w0", "w3999"]]);
});
