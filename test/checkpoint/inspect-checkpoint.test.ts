import { beforeAll, describe, expect, it } from "vitest";
import {
  type ByteSource,
  bytesSink,
  bytesSource,
  createEngine,
  type Engine,
  inspectModel,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { ids } from "../helpers/checkpoint-contents.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

async function quantize(file: Uint8Array, options: QuantizeModelOptions = {}, name = "model.safetensors") {
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(file, name), sink, options);
  return { report, file: sink.result() };
}

async function inspectTensors(source: ByteSource) {
  const inspection = await inspectModel(engine, source);
  if (inspection.fileType === "onnx") throw new Error("a file of tensors was expected");
  return inspection;
}

describe("inspecting", () => {
  it("tells ranges, prospects and reasons", async () => {
    const weight = f32("w", [4, 64]);
    const file = await safetensorsFile([weight, f32("b", [4], 2), ids]);
    const { tensors, bytes, fileType: format } = await inspectTensors(bytesSource(file));
    expect({ bytes, format }).toEqual({ bytes: file.length, format: "safetensors" });
    const sqnr = (options: object) =>
      engine.error(
        { data: weight.values, shape: [4, 64] },
        engine.quantize({ data: weight.values, shape: [4, 64] }, options),
      ).sqnr;
    expect(tensors[0]).toMatchObject({
      name: "w",
      min: Math.min(...weight.values),
      max: Math.max(...weight.values),
      sqnr: {
        int8PerTensor: sqnr({}),
        int8PerChannel: sqnr({ axis: 0 }),
        int4Blocks: sqnr({ dtype: "int4", axis: 1, blockSize: 32 }),
      },
    });
    expect(tensors[1]).toMatchObject({ name: "b", reason: "one dimension" });
    expect(tensors[1]!.sqnr).toBeUndefined();
    expect(tensors[2]).toMatchObject({ name: "ids", reason: "not float" });
  });
  it("shows a quantized file as what it stands for", async () => {
    const { file } = await quantize(await safetensorsFile([f32("w", [4, 64]), f32("b", [4])]), {
      dtype: "uint4",
      blockSize: 32,
    });
    const { tensors } = await inspectTensors(bytesSource(file));
    expect(tensors.map((t) => t.name)).toEqual(["w", "b"]);
    expect(tensors[0]).toMatchObject({
      bytes: 128 + 32 + 8,
      quantized: { dtype: "uint4", granularity: { axis: 1, blockSize: 32 } },
    });
  });
  it("points at NaN instead of failing", async () => {
    const bad = f32("w", [4, 64]);
    bad.values[5] = Number.NaN;
    const { tensors } = await inspectTensors(bytesSource(await safetensorsFile([bad])));
    expect(tensors[0]!.reason).toBe("holds NaN at flat index 5");
  });
});
