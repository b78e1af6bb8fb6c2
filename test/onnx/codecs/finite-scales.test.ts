import { describe, expect, it } from "vitest";
import { bytesSink, bytesSource, createEngine, quantizeModel } from "../../../src/index.ts";
import { finiteScales } from "../../../src/onnx/codecs/finite-scales.ts";
import type { WeightQuantization } from "../../../src/onnx/weights/weight-granularity.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { openNode } from "../../helpers/sessions.ts";

const engine = await createEngine();
const lowest = -3.4028234663852886e38;

function quantizationOf(quantization: Partial<WeightQuantization>): WeightQuantization {
  return { dtype: "int8", scheme: "symmetric", granularity: {}, groups: 1, reduceRange: false, ...quantization };
}

describe("scales", () => {
  it("of ordinary weights are left alone", () => {
    expect(finiteScales("float32", quantizationOf({}), Float32Array.of(0.5, 1e30), new Int32Array(2))).toBeUndefined();
  });

  it.each([
    ["float32", 3.4028234663852886e38, quantizationOf({}), 0],
    ["float16", 65504, quantizationOf({ dtype: "uint8", scheme: "asymmetric" }), 128],
    ["bfloat16", 3.3895313892515355e38, quantizationOf({ dtype: "int4" }), 0],
    ["float32", 3.4028234663852886e38, quantizationOf({ reduceRange: true }), 0],
  ] as const)("of %s take the furthest code to its end and no further", (type, most, quantization, zeroPoint) => {
    const steps = { int8: quantization.reduceRange ? 64 : 127, uint8: 128, int4: 8 }[
      quantization.dtype as "int8" | "uint8" | "int4"
    ];
    const wide = Math.fround((most / steps) * 1.01);
    const [finite, other] = finiteScales(
      type,
      quantization,
      Float32Array.of(wide, 1),
      Int32Array.of(zeroPoint, zeroPoint),
    )!;
    expect(Math.fround(finite! * steps)).toBeLessThanOrEqual(most);
    expect(finite! * steps).toBeGreaterThan(most * 0.999999);
    expect(other).toBe(1);
  });
});

/** A table as causal masks are: 0 where one may look, the lowest float where not. */
const mask = Float32Array.from({ length: 4096 }, (_, i) => (i % 64 > i / 64 ? lowest : 0));
const masked = model({
  ir: 8,
  opsets: { "": 13 },
  graph: graph({
    nodes: [node("Gather", "W i", "y")],
    initializers: [tensor("W", "float32", [64, 64], mask)],
    inputs: [value("i", "int64[1]")],
    outputs: [value("y", "float32")],
  }),
});

it.each([{}, { dtype: "int16" }, { dtype: "uint8" }, { format: "qdq" }, { reduceRange: true }] as const)(
  "a mask of the lowest float stays finite, %j",
  async (options) => {
    const sink = bytesSink();
    await quantizeModel(engine, bytesSource(masked, "mask.onnx"), sink, options);
    const session = await openNode(sink.result());
    try {
      const { y } = await session.run({ i: { data: BigInt64Array.of(3n), dims: [1] } });
      const row = Array.from(y!.data as Float32Array);
      expect(row.every(Number.isFinite)).toBe(true);
      expect(row.slice(0, 4)).toEqual([0, 0, 0, 0]);
      expect(Math.max(...row.slice(4))).toBeLessThan(lowest * 0.98);
    } finally {
      await session.release();
    }
  },
);
