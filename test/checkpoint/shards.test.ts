import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ByteSource,
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  inspectModel,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { builtPool } from "../helpers/pools.ts";
import { differingFile, indexSource, readFiles, shardedCheckpoint, writeFiles } from "../helpers/shards.ts";

const engine = await createEngine();

const INDEX = "model.safetensors.index.json";
const OUTPUT = "small.safetensors.index.json";

/** A matrix of two windows, one with a NaN-free tail of its own, and what is copied. */
const shards = [
  await safetensorsFile([f32("a.weight", [1030, 1021]), f32("a.bias", [1030], 2)], { format: "pt" }),
  await safetensorsFile([f32("norm.weight", [64], 3)], { format: "pt" }),
  await safetensorsFile([f32("b.weight", [8, 64], 4), f32("c.weight", [3, 5, 7], 5)]),
];
const checkpoint = await shardedCheckpoint(shards);

async function quantize(source: ByteSource, options: QuantizeModelOptions = {}) {
  const sink = bytesSink(OUTPUT);
  const report = await quantizeModel(engine, source, sink, options);
  const names = [1, 2, 3].map((n) => `small-0000${n}-of-00003.safetensors`);
  const files: Record<string, Uint8Array> = {
    [OUTPUT]: sink.result(),
    ...Object.fromEntries(names.map((name) => [name, sink.result(name)!])),
  };
  return { report, files };
}

async function single(file: Uint8Array, options: QuantizeModelOptions = {}) {
  const sink = bytesSink();
  await quantizeModel(engine, bytesSource(file, "x.safetensors"), sink, options);
  return sink.result();
}

describe("a checkpoint in shards", () => {
  it.each([
    {},
    { dtype: "int4", blockSize: 32, exclude: ["c.*"] },
    { perChannel: false, memory: 1 },
  ] as QuantizeModelOptions[])(
    "becomes as many shards, each what it would be by itself, and an index: %j",
    async (options) => {
      const { report, files } = await quantize(indexSource(checkpoint), options);
      for (const [i, shard] of shards.entries()) {
        // Of the second nothing is quantized: its header may be laid out anew.
        if (i === 1) continue;
        const { exclude, ...rest } = options;
        const alone = await single(shard, i === 2 ? options : rest);
        expect(Buffer.compare(files[`small-0000${i + 1}-of-00003.safetensors`]!, alone), `shard ${i}`).toBe(0);
      }
      const index = JSON.parse(new TextDecoder().decode(files[OUTPUT]));
      const sizes = report.tensors.reduce((sum, { bytesAfter }) => sum + bytesAfter, 0);
      expect(index.metadata).toEqual({ note: "kept", total_size: sizes });
      expect(index.weight_map).toMatchObject({
        "a.weight": "small-00001-of-00003.safetensors",
        "a.weight.scale": "small-00001-of-00003.safetensors",
        "norm.weight": "small-00002-of-00003.safetensors",
        "b.weight.zero_point": "small-00003-of-00003.safetensors",
      });
      const size = (all: Record<string, Uint8Array>) => Object.values(all).reduce((sum, file) => sum + file.length, 0);
      expect(report).toMatchObject({ bytesBefore: size(checkpoint), bytesAfter: size(files) });
      expect(report.tensors.map(({ name }) => name)).toEqual([
        "a.weight",
        "a.bias",
        "norm.weight",
        "b.weight",
        "c.weight",
      ]);
    },
  );

  it("is restored into shards, and is told of as one", async () => {
    const { files } = await quantize(indexSource(checkpoint));
    const sink = bytesSink("back.safetensors.index.json");
    await dequantizeModel(engine, indexSource(files), sink);
    for (const [i, shard] of shards.entries()) {
      const back = sink.result(`back-0000${i + 1}-of-00003.safetensors`)!;
      if (i === 1) {
        expect(Buffer.compare(back, shard)).toBe(0);
        continue;
      }
      const alone = bytesSink();
      await dequantizeModel(engine, bytesSource(await single(shard), "x.safetensors"), alone);
      expect(Buffer.compare(back, alone.result())).toBe(0);
    }
    const inspection = await inspectModel(engine, indexSource(files));
    expect(inspection).toMatchObject({
      fileType: "safetensors",
      files: Object.keys(files).slice(1),
      metadata: { format: "pt" },
      tensors: [
        { name: "a.weight", quantized: { dtype: "int8" } },
        { name: "a.bias" },
        { name: "norm.weight" },
        { name: "b.weight", quantized: { dtype: "int8" } },
        { name: "c.weight", quantized: { dtype: "int8" } },
      ],
    });
    expect(inspection).not.toHaveProperty("metadata.wasm_quant");
    await expect(dequantizeModel(engine, indexSource(checkpoint), bytesSink())).rejects.toThrow(
      `${INDEX}: was not quantized by wasm-quant`,
    );
    await expect(quantize(indexSource(files))).rejects.toThrow("is quantized already");
    await expect(dequantizeModel(engine, indexSource(files), bytesSink(), { fileType: "npy" })).rejects.toThrow(
      "in shards",
    );
  });

  it("comes out byte for byte where nothing is quantized, under other names", async () => {
    const { files, report } = await quantize(indexSource(checkpoint), { exclude: ["*"], allowUnchanged: true });
    expect(
      Object.values(files)
        .slice(1)
        .map((file, i) => Buffer.compare(file, shards[i]!)),
    ).toEqual([0, 0, 0]);
    expect(JSON.parse(new TextDecoder().decode(files[OUTPUT])).weight_map["c.weight"]).toBe(
      "small-00003-of-00003.safetensors",
    );
    expect(report.bytesAfter).toBe(Object.values(files).reduce((sum, file) => sum + file.length, 0));
  });

  it("closes its shards, whatever happens", async () => {
    for (const options of [{}, { include: ["nothing"] }, { signal: AbortSignal.abort() }] as QuantizeModelOptions[]) {
      let open = 0;
      const source = indexSource(checkpoint);
      const sibling = async (path: string) => {
        const found = await source.sibling!(path);
        open++;
        return { ...found, close: async () => void open-- };
      };
      await quantize({ ...source, sibling }, options).catch(() => {});
      expect(open).toBe(0);
    }
  });

  it("is refused where a shard or a tensor is missing", async () => {
    const { "model-00002-of-00003.safetensors": gone, ...rest } = checkpoint;
    await expect(quantize(indexSource(rest))).rejects.toThrow(
      `${INDEX}: tensor "norm.weight": its shard "model-00002-of-00003.safetensors" cannot be had`,
    );
    const swapped = { ...checkpoint, "model-00002-of-00003.safetensors": await safetensorsFile([f32("other", [4])]) };
    await expect(quantize(indexSource(swapped))).rejects.toThrow(
      /tensor "norm.weight": the index has it in .*no shard/,
    );
  });

  it("names the shard in which a tensor is that cannot be quantized", async () => {
    const bad = f32("bad.weight", [8, 64]);
    bad.values[77] = Number.NaN;
    const files = await shardedCheckpoint([shards[0]!, await safetensorsFile([bad])]);
    await expect(quantizeModel(engine, indexSource(files), bytesSink(OUTPUT))).rejects.toThrow(
      'model-00002-of-00002.safetensors: tensor "bad.weight": holds NaN at flat index 77',
    );
  });
});

