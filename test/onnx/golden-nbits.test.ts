import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/core/engine.ts";
import { bytesSource } from "../../src/formats/source.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { commandOutput } from "../helpers/command-output.ts";
import {
  bytesIn,
  type Golden,
  goldenFiles,
  goldenSource,
  haveGolden,
  originalSource,
  outputDifferences,
  runBeside,
  withoutGolden,
  worstOf,
} from "../helpers/golden.ts";
import { compareOutputs } from "../helpers/model-feeds.ts";
import { graph, model, node, tensor, value } from "../helpers/onnx-build.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { graphDifferences, nameDifferences } from "../helpers/same-graph.ts";

// MatMulNBits as ONNX Runtime's own tool writes it: the same bytes in the same graph.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const files = goldenFiles("matmulnbits-4bit-");

/** dB: the two builds add up in another order, with 116 and more between them. */
const LEAST_BETWEEN_RUNTIMES = 100;

function optionsOf({ variant }: Golden): QuantizeModelOptions {
  const [, blockSize, scheme] = /^matmulnbits-4bit-block(\d+)-(sym|asym)$/.exec(variant)!;
  return { dtype: "int4", blockSize: Number(blockSize), scheme: scheme === "sym" ? "symmetric" : "affine" };
}

it.skipIf(!haveGolden)(`there are files to compare with ${withoutGolden}`, () => {
  expect(files.length).toBeGreaterThan(0);
});

describe.skipIf(!haveGolden).each(files)("$model $variant", (golden) => {
  let bytes: Uint8Array;
  beforeAll(async () => {
    const original = originalSource(golden);
    ({ bytes } = await quantized(await bytesIn(original), optionsOf(golden), original.name));
  });

  it("has the same initializers and nodes", async () => {
    expect(await graphDifferences(bytesSource(bytes), goldenSource(golden))).toEqual([]);
  });

  it("has the same names", async () => {
    expect(await nameDifferences(bytesSource(bytes), goldenSource(golden))).toEqual([]);
  });

  it("gives the same bytes in onnxruntime-node, and about the same in onnxruntime-web", async () => {
    const outputs = await runBeside(golden, bytes);
    expect(outputDifferences(outputs.node, outputs.golden)).toEqual([]);
    expect(worstOf(compareOutputs(outputs.node, outputs.web))).toBeGreaterThan(LEAST_BETWEEN_RUNTIMES);
  });
});

describe("library and command", () => {
  /** A row of blocks and a tail of 8, and as many columns as leave half a byte of zero points. */
  const original = model({
    opsets: { "": 17 },
    graph: graph({
      nodes: [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")],
      initializers: [
        tensor("w", "float32", [72, 33], normals(randomOf(1), 72 * 33)),
        tensor("v", "float32", [33, 5], normals(randomOf(2), 33 * 5)),
      ],
      inputs: [value("x", "float32[n,72]")],
      outputs: [value("y", "float32[n,5]")],
    }),
  });

  it.each<{ args: readonly string[]; output: string; options: QuantizeModelOptions }>([
    { args: ["--dtype", "int4"], output: "model.int4.onnx", options: { dtype: "int4" } },
    {
      args: ["--dtype", "int4", "--block-size", "32", "--asymmetric"],
      output: "model.int4.onnx",
      options: { dtype: "int4", blockSize: 32, scheme: "affine" },
    },
    {
      args: ["--dtype", "uint4", "--block-size", "16", "--symmetric"],
      output: "model.uint4.onnx",
      options: { dtype: "uint4", blockSize: 16, scheme: "symmetric" },
    },
  ])("$args writes $output with the same bytes", async ({ args, output, options }) => {
    const { bytes } = await quantized(original, options);
    expect(await commandOutput(original, args)).toEqual({ [output]: bytes });
  });

  it("int4 and uint4 mean the same, in blocks of 32", async () => {
    const { bytes } = await quantized(original, { dtype: "int4" });
    expect((await quantized(original, { dtype: "uint4", blockSize: 32 })).bytes).toEqual(bytes);
  });
});
