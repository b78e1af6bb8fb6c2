import { InferenceSession } from "onnxruntime-node";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeOptions } from "../../src/engine/tensors/quantize-options.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { rows, weightOf, withOutput } from "../helpers/weights-of-types.ts";

// What no pass changes comes out as the bytes it came in as, whatever an exporter has put there and however it was
// encoded; and what is quantized restores to what the engine says, to the bit.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

interface Restoring {
  readonly title: string;
  readonly options: QuantizeModelOptions;
  readonly how: QuantizeOptions;
}

const byMethod: readonly Restoring[] = [
  { title: "by least error", options: { weightRange: "mse" }, how: { axis: 1, range: "mse" } },
  {
    title: "by percentile",
    options: { weightRange: "percentile=90", blockSize: 16 },
    how: { axis: 0, blockSize: 16, range: "percentile=90" },
  },
];

const restorings: readonly Restoring[] = (["int8", "uint8", "int16", "uint16", "int4", "uint4"] as const).flatMap(
  (dtype) =>
    (["symmetric", "asymmetric"] as const).flatMap((scheme) =>
      (["cast", "qdq"] as const)
        .filter((format) => format === "qdq" || !dtype.endsWith("4"))
        .flatMap((format) =>
          [
            { title: "per tensor", options: { perChannel: false }, how: {} },
            { title: "per channel", options: {}, how: { axis: 1 } },
            { title: "in blocks of 16", options: { blockSize: 16 }, how: { axis: 0, blockSize: 16 } },
            { title: "in blocks with a tail", options: { blockSize: 12 }, how: { axis: 0, blockSize: 12 } },
            ...byMethod,
            { title: "leaving half of the codes", options: { reduceRange: true }, how: { axis: 1, reduceRange: true } },
          ].map(({ title, options, how }) => ({
            title: `${format} ${dtype} ${scheme} ${title}`,
            options: { dtype, scheme, format, ...options },
            how: { dtype, scheme, narrowRange: scheme === "symmetric" && /^uint(8|16)$/.test(dtype), ...how },
          })),
        ),
    ),
);

/** As the file has it: no optimization folds or fuses a node. */
async function valuesOf(bytes: Uint8Array, output: string): Promise<Uint8Array> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const { Tensor } = await import("onnxruntime-node");
    const x = new Tensor("float32", new Float32Array(2 * rows), [2, rows]);
    const results = await session.run({ x });
    return bytesOf(results[output]!.data as Float32Array).slice();
  } finally {
    await session.release();
  }
}

describe("a weight restored in ONNX Runtime is what the engine restores, to the bit", () => {
  it.each(restorings)("float32, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("float32"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", to: options.dtype });
    const q = engine.quantize(weightOf("float32"), how);
    expect(await valuesOf(bytes, "W")).toEqual(bytesOf(engine.dequantize(q).data));
    const { sqnr, maxAbs } = engine.error(weightOf("float32"), q);
    expect(report.tensors[0]).toMatchObject({ sqnr, maxAbs });
  });

  // 16-bit codes of a 16-bit weight would not make it smaller.
  const narrower = restorings.filter(({ options }) => !options.dtype!.endsWith("16"));

  it.each(narrower)("float16, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("float16"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", from: "float16", to: options.dtype });
    const q = engine.quantize(weightOf("float16"), how);
    expect(await valuesOf(bytes, "W")).toEqual(bytesOf(engine.dequantize(q, { dtype: "float16" }).data));
  });

  it.each(narrower)("bfloat16, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("bfloat16"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", from: "bfloat16", to: options.dtype });
    const q = engine.quantize(weightOf("bfloat16"), how);
    const restored = engine.dequantize(q, { dtype: "bfloat16" }).data;
    const widened = Uint32Array.from(restored, (bits) => bits << 16);
    expect(await valuesOf(bytes, "shown")).toEqual(bytesOf(widened));
  });
});
