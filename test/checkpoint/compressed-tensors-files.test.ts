import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compressionOf } from "../../src/checkpoint/compressed-tensors/compressed-layout.ts";
import { packInt32, packZeroPoints } from "../../src/checkpoint/compressed-tensors/pack-int32.ts";
import { scaleBytes, storedParameters } from "../../src/checkpoint/compressed-tensors/stored-scales.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import {
  type ByteSource,
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  inspectModel,
  type QuantizeModelOptions,
  quantizeModel,
  readSafetensorsHeader,
  type SafetensorsItem,
} from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { builtPool } from "../helpers/pools.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { differingFile, indexSource, readFiles, shardedCheckpoint, writeFiles } from "../helpers/shards.ts";

const engine = await createEngine();

const layout = "compressed-tensors";
const config = '{\n  "architectures": ["LlamaForCausalLM"],\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 10000.0\n}\n';

function half(name: string, shape: readonly number[], seed: number, dtype: "float16" | "bfloat16") {
  const { values } = f32(name, shape, seed);
  const out = new Uint16Array(values.length);
  engine.convertToHalf({ data: values, shape }, { dtype, out });
  const data = new Uint8Array(out.buffer);
  return { name, shape, dtype: dtype === "float16" ? "F16" : "BF16", data } satisfies SafetensorsItem & {
    data: Uint8Array;
  };
}

/** What a small model has; the first matrix is several windows long. */
const weights = [
  half("model.layers.0.mlp.down_proj.weight", [1032, 1280], 1, "bfloat16"),
  half("model.layers.0.self_attn.q_proj.weight", [64, 128], 2, "float16"),
  f32("model.layers.0.self_attn.k_proj.weight", [16, 128], 3),
  f32("model.layers.0.self_attn.v_proj.weight", [16, 128], 4),
];
const rest = [
  f32("model.embed_tokens.weight", [40, 128], 5),
  f32("model.norm.weight", [128], 6),
  f32("lm_head.weight", [40, 128], 7),
];
const model = await safetensorsFile([...rest, ...weights]);

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const sourceOf = (files: Record<string, Uint8Array> = { "config.json": encode(config) }) =>
  bytesSource(model, "model.safetensors", files);

async function quantize(source: ByteSource, options: QuantizeModelOptions = {}) {
  const sink = bytesSink("model.safetensors");
  const report = await quantizeModel(engine, source, sink, { layout, ...options });
  return { sink, report, file: sink.result() };
}

async function tensorsOf(file: Uint8Array) {
  const { tensors, metadata } = await readSafetensorsHeader(bytesSource(file));
  return { metadata, byName: new Map(tensors.map((t) => [t.name, { ...t, bytes: file.slice(t.start, t.end) }])) };
}

