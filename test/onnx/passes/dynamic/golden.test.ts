import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesSource } from "../../../../src/formats/byte-source.ts";
import type { QuantizeModelOptions } from "../../../../src/model.ts";
import type { CanonicalTensor } from "../../../helpers/canonical-graph.ts";
import { commandOutput } from "../../../helpers/command-output.ts";
import { exactRuntimes } from "../../../helpers/exact-products.ts";
import {
  bytesIn,
  type Golden,
  goldenFiles,
  goldenSource,
  originalSource,
  runBeside,
  runOriginal,
  worstOf,
} from "../../../helpers/golden.ts";
import { LEAST_BETWEEN_RUNTIMES, testGoldenFilesAreThere, testParity } from "../../../helpers/golden-parity.ts";
import { compareOutputs } from "../../../helpers/model-feeds.ts";
import { graph, model, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { differenceOf } from "../../../helpers/onnx-values.ts";
import { quantizerOf } from "../../../helpers/quantized.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { graphDifferences, initializersOf, takenBy } from "../../../helpers/same-graph.ts";
import { type Outputs, runtimes, withSession } from "../../../helpers/sessions.ts";

// Models whose layers calculate in integers, with `like` as ONNX Runtime's own tool writes them: the same bytes in the same
// graph. But it knows no scale per channel for Conv, and gives it one for the tensor instead: without `like` ours are better.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const files = goldenFiles("dynamic-");

type DynamicOptions = QuantizeModelOptions & { readonly dtype: "int8" | "uint8" };

function optionsOf({ variant }: Golden): DynamicOptions {
  const [, dtype, rest] = /^dynamic-(u?int8)(|-per-channel|-reduce-range)$/.exec(variant)!;
  return {
    mode: "dynamic",
    like: "onnxruntime",
    dtype: dtype as "int8" | "uint8",
    perChannel: rest === "-per-channel",
    reduceRange: rest === "-reduce-range",
  };
}

async function quantizedAs(golden: Golden, options: QuantizeModelOptions): Promise<Uint8Array> {
  const original = originalSource(golden);
  return (await quantized(await bytesIn(original), options, original.name)).bytes;
}

/** All that the tool takes. */
const opTypes = ["MatMul", "Gemm", "Gather", "Conv", "LSTM", "com.microsoft.Attention"];

/** Names of Conv's weights in golden files that were asked for a scale per channel. */
async function betterWeights(golden: Golden): Promise<readonly string[]> {
  return optionsOf(golden).perChannel ? takenBy(originalSource(golden), "Conv", 1) : [];
}

testGoldenFilesAreThere(files, ["digits", "tiny_residual", "tiny_transformer"]);

const better = await Promise.all(files.map(betterWeights));
const perChannel = files.flatMap((golden, i) => (better[i]!.length > 0 ? [{ ...golden, weights: better[i]! }] : []));

testParity(files, (golden) => quantizedAs(golden, optionsOf(golden)));

describe.each(perChannel)("$model $variant: a scale per channel of Conv", (golden) => {
  const { dtype } = optionsOf(golden);
  let bytes: Uint8Array;
  beforeAll(async () => {
    // A weight behind a Reshape, which the tool leaves and we store as codes.
    const exclude = golden.model.startsWith("mnist_cnn") ? ["Parameter193"] : undefined;
    bytes = await quantizedAs(golden, { ...optionsOf(golden), like: undefined, opTypes, exclude });
  });

  it("has the same initializers and nodes but for codes, scales and zero points of Conv's weights", async () => {
    // Symmetric as ours are, zero is where int8 has it anyway.
    const suffixes = ["_quantized", "_scale", ...(dtype === "uint8" ? ["_zero_point"] : [])];
    const theirs = new Set(golden.weights.flatMap((weight) => suffixes.map((suffix) => weight + suffix)));
    const except = (name: string) => theirs.has(name);
    expect(await graphDifferences(bytesSource(bytes), goldenSource(golden), { except })).toEqual([]);
  });

  it("has a scale for each channel, one zero point in the middle, and weights nearer to the float ones", async () => {
    const [original, ours, theirs] = await Promise.all(
      [originalSource(golden), bytesSource(bytes), goldenSource(golden)].map(initializersOf),
    );
    let [error, theirError] = [0, 0];
    for (const name of golden.weights) {
      const { shape, bytes: floats } = original!.get(name)!;
      const data = floatsIn(floats);
      const [codes, scale, zeroPoint] = partsOf(ours!, name);
      expect(codes, name).toMatchObject({ type: dtype, shape });
      expect(scale, name).toMatchObject({ type: "float32", shape: [shape[0], ...shape.slice(2).map(() => 1)] });
      expect(zeroPoint, name).toMatchObject({
        type: dtype,
        shape: [],
        bytes: Uint8Array.of(dtype === "int8" ? 0 : 128),
      });
      const narrowRange = dtype === "uint8";
      const wanted = engine.quantize({ data, shape }, { dtype, scheme: "symmetric", narrowRange, axis: 0 });
      expect(differenceOf(codes.bytes, wanted.data), `codes of ${name}`).toBeUndefined();
      expect(differenceOf(scale.bytes, wanted.scale), `scales of ${name}`).toBeUndefined();
      error += squaredError(data, partsOf(ours!, name));
      theirError += squaredError(data, partsOf(theirs!, name));
    }
    expect(error).toBeLessThan(0.8 * theirError);
  });

  it("is about as near to the float model in onnxruntime-node and in onnxruntime-web", async () => {
    const outputs = await runBeside(golden, bytes);
    if (exactRuntimes(bytes).includes("node")) {
      expect(worstOf(compareOutputs(outputs.node.ours, outputs.web.ours))).toBeGreaterThan(LEAST_BETWEEN_RUNTIMES);
    }
    const float = await runOriginal(golden);
    for (const runtime of ["node", "web"] as const) {
      const { ours, theirs } = outputs[runtime];
      const [near, theirNear] = [ours, theirs].map((each) => worstOf(compareOutputs(float[runtime], each)));
      // Most are 2 dB nearer; with few pictures and few layers chance takes as much as that, of the smallest model more.
      expect(near, runtime).toBeGreaterThan(theirNear! - (golden.model === "digits" ? 6 : 4));
    }
  });
});

type Parts = readonly [codes: CanonicalTensor, scale: CanonicalTensor, zeroPoint: CanonicalTensor];

/** What takes a weight's place. */
function partsOf(initializers: ReadonlyMap<string, CanonicalTensor>, weight: string): Parts {
  const part = (suffix: string) => initializers.get(weight + suffix)!;
  return [part("_quantized"), part("_scale"), part("_zero_point")];
}

/** Of a weight whose first dimension has a scale each, or all of it one. */
function squaredError(weight: Float32Array, [codes, scale, zeroPoint]: Parts): number {
  const values = ({ type, bytes }: CanonicalTensor) => (type === "int8" ? new Int8Array(bytes) : new Uint8Array(bytes));
  const [q, scales, [zero]] = [values(codes), floatsIn(scale.bytes), values(zeroPoint)];
  const each = weight.length / scales.length;
  return weight.reduce((sum, x, i) => sum + (x - (q[i]! - zero!) * scales[Math.floor(i / each)]!) ** 2, 0);
}

function floatsIn(bytes: Uint8Array): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

describe("a depthwise convolution whose channels differ a thousandfold", () => {
  const [CHANNELS, SIDE] = [8, 12];
  const PIXELS = SIDE * SIDE;
  const weights = normals(randomOf(1), CHANNELS * 9).map((x, i) => x * 1000 ** -(Math.floor(i / 9) / (CHANNELS - 1)));
  const original = model({
    opsets: { "": 13 },
    graph: graph({
      nodes: [node("Conv", "x w", "y", { group: CHANNELS, kernel_shape: [3, 3], pads: [1, 1, 1, 1] })],
      initializers: [tensor("w", "float32", [CHANNELS, 1, 3, 3], weights)],
      inputs: [value("x", `float32[1,${CHANNELS},${SIDE},${SIDE}]`)],
      outputs: [value("y", `float32[1,${CHANNELS},${SIDE},${SIDE}]`)],
    }),
  });
  const feeds = { x: { dims: [1, CHANNELS, SIDE, SIDE], data: normals(randomOf(2), CHANNELS * PIXELS) } };

  /** Of the channel that fares worst: the error's share of what it gives in float. */
  async function worstChannel(runtime: keyof typeof runtimes, bytes: Uint8Array): Promise<number> {
    const run = (source: Uint8Array): Promise<Outputs> => withSession(runtimes[runtime](source), (s) => s.run(feeds));
    const [float, got] = [await run(original), await run(bytes)].map(({ y }) => y!.data as Float32Array);
    const power = (values: Float32Array, channel: number) =>
      values.subarray(channel * PIXELS, (channel + 1) * PIXELS).reduce((sum, x) => sum + x * x, 0);
    const error = float!.map((x, i) => x - got![i]!);
    const shares = Array.from({ length: CHANNELS }, (_, c) => Math.sqrt(power(error, c) / power(float!, c)));
    return Math.max(...shares);
  }

  it.each([
    { dtype: "int8", runtime: "node" },
    { dtype: "int8", runtime: "web" },
    { dtype: "uint8", runtime: "node" },
    { dtype: "uint8", runtime: "web" },
  ] as const)("$dtype in onnxruntime-$runtime keeps all of them, if each has a scale", async ({ dtype, runtime }) => {
    const shareOf = async (perChannel: boolean) =>
      worstChannel(
        runtime,
        (await quantized(original, { mode: "dynamic", opTypes: ["Conv"], dtype, perChannel })).bytes,
      );
    expect(await shareOf(true)).toBeLessThan(0.03);
    expect(await shareOf(false)).toBeGreaterThan(0.5);
  });
});

describe("library and command", () => {
  const original = model({
    opsets: { "": 13 },
    graph: graph({
      nodes: [
        node("Conv", "x c b", "h", { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
        node("Flatten", "h", "f"),
        node("MatMul", "f w", "m"),
        node("Gemm", "m v u", "y", { transB: 1 }),
      ],
      initializers: [
        tensor("c", "float32", [4, 2, 3, 3], normals(randomOf(1), 4 * 2 * 9)),
        tensor("b", "float32", [4], normals(randomOf(2), 4)),
        tensor("w", "float32", [144, 16], normals(randomOf(3), 144 * 16)),
        tensor("v", "float32", [10, 16], normals(randomOf(4), 10 * 16)),
        tensor("u", "float32", [10], normals(randomOf(5), 10)),
      ],
      inputs: [value("x", "float32[n,2,6,6]")],
      outputs: [value("y", "float32[n,10]")],
    }),
  });

  it.each<{ args: readonly string[]; output: string; options: QuantizeModelOptions }>([
    { args: [], output: "model.dynamic-int8.onnx", options: {} },
    {
      args: ["--dtype", "uint8", "--per-tensor", "--reduce-range"],
      output: "model.dynamic-uint8.onnx",
      options: { dtype: "uint8", perChannel: false, reduceRange: true },
    },
    {
      args: ["--per-channel", "--op-types", "MatMul,Conv", "--exclude", "Conv*"],
      output: "model.dynamic-int8.onnx",
      options: { perChannel: true, opTypes: ["MatMul", "Conv"], exclude: ["Conv*"] },
    },
  ])("--mode dynamic $args writes $output with the same bytes", async ({ args, output, options }) => {
    const { bytes } = await quantized(original, { mode: "dynamic", ...options });
    expect(await commandOutput(original, ["--mode", "dynamic", ...args])).toEqual({ [output]: bytes });
  });
});
