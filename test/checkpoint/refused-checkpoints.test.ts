import { beforeAll, describe, expect, it } from "vitest";
import {
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  type Engine,
  FormatError,
  inspectModel,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { contents } from "../helpers/checkpoint-contents.ts";
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

async function dequantize(file: Uint8Array, options = {}) {
  const sink = bytesSink();
  await dequantizeModel(engine, bytesSource(file, "model.int8.safetensors"), sink, options);
  return sink.result();
}

describe("what is refused, with nothing written", () => {
  const refused = async (file: Uint8Array, name = "model.safetensors", options: QuantizeModelOptions = {}) => {
    const sink = bytesSink();
    const error = await quantizeModel(engine, bytesSource(file, name), sink, options).then(
      () => "nothing was refused",
      (reason: Error) => reason.message,
    );
    expect(sink.result().length).toBe(0);
    return error;
  };

  it("NaN and infinities in a weight, with tensor and index", async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const bad = f32("layer.weight", [4, 70_000]);
      bad.values[200_001] = value;
      expect(await refused(await safetensorsFile([f32("a", [4, 64]), bad]))).toBe(
        `model.safetensors: tensor "layer.weight": holds ${value} at flat index 200001; exclude it`,
      );
    }
  });
  it("a float64 beyond float32, and a span beyond it under float-offset", async () => {
    const data = new Uint8Array(Float64Array.of(1, 2, 3, 1e300, 5, 6, 7, 8).buffer);
    const wide = await safetensorsFile([{ name: "w", dtype: "F64", shape: [1, 8], data }]);
    expect(await refused(wide)).toBe('model.safetensors: tensor "w": 1e+300 at flat index 3 does not fit float32');
    const span = f32("v", [1, 64]);
    span.values.set([-3e38, 3e38]);
    const message = await refused(await safetensorsFile([span]), "m.safetensors", { scheme: "float-offset" });
    expect(message).toMatch(/^m.safetensors: tensor "v": scheme: float-offset: .* wider than float32/);
  });
  it("a file that is quantized already", async () => {
    const { file } = await quantize(await safetensorsFile([f32("w", [4, 64])]));
    expect(await refused(file)).toMatch(/is quantized already/);
  });
  it("a file that is not what its name says", async () => {
    const file = await safetensorsFile([f32("w", [4, 64])]);
    expect(await refused(file, "w.npy")).toBe("w.npy: is a safetensors file, not what its name says");
    expect(await refused(new TextEncoder().encode("PK\x03\x04 and so on"), "w.npz")).toMatch(/w.npz: not a .npz file/);
    expect(await refused(new TextEncoder().encode("PK\x03\x04 and so on"), "w.pt")).toMatch(/w.pt: is a zip archive/);
    expect(await refused(Uint8Array.of(0x80, 2, 0x7d, 0x71), "w.safetensors")).toMatch(/is a Python pickle/);
    expect(await refused(new Uint8Array(0), "w.safetensors")).toMatch(/0 bytes are too few/);
    expect(await refused(Uint8Array.of(8, 3, 18, 7), "m.onnx")).toMatch(/m\.onnx: is no ONNX model, or a damaged one/);
    expect(await refused(Uint8Array.of(1, 2, 3), "notes.txt")).toMatch(
      /neither an ONNX model nor a safetensors, .npy or .npz file/,
    );
  });
  it("a tensor that goes by the name of another's scale", async () => {
    const file = await safetensorsFile([f32("w", [4, 64]), f32("w.scale", [4])]);
    expect(await refused(file)).toMatch(/tensor "w": its scale would go by the name of the file's tensor "w.scale"/);
  });
  it("an axis a tensor does not have", async () => {
    const file = await safetensorsFile([f32("w", [4, 64])]);
    expect(await refused(file, "m.safetensors", { axis: 2 })).toMatch(/tensor "w": axis: 2 given for shape \[4, 64\]/);
  });
  it("options that are not there", async () => {
    const file = await safetensorsFile([f32("w", [4, 64])]);
    expect(await refused(file, "m.safetensors", { dtype: "int7" as "int8" })).toMatch(
      /dtype: "int7" given; int8, uint8/,
    );
    expect(await refused(file, "m.safetensors", { scheme: "dynamic" as "asymmetric" })).toMatch(
      /scheme: "dynamic" given/,
    );
    expect(await refused(file, "m.safetensors", { perchannel: true } as object)).toMatch(/perchannel: no such option/);
  });

  it.each([
    ["{", "metadata wasm_quant: "],
    ['{"version":2,"tensors":[]}', "version 2; this release reads 1"],
    ['{"version":1}', "lists no tensors"],
    ['{"version":1,"tensors":[{"name":"w","dtype":"int9"}]}', 'tensor "w": metadata wasm_quant: dtype "int9"'],
    ['{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"I8"}]}', 'source "I8"'],
    ['{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"x"}]}', 'scheme "x"'],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[-1]}]}',
      "shape: [-1]",
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64],"axis":5}]}',
      "axis: 5",
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64]}]}',
      '"w" is F32 [4, 64]; its entry wants I8',
    ],
    [
      '{"version":1,"tensors":[{"name":"v","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4]}]}',
      '"v" is missing',
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64]},{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64]}]}',
      'tensor "w": metadata wasm_quant: is listed twice',
    ],
    ['{"version":1,"version":1,"tensors":[]}', "version"],
    ['{"version":{"toString":1},"tensors":[]}', "this release reads 1"],
    [`{"version":${"[".repeat(20_000)}`, "nested more than 128 deep"],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":["int8"],"source":"F32","scheme":"asymmetric","shape":[4,64]}]}',
      'dtype ["int8"]',
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":{"length":1}}]}',
      "metadata wasm_quant: shape ",
    ],
    [
      `{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[${"1,".repeat(9999)}1]}]}`,
      "shape [1,1",
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64],"axis":{"a":1}}]}',
      "metadata wasm_quant: axis ",
    ],
    [
      '{"version":1,"tensors":[{"name":"w","dtype":"int8","source":"F32","scheme":"asymmetric","shape":[4,64],"axis":0,"blockSize":"3"}]}',
      'blockSize "3"',
    ],
  ])("metadata that does not fit: %s", async (entry, message) => {
    const file = await safetensorsFile([f32("w", [4, 64])], { wasm_quant: entry });
    await expect(dequantize(file)).rejects.toThrow(message);
    await expect(dequantize(file)).rejects.toThrow(FormatError);
    await expect(inspectModel(engine, bytesSource(file, "model.int8.safetensors"))).rejects.toThrow(message);
  });
  it("a stored scale that is not finite", async () => {
    const { file } = await quantize(await safetensorsFile([f32("w", [4, 64])]));
    const { byName } = await contents(file);
    new DataView(file.buffer, file.byteOffset).setFloat32(byName.get("w.scale")!.start + 4, Number.NaN, true);
    await expect(dequantize(file)).rejects.toThrow('tensor "w": its scale holds NaN at flat index 1');
  });
  it("parts of another shape", async () => {
    const { file } = await quantize(await safetensorsFile([f32("w", [4, 64])]));
    const { tensors, metadata } = await contents(file);
    const reshaped = tensors.map((t) => ({
      ...t,
      shape: t.name === "w.scale" ? [2, 2] : t.shape,
      data: file.slice(t.start, t.end),
    }));
    await expect(dequantize(await safetensorsFile(reshaped, metadata))).rejects.toThrow(
      'tensor "w": "w.scale" is F32 [2, 2]; its entry wants F32 [4]',
    );
  });
  it("restoring what was never quantized", async () => {
    await expect(dequantize(await safetensorsFile([f32("w", [4, 64])]))).rejects.toThrow(
      "was not quantized by wasm-quant",
    );
  });
});
