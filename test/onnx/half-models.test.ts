import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { expectAlike, halved, modelOf, quarteredHalved } from "../helpers/halves.ts";
import { feedsFor, haveModels, modelPath } from "../helpers/model-feeds.ts";
import { node, tensor, value } from "../helpers/onnx-build.ts";
import { normals, randomOf } from "../helpers/random.ts";

// Trained models in float16, run by both of ONNX Runtime's builds.

/** The least dB that the worst output keeps: three below what was measured. */
const floors: Readonly<Record<string, number>> = {
  cifar10_small: 62,
  cifar10_small_op17: 62,
  dtln_1: 61,
  dtln_2: 61,
  mnist_cnn: 68,
  mnist_mlp_256x2: 67,
  silero_vad: 60,
  squeezenet_fp32: 77,
  // Offsets of boxes: their last layers' sums cancel.
  ultraface_rfb_320: 43,
  ultraface_rfb_320_op17: 43,
};

describe.skipIf(!haveModels).each(Object.entries(floors))(
  "%s (skipped without ../shared/data/models)",
  (name, least) => {
    it.each(["float32", "float16"] as const)("has half the size and gives about the same, %s outside", async (io) => {
      const before = readFileSync(modelPath(name));
      const { bytes, report } = await halved(before, { io });
      expect(report.bytesAfter / report.bytesBefore).toBeLessThan(name === "silero_vad" ? 0.63 : 0.55);
      await expectAlike(before, bytes, await feedsFor(name), least);
    });
  },
);

describe.skipIf(!haveModels)("squeezenet_fp16", () => {
  it("stays as it is", async () => {
    const before = readFileSync(modelPath("squeezenet_fp16"));
    const { bytes } = await halved(before);
    expect(Buffer.from(bytes).equals(before)).toBe(true);
  });
});

describe("matrices of 4 bits", () => {
  it("with tables of 4 bits, in a graph of halves", async () => {
    const weight = (name: string, rows: number, columns: number) =>
      tensor(name, "float32", [rows, columns], normals(randomOf(rows), rows * columns, 0.2));
    const bytes = modelOf(
      {
        nodes: [
          node("Gather", "table ids", "e"),
          node("Add", "e bias", "x"),
          node("MatMul", "x W", "h"),
          node("Relu", "h", "r"),
          node("MatMul", "r V", "y"),
        ],
        initializers: [
          weight("table", 16, 64),
          weight("W", 64, 96),
          weight("V", 96, 32),
          tensor("bias", "float32", [64], normals(randomOf(2), 64)),
        ],
        inputs: [value("ids", "int64[5]")],
        outputs: [value("y", "float32")],
      },
      21,
    );
    const { plain, half } = await quarteredHalved(bytes, ["MatMul", "Gather"]);
    const types = Object.entries(half.types);
    expect(types.filter(([, type]) => type === "float32")).toEqual([]);
    expect(half.types).toMatchObject({ W_scales: "float16", table_scales: "float16", bias: "float16" });
    expect(half.lines.filter((line) => line.startsWith("Cast"))).toEqual(["Cast(y_float16)>y"]);
    const ids = { data: BigInt64Array.of(3n, 0n, 15n, 7n, 7n), dims: [5] };
    await expectAlike(plain, half.bytes, [{ ids }], 35);
  });
});
