import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { exactInt8Products, exactRuntimes } from "../helpers/exact-products.ts";
import { agreement, evaluators } from "../helpers/images.ts";
import { compareOutputs, type Difference, feedNeeds, feedsFor, runAll } from "../helpers/model-feeds.ts";
import { modelNames, modelNeeds, modelPath, opsetOf, originalName } from "../helpers/models.ts";
import { sharedData, skipSuiteWithout, skipWithout } from "../helpers/needs.ts";
import { once } from "../helpers/once.ts";
import { type Outputs, runtimes, withSession } from "../helpers/sessions.ts";

// Trained models in every form there is, run by both of ONNX Runtime's builds.

/** What is asked for, given the opset that the model has. */
const forms = {
  "cast int8": () => ({ dtype: "int8", format: "cast" }),
  "cast uint8 asymmetric": () => ({ dtype: "uint8", format: "cast", scheme: "asymmetric" }),
  "cast int8 per tensor": () => ({ dtype: "int8", format: "cast", perChannel: false }),
  "cast int16": () => ({ dtype: "int16", format: "cast" }),
  "qdq int8": (opset) => ({ dtype: "int8", format: "qdq", ...(opset < 13 && { opset: 13 }) }),
  "qdq int4 in blocks of 32": () => ({ dtype: "int4", format: "qdq", blockSize: 32, opset: 21 }),
  "dynamic int8": () => ({ mode: "dynamic" }),
  "dynamic uint8 per tensor": () => ({ mode: "dynamic", dtype: "uint8", perChannel: false }),
  "dynamic int8 of reduced range": () => ({ mode: "dynamic", reduceRange: true }),
  "nbits int4": () => ({ dtype: "int4" }),
  "nbits int4 asymmetric in blocks of 128": () => ({ dtype: "int4", blockSize: 128, scheme: "asymmetric" }),
  float16: () => ({ dtype: "float16" }),
} satisfies Record<string, (opset: number) => QuantizeModelOptions>;

type Form = keyof typeof forms;
type Runtime = keyof typeof runtimes;

const formNames = Object.keys(forms) as Form[];
const runtimeNames = Object.keys(runtimes) as Runtime[];

/** The error of models without a matrix. */
const noMatrices = /0 of \d+ weights quantized: .*(int4 stores MatMul and Gemm weights|has no 4-bit form in Conv)/;

/**
 * The least dB that the worst output keeps, in the order of `forms`: two or three below what was measured. One scale for
 * a whole tensor is far too coarse for the convolutions of silero_vad, int4 for the boxes of ultraface. mnist_cnn's last
 * weight is reshaped from four dimensions, three of which are summed over: it has a scale per channel where others have
 * blocks. squeezenet's weights are half floats in both its files. A form in which nothing changes, or that a model is
 * refused in, has the words of the error.
 */
const floors: Readonly<Record<string, readonly (number | RegExp)[]>> = {
  cifar10_small: [32, 37, 35, 77, 32, 18, 32, 35, 23, 20, 24, 62],
  digits: [33, 40, 40, 90, 33, 14, 33, 38, 34, 20, 17, 68],
  dtln_1: [28, 31, 15, 76, 28, 11, 25, 15, 20, 27, 25, 61],
  dtln_2: [30, 30, 22, 79, 30, 8, 28, 20, 23, 10, 6, 61],
  mnist_cnn: [42, 46, 37, 91, 42, 19, 42, 37, 39, 22, 22, 74],
  mnist_mlp_256x2: [31, 33, 29, 80, 31, 14, 31, 30, 25, 14, 11, 68],
  silero_vad: [33, 29, 0, 80, 33, 8, 32, 0, 17, 17, 15, 57],
  silero_vad_legacy: [38, 34, 29, 84, 38, 9, 38, 30, 28, noMatrices, noMatrices, 56],
  silero_vad_v5: [32, 32, 8, 78, 32, 5, 32, 9, 26, noMatrices, noMatrices, 60],
  squeezenet_fp16: [28, 23, 29, /would not get smaller/, 28, 14, 28, 28, 20, noMatrices, noMatrices, /float16 already/],
  squeezenet_fp32: [28, 23, 29, 79, 28, 14, 28, 28, 20, noMatrices, noMatrices, 100],
  tiny_residual: [43, 44, 31, 92, 43, 15, 41, 34, 37, 18, /would not get smaller/, 62],
  tiny_transformer: [36, 36, 32, 84, 36, 13, 32, 31, 29, 14, 14, 60],
  ultraface_rfb_320: [19, 19, 16, 64, 19, 4, 19, 16, 16, noMatrices, noMatrices, 45],
  vww_96_bn: [30, 30, 33, 74, 30, 8, 30, 32, 21, 56, 42, 47],
};