describe("--layout compressed-tensors", () => {
  it.each([
    { dtype: "int8" },
    { dtype: "int4" },
    { dtype: "int4", blockSize: 32 },
    { dtype: "int4", blockSize: 128, scheme: "asymmetric" },
    { dtype: "int4", scheme: "asymmetric", memory: 1 },
    { dtype: "int8", blockSize: 64 },
  ] as const)("holds what the engine makes of whole tensors: %j", async ({ memory: _, ...options }) => {
    const { file, report } = await quantize(sourceOf(), options);
    const { byName, metadata } = await tensorsOf(file);
    expect(metadata).toEqual({ format: "pt" });
    const compression = compressionOf({ scheme: "symmetric", perChannel: true, ...options });
    const blockSize = "blockSize" in options ? options.blockSize : undefined;
    const granularity = blockSize ? { axis: 1, blockSize } : { axis: 0 };
    for (const { name, shape, dtype, data } of weights) {
      const bits = new Uint16Array(data.buffer);
      const values =
        dtype === "F32"
          ? { shape, data: new Float32Array(data.buffer) }
          : { shape, data: bits, dtype: dtype === "F16" ? ("float16" as const) : ("bfloat16" as const) };
      const { scale, zeroPoint } = storedParameters(engine.range(values, granularity), compression, dtype as "F32");
      const q = engine.quantize(values, { dtype: options.dtype, ...granularity, scale, zeroPoint });
      const [rows, columns] = shape as [number, number];
      const { bits: width } = compression;
      const same = (suffix: string, bytes: Uint8Array) =>
        expect(Buffer.compare(byName.get(name + suffix)!.bytes, bytes), name + suffix).toBe(0);
      same("_packed", bytesOf(packInt32(q.data, rows, columns, width)));
      same("_scale", scaleBytes(scale, dtype as "F32"));
      same("_shape", bytesOf(BigInt64Array.of(BigInt(rows), BigInt(columns))));
      if (!compression.symmetric)
        same("_zero_point", bytesOf(packZeroPoints(zeroPoint, rows, scale.length / rows, width)));
      const { sqnr, maxAbs } = engine.error(values, q);
      expect(report.tensors.find((tensor) => tensor.name === name)).toMatchObject({ to: options.dtype, maxAbs });
      expect(report.tensors.find((tensor) => tensor.name === name)!.sqnr).toBeCloseTo(sqnr, 9);
    }
    for (const { name, data } of rest) expect(Buffer.compare(byName.get(name)!.bytes, data)).toBe(0);
  });

  it("tells loaders in config.json, which is otherwise as it was, and people what to copy", async () => {
    const { sink, report } = await quantize(sourceOf(), { dtype: "int4", blockSize: 32 });
    const text = decode(sink.result("config.json")!);
    expect(text.startsWith(config.slice(0, config.lastIndexOf("\n}")))).toBe(true);
    expect(JSON.parse(text).quantization_config).toMatchObject({
      quant_method: "compressed-tensors",
      format: "pack-quantized",
      config_groups: { group_0: { targets: ["Linear"], weights: { num_bits: 4, strategy: "group", group_size: 32 } } },
      ignore: ["model.embed_tokens", "lm_head"],
    });
    expect(remarksOf(report)).toEqual([
      expect.stringMatching(/^config\.json is written beside it: the input's .* are to be copied beside it$/),
    ]);
    expect(report.tensors).toMatchObject([
      { name: "model.embed_tokens.weight", reason: "an embedding, a head or a router" },
      { name: "model.norm.weight", reason: "not a matrix" },
      { name: "lm_head.weight" },
      ...weights.map(({ name }) => ({ name, to: "int4" })),
    ]);
  });

  it("leaves what config.json needs beside the output where there is none", async () => {
    const { sink, report } = await quantize(sourceOf({}));
    expect(sink.result("config.json")).toBeUndefined();
    const written = JSON.parse(decode(sink.result("model.quantization_config.json")!));
    expect(written).toMatchObject({ quant_method: "compressed-tensors" });
    expect(remarksOf(report)[0]).toMatch(
      /^no config\.json to add to \(.*\): .* is beside the output in model\.quantization_config\.json$/,
    );
  });

  it("writes shards, an index and config.json", async () => {
    const files = await shardedCheckpoint([
      await safetensorsFile([weights[0]!, rest[0]!], { format: "pt" }),
      await safetensorsFile([...weights.slice(1), ...rest.slice(1)]),
    ]);
    const source = indexSource({ ...files, "config.json": encode(config) });
    const sink = bytesSink("model.safetensors.index.json");
    await quantizeModel(engine, source, sink, { layout, dtype: "int4", blockSize: 32 });
    const { file } = await quantize(sourceOf(), { dtype: "int4", blockSize: 32 });
    const { byName: wanted } = await tensorsOf(file);
    const index = JSON.parse(decode(sink.result()));
    expect(Object.keys(index.weight_map).sort()).toEqual([...wanted.keys()].sort());
    for (const shard of new Set(Object.values<string>(index.weight_map))) {
      const { byName, metadata } = await tensorsOf(sink.result(shard)!);
      expect(metadata).toEqual({ format: "pt" });
      for (const [name, { bytes }] of byName) expect(Buffer.compare(bytes, wanted.get(name)!.bytes), name).toBe(0);
    }
    expect(JSON.parse(decode(sink.result("config.json")!))).toHaveProperty("quantization_config");
  });

  it.each(["int8", "int4"] as const)("takes ranges by least error, and says what they gain: %s", async (dtype) => {
    for (const form of [{}, { blockSize: 64 }, { blockSize: 64, scheme: "asymmetric" }] as const) {
      if (dtype === "int8" && "scheme" in form) continue; // vLLM loads none
      const before = (await quantize(sourceOf(), { dtype, ...form })).report.tensors;
      const after = (await quantize(sourceOf(), { dtype, ...form, weightRange: "mse" })).report.tensors;
      for (const [i, { sqnr, rangeGain }] of after.entries()) {
        if (sqnr === undefined) continue;
        expect(rangeGain).toBeCloseTo(sqnr - before[i]!.sqnr!, 3);
        // Scales are rounded to bfloat16 once chosen.
        expect(rangeGain).toBeGreaterThan(dtype === "int8" ? -0.05 : 0.1);
      }
    }
  });

  it("is not read back by dequantize, shown as it is by inspect, and not quantized again", async () => {
    const { file } = await quantize(sourceOf());
    const source = bytesSource(file, "model.safetensors");
    await expect(dequantizeModel(engine, source, bytesSink())).rejects.toThrow(
      "model.safetensors: is in the layout of compressed-tensors",
    );
    await expect(quantizeModel(engine, source, bytesSink())).rejects.toThrow("is quantized already");
    expect(await inspectModel(engine, source)).toMatchObject({
      tensors: expect.arrayContaining([
        expect.objectContaining({ name: "model.layers.0.mlp.down_proj.weight_packed", dtype: "I32" }),
      ]),
    });
  });
});

describe("what is refused", () => {
  const refused = (options: QuantizeModelOptions, source = sourceOf()) => {
    const sink = bytesSink("model.safetensors");
    return expect(quantizeModel(engine, source, sink, { layout, ...options })).rejects;
  };
  it.each([
    [{ dtype: "uint8" }, "dtype: compressed-tensors: uint8 given"],
    [{ dtype: "int4", blockSize: 48 }, "blockSize: compressed-tensors: 48 given"],
    [{ reduceRange: true }, "reduceRange: compressed-tensors"],
    [{ perChannel: false }, "perChannel: compressed-tensors"],
    [{ layout: "gguf" as never }, 'layout: "gguf"'],
    [{ exclude: ["*.k_proj.*"] }, 'q_proj.weight": would be quantized and model.layers.0.self_attn.k_proj not'],
    [{ exclude: ["*"] }, "model.safetensors: 0 of 7 tensors quantized: "],
  ] as [QuantizeModelOptions, string][])("%j", async (options, message) => {
    await refused(options).toThrow(message);
  });

  it("a config.json that says so already, or is none", async () => {
    const files = (text: string) => sourceOf({ "config.json": encode(text) });
    await refused({}, files('{"quantization_config": {"quant_method": "gptq"}}')).toThrow(
      "has a quantization_config already",
    );
    await refused({}, files("[]")).toThrow("config.json: is not a JSON object");
  });

  it("NaN, by its place in the tensor", async () => {
    const bad = f32("fc.weight", [1030, 1024]);
    bad.values[1_050_001] = Number.NaN;
    const source = bytesSource(await safetensorsFile([bad]), "model.safetensors");
    await refused({}, source).toThrow('tensor "fc.weight": holds NaN at flat index 1050001');
  });

  it("a sink without siblings", async () => {
    const { sibling: _, ...sink } = bytesSink();
    await expect(quantizeModel(engine, sourceOf(), sink, { layout })).rejects.toThrow("it has no sibling");
  });
});

describe("files", () => {
  let folder: string;
  const files = { "model.safetensors": model, "config.json": config };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
    await writeFiles(join(folder, "in"), files);
    await writeFiles(join(folder, "out"), {});
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function quantizeFiles(output: string, options: QuantizeModelOptions = {}, overwrite = false) {
    const source = await fileSource(join(folder, "in", "model.safetensors"));
    try {
      return await quantizeModel(engine, source, await fileSink(join(folder, output), { overwrite }), {
        layout,
        ...options,
      });
    } finally {
      await source.close();
    }
  }

  it("are the same for any number of threads and any memory", async () => {
    const options = { dtype: "int4", blockSize: 128, scheme: "asymmetric" } as const;
    const { file, sink, report } = await quantize(sourceOf(), options);
    const wanted = { "model.safetensors": file, "config.json": sink.result("config.json")! };
    for (const [threads, memory] of [
      [1, 1],
      [2, 1e9],
      [7, 1e6],
    ] as const) {
      await using workers = builtPool(threads);
      expect(await quantizeFiles("out/model.safetensors", { ...options, workers, memory }, true)).toEqual(report);
      expect(differingFile(wanted, await readFiles(join(folder, "out")))).toBeUndefined();
    }
  });

  it("never touch the input's config.json, nor stay when something stops them", async () => {
    const before = await readFiles(join(folder, "in"));
    await expect(quantizeFiles("in/small.safetensors")).rejects.toThrow("config.json: exists already");
    await expect(quantizeFiles("in/small.safetensors", {}, true)).rejects.toThrow(
      "is the float model's and would be replaced",
    );
    await expect(quantizeFiles("in/model.safetensors", {}, true)).rejects.toThrow(
      "is the float model's and would be replaced",
    );
    const stopped = new AbortController();
    const onProgress = () => stopped.abort();
    await expect(quantizeFiles("out/model.safetensors", { onProgress, signal: stopped.signal })).rejects.toThrow(
      "aborted",
    );
    expect(differingFile(before, await readFiles(join(folder, "in")))).toBeUndefined();
    expect(await readFiles(join(folder, "out"))).toEqual({});
  });
});
