import { readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { readModel } from "../../../../src/onnx/io/decode.ts";
import { modelNames, modelNeeds, modelPath, modelSource, originalName } from "../../../helpers/models.ts";
import { skipWithout } from "../../../helpers/needs.ts";
import { distance, type FeedSpec, raised, runModel } from "../../../helpers/opset-models.ts";
import { normals, randomOf } from "../../../helpers/random.ts";
import { halvesOf } from "../../../helpers/sessions.ts";

// Models as they are in the world, raised to every opset that ONNX Runtime takes.

/** Of ONNX Runtime 1.30. */
const NEWEST_OF_RUNTIME = 26;

/**
 * float32 stays the same to the bit, but for AveragePool, which has another kernel from opset 19 on; float16 is cast to and
 * fro by the runtime, at other places in other opsets.
 */
const tolerances: Readonly<Record<string, number>> = { squeezenet_fp16: 1e-3, tiny_residual: 1e-6 };

const modelBytes = (model: string) => Uint8Array.from(readFileSync(modelPath(model)));

async function feedsFor(bytes: Uint8Array, model: string): Promise<FeedSpec> {
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const feeds = session.inputMetadata.map((input, seed) => {
    if (!input.isTensor) throw new Error(`${model}: ${input.name} is no tensor`);
    // Silero takes windows of one length only, and does not say so.
    const shape = model.startsWith("silero") && input.name === "input" ? [1, 576] : input.shape;
    const dims = shape.map((dimension) => (typeof dimension === "number" ? dimension : 1));
    const length = dims.reduce((a, b) => a * b, 1);
    const values = normals(randomOf(seed + 1), length, 0.5);
    if (input.type === "int64") {
      const whole = input.name === "sr" ? [16000n] : Array.from({ length }, (_, i) => BigInt(i));
      return [input.name, new Tensor("int64", BigInt64Array.from(whole), dims)] as const;
    }
    if (input.type === "float16") {
      const bits = halvesOf(values);
      // On Node 24 a Tensor holds a Float16Array, which onnxruntime-node does not read.
      return [input.name, Object.assign(new Tensor("float16", bits, dims), { cpuData: bits })] as const;
    }
    return [input.name, new Tensor("float32", values, dims)] as const;
  });
  await session.release();
  return Object.fromEntries(feeds);
}

describe("whole models", () => {
  it.for(modelNames())("%s gives the same at every opset", async (model, context) => {
    skipWithout(context, ...modelNeeds(model));
    const bytes = modelBytes(model);
    const feeds = await feedsFor(bytes, model);
    const before = await runModel(bytes, feeds);
    const { opsets } = await readModel(modelSource(model));
    for (let opset = opsets.get("")!; opset <= NEWEST_OF_RUNTIME; opset++) {
      const after = await runModel((await raised(bytes, opset, model)).bytes, feeds);
      expect(distance(before, after), `opset ${opset}`).toBeLessThanOrEqual(tolerances[model] ?? 0);
    }
  });

  it.for(modelNames().filter((model) => originalName(model) !== model))(
    "%s is what the model it was made of becomes",
    async (model, context) => {
      skipWithout(context, ...modelNeeds(model));
      const feeds = await feedsFor(modelBytes(model), model);
      const { bytes } = await raised(modelBytes(originalName(model)), 17, model);
      expect(distance(await runModel(modelBytes(model), feeds), await runModel(bytes, feeds))).toBe(0);
    },
  );

  it("says what it did", async (context) => {
    skipWithout(context, ...modelNeeds("squeezenet_fp32"));
    const { report, model } = await raised(modelBytes("squeezenet_fp32"), 21, "squeezenet.onnx");
    expect(report).toEqual({
      from: 7,
      to: 21,
      rewritten: [
        'Dropout "fire9/concat_2": without the mask, which nobody uses',
        'Softmax "softmaxout_1": axis 1 said',
      ],
    });
    expect(model.graph.inputs.map(({ name }) => name)).toEqual(["data_0"]);
    expect([model.irVersion, model.opsets.get("")]).toEqual([10, 21]);
  });
});