/** Those that were converted to another opset have the floors of what they were made from. */
function floorsOf(model: string): readonly (number | RegExp)[] | undefined {
  return floors[originalName(model)];
}

const engine = once((): Promise<Engine> => createEngine());

/** Each model in each form is made once, and what the float one gives in each runtime found once. */
const quantized = once(async (model: string, form: Form): Promise<Uint8Array> => {
  const original = readFileSync(modelPath(model));
  const sink = bytesSink();
  await quantizeModel(await engine(), bytesSource(original, `${model}.onnx`), sink, forms[form](opsetOf(original)));
  return sink.result();
});

const floatOutputs = once(
  async (model: string, runtime: Runtime): Promise<Outputs[]> => outputsOf(runtime, model, modelPath(model)),
);

async function outputsOf(runtime: Runtime, model: string, source: Uint8Array | string): Promise<Outputs[]> {
  const feeds = await feedsFor(model);
  return withSession(runtimes[runtime](source), (session) => runAll(session, feeds));
}

function worstOf(differences: Readonly<Record<string, Difference>>): number {
  return Math.min(...Object.values(differences).map(({ sqnr }) => sqnr));
}

describe("float models", () => {
  it.each(modelNames())("%s has a floor for each form", (model) => {
    expect(floorsOf(model)).toHaveLength(formNames.length);
  });

  it.for(modelNames())("%s gives the same in both runtimes", async (model, context) => {
    skipWithout(context, ...feedNeeds(model));
    const [node, web] = await Promise.all(runtimeNames.map((runtime) => floatOutputs(model, runtime)));
    expect(worstOf(compareOutputs(node!, web!))).toBeGreaterThan(100);
  });
});

describe.each(modelNames())("%s", (model) => {
  skipSuiteWithout(...feedNeeds(model));

  describe.each(formNames)("%s", (form) => {
    const floor = floorsOf(model)?.[formNames.indexOf(form)] ?? Number.POSITIVE_INFINITY;

    if (floor instanceof RegExp) {
      it("is refused", async () => {
        await expect(quantized(model, form)).rejects.toThrow(floor);
      });
      return;
    }

    it.for(runtimeNames)("runs in onnxruntime-%s and gives about the same", async (runtime, context) => {
      const bytes = await quantized(model, form);
      const outputs = await outputsOf(runtime, model, bytes);
      if (!exactRuntimes(bytes).includes(runtime)) skipWithout(context, exactInt8Products);
      const differences = compareOutputs(await floatOutputs(model, runtime), outputs);
      expect(worstOf(differences), JSON.stringify(differences)).toBeGreaterThan(floor);
    });
  });
});

describe("answers about pictures", () => {
  skipSuiteWithout(sharedData.models, sharedData.images);

  // The wasm build takes its time: `fewer` of them.
  it.each([
    { model: "mnist_cnn", pictures: 2000, fewer: 300, least: 0.99 },
    { model: "mnist_mlp_256x2", pictures: 2000, fewer: 300, least: 0.99 },
    { model: "cifar10_small", pictures: 300, fewer: 50, least: 0.97 },
    { model: "squeezenet_fp32", pictures: 240, fewer: 12, least: 0.97 },
    { model: "squeezenet_fp16", pictures: 20, fewer: 4, least: 0.95 },
  ] as const)("$model in cast int8 answers as in float", async ({ model, pictures, fewer, least }) => {
    const evaluator = evaluators[model];
    const answers = (runtime: Runtime, source: Uint8Array | string, limit: number) =>
      withSession(runtimes[runtime](source), (session) => evaluator.predictions(session, limit));

    const float = await answers("node", modelPath(model), pictures);
    const { labels } = await evaluator.inputs(pictures);
    if (pictures === evaluator.count) expect(agreement(float, labels)).toBeCloseTo(evaluator.accuracy, 2);

    const source = await quantized(model, "cast int8");
    expect(agreement(await answers("node", source, pictures), float)).toBeGreaterThanOrEqual(least);
    expect(agreement(await answers("web", source, fewer), float.slice(0, fewer))).toBeGreaterThanOrEqual(least);
  });
});

describe("files", () => {
  it.for([
    { model: "squeezenet_fp32", most: 0.27 },
    { model: "mnist_cnn", most: 0.4 },
    { model: "silero_vad_v5", most: 0.65 },
  ])("$model becomes at most $most of itself in cast int8", async ({ model, most }, context) => {
    skipWithout(context, ...modelNeeds(model));
    const before = readFileSync(modelPath(model)).byteLength;
    expect((await quantized(model, "cast int8")).byteLength / before).toBeLessThanOrEqual(most);
  });
});
