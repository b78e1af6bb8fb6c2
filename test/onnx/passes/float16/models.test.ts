import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { expectAlike, halved, modelOf, quarteredHalved } from "../../../helpers/halves.ts";
import { feedNeeds, feedsFor } from "../../../helpers/model-feeds.ts";
import { modelNames, modelNeeds, modelPath, originalName } from "../../../helpers/models.ts";
import { skipSuiteWithout, skipWithout } from "../../../helpers/needs.ts";
import { node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../../helpers/random.ts";

// Trained models in float16, run by both of ONNX Runtime's builds.

/** The least dB that the worst output keeps: three below what was measured, and 45 in any case. */
const floors: Readonly<Record<string, number>> = {
  cifar10_small: 62,
  digits: 65,
  dtln_1: 61,
  dtln_2: 61,
  mnist_cnn: 68,
  mnist_mlp_256x2: 67,
  silero_vad: 57,
  silero_vad_legacy: 56,
  silero_vad_v5: 58,
  squeezenet_fp32: 77,
  tiny_residual: 62,
  tiny_transformer: 60,
  // Offsets of boxes: their last layers' sums cancel.
  ultraface_rfb_320: 45,
  vww_96_bn: 47,
};

/** What is left where it is more than 0.55: names and nodes stay as large as they were. */
const sizes: Readonly<Record<string, number>> = { silero_vad: 0.63, tiny_residual: 0.59 };

describe.each(modelNames().filter((name) => name !== "squeezenet_fp16"))("%s", (name) => {
  skipSuiteWithout(...feedNeeds(name));

  it.each(["float32", "float16"] as const)("has half the size and gives about the same, %s outside", async (io) => {
    const before = readFileSync(modelPath(name));
    const { bytes, report } = await halved(before, { io });
    expect(report.bytesAfter / report.bytesBefore).toBeLessThan(sizes[name] ?? 0.55);
    await expectAlike(before, bytes, await feedsFor(name), floors[originalName(name)]!);
  });
});

describe("squeezenet_fp16", () => {
  it("stays as it is", async (context) => {
    skipWithout(context, ...modelNeeds("squeezenet_fp16"));
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
