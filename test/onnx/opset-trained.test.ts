import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/formats/source.ts";
import { readModel } from "../../src/onnx/decode.ts";
import { distance, type FeedSpec, raised, runModel } from "../helpers/opset-models.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { halvesOf } from "../helpers/sessions.ts";

// Models as they are in the world, raised to every opset that ONNX Runtime takes.

const folder = resolve(import.meta.dirname, "../../../shared/data/models");
const models = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".onnx")) : [];

/** Of ONNX Runtime 1.30. */
const NEWEST_OF_RUNTIME = 26;

/** float32 stays the same to the bit; float16 is cast to and fro by the runtime, at other places in other opsets. */
const tolerances: Readonly<Record<string, number>> = { "squeezenet_fp16.onnx": 1e-3 };

const modelBytes = (model: string) => Uint8Array.from(readFileSync(join(folder, model)));

async function feedsFor(bytes: Uint8Array, model: string): Promise<FeedSpec> {
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const feeds = session.inputMetadata.map((input, seed) => {
    if (!input.isTensor) throw new Error(`${model}: ${input.name} is no tensor`);
    // Silero takes windows of one length only, and does not say so.
    const shape = model.startsWith("silero") && input.name === "input" ? [1, 576] : input.shape;
    const dims = shape.map((dimension) => (typeof dimension === "number" ? dimension : 1));
    const length = dims.reduce((a, b) => a * b, 1);
    const values = normals(randomOf(seed + 1), length, 0.5);
    if (input.type === "int64") return [input.name, new Tensor("int64", BigInt64Array.of(16000n), dims)] as const;
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

describe.skipIf(models.length === 0)("trained models (../shared/data/models)", () => {
  it.each(models)("%s gives the same at every opset", async (model) => {
    const bytes = modelBytes(model);
    const feeds = await feedsFor(bytes, model);
    const before = await runModel(bytes, feeds);
    const { opsets } = await readModel({ ...bytesSource(bytes), name: model });
    for (let opset = opsets.get("")!; opset <= NEWEST_OF_RUNTIME; opset++) {
      const after = await runModel((await raised(bytes, opset, model)).bytes, feeds);
      expect(distance(before, after), `opset ${opset}`).toBeLessThanOrEqual(tolerances[model] ?? 0);
    }
  });

  it.each(models.filter((name) => name.includes("_op17")))(
    "%s is what the model it was made of becomes",
    async (model) => {
      const converted = modelBytes(model);
      const original = modelBytes(model.replace("_op17", ""));
      const { bytes } = await raised(original, 17, model);
      const feeds = await feedsFor(converted, model);
      expect(distance(await runModel(converted, feeds), await runModel(bytes, feeds))).toBe(0);
    },
  );

  it.runIf(models.includes("squeezenet_fp32.onnx"))("says what it did", async () => {
    const { report, model } = await raised(modelBytes("squeezenet_fp32.onnx"), 21, "squeezenet.onnx");
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
