import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import { commandOutput } from "../../../helpers/command-output.ts";
import { bytesIn, type Golden, goldenFiles, originalSource } from "../../../helpers/golden.ts";
import { testGoldenFilesAreThere, testParity } from "../../../helpers/golden-parity.ts";
import { graph, model, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { quantizerOf } from "../../../helpers/quantized.ts";
import { normals, randomOf } from "../../../helpers/random.ts";

// MatMulNBits as ONNX Runtime's own tool writes it: the same bytes in the same graph.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const files = goldenFiles("matmulnbits-4bit-");

function optionsOf({ variant }: Golden): QuantizeModelOptions {
  const [, blockSize, scheme] = /^matmulnbits-4bit-block(\d+)-(sym|asym)$/.exec(variant)!;
  return {
    dtype: "int4",
    like: "onnxruntime",
    blockSize: Number(blockSize),
    scheme: scheme === "sym" ? "symmetric" : "asymmetric",
  };
}

testGoldenFilesAreThere(files, ["tiny_transformer"]);

testParity(files, async (golden) => {
  const original = originalSource(golden);
  return (await quantized(await bytesIn(original), optionsOf(golden), original.name)).bytes;
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
      options: { dtype: "int4", blockSize: 32, scheme: "asymmetric" },
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