describe("files", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
    await writeFiles(folder, checkpoint);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function quantizeFiles(output: string, options: QuantizeModelOptions = {}, overwrite = false) {
    const source = await fileSource(join(folder, INDEX));
    try {
      return await quantizeModel(engine, source, await fileSink(join(folder, output), { overwrite }), options);
    } finally {
      await source.close();
    }
  }

  it("are the same for any number of threads and any memory", async () => {
    const { files, report } = await quantize(indexSource(checkpoint), { axis: 1 });
    for (const [threads, memory] of [
      [1, 1],
      [2, 1e9],
      [7, 1e6],
    ] as const) {
      await using workers = builtPool(threads);
      expect(await quantizeFiles(OUTPUT, { axis: 1, workers, memory }, true)).toEqual(report);
      expect(differingFile({ ...checkpoint, ...files }, await readFiles(folder))).toBeUndefined();

      const source = await fileSource(join(folder, OUTPUT));
      await dequantizeModel(engine, source, await fileSink(join(folder, "back.safetensors.index.json")), { workers });
      await source.close();
      expect(await readdir(folder)).toHaveLength(12);
      for (const name of await readdir(folder)) if (name.startsWith("back")) await rm(join(folder, name));
    }
  });

  it("appear together or not at all", async () => {
    const before = await readFiles(folder);
    const stopped = new AbortController();
    const onProgress = () => stopped.abort();
    await expect(quantizeFiles(OUTPUT, { onProgress, signal: stopped.signal })).rejects.toThrow("aborted");
    expect(differingFile(before, await readFiles(folder))).toBeUndefined();

    const taken = { "small-00002-of-00003.safetensors": "precious" };
    await writeFiles(folder, taken);
    await expect(quantizeFiles(OUTPUT)).rejects.toThrow("small-00002-of-00003.safetensors: exists already");
    expect(
      differingFile({ ...before, [Object.keys(taken)[0]!]: Buffer.from("precious") }, await readFiles(folder)),
    ).toBe(undefined);
  });

  it("may take the input's place, though not that of its shards alone", async () => {
    await expect(quantizeFiles("model.safetensors.index.fp16.json", {}, true)).rejects.toThrow(
      "model-00001-of-00003.safetensors: would be replaced, and is read from; write to another folder",
    );
    expect(differingFile(checkpoint, await readFiles(folder))).toBeUndefined();
    await quantizeFiles(INDEX, {}, true);
    const { files } = await quantize(indexSource(checkpoint));
    const names = (all: Record<string, Uint8Array>) => Object.values(all).map(({ length }) => length);
    expect(names(await readFiles(folder)).slice(0, 3)).toEqual(names(files).slice(1));
  });
});
