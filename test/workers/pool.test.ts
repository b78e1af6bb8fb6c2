import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ByteSource, DequantizeModelOptions, Inspection, QuantizeModelOptions } from "../../src/index.ts";
import type { WorkerPool } from "../../src/node.ts";
import { lib, node } from "../helpers/built.ts";
import { safetensorsFile } from "../helpers/checkpoints.ts";
import { floats } from "../helpers/float-files.ts";
import { freshFolder } from "../helpers/folder.ts";
import { bytesOf } from "../helpers/sources.ts";

const { bytesSink, bytesSource, createEngine, dequantizeModel, inspectModel, quantizeModel } = lib;
const { fileSink, createWorkerPool, fileSource } = node;

const engine = await createEngine();
const folder = freshFolder();

const counts = [1, 2, 7] as const;
let pools: ReadonlyMap<number, WorkerPool>;
beforeAll(() => {
  pools = new Map(counts.map((threads) => [threads, createWorkerPool({ threads })]));
});
afterAll(async () => {
  for (const pool of pools.values()) await pool.close();
});

const wide = [1030, 1021]; // a little more than a window
const file = await safetensorsFile([
  floats(engine, "wide", "F32", wide),
  floats(engine, "half", "F16", wide, 2),
  { name: "indices", dtype: "I64", shape: [3], data: bytesOf(new Uint8Array(24).fill(7)) },
  floats(engine, "brain", "BF16", wide, 3),
  floats(engine, "double", "F64", wide, 4),
  floats(engine, "odd", "F32", [3, 1027, 513], 5), // windows of 4-bit codes begin within a byte
  floats(engine, "small", "F32", [8, 64], 6),
  floats(engine, "bias", "F32", [64], 7),
  floats(engine, "empty", "F32", [0, 64], 8),
]);

/** Runs `act` on the file as it lies in the folder, for each number of workers; undefined is no pool. */
async function withEach<T>(bytes: Uint8Array, act: (source: ByteSource, workers?: WorkerPool) => Promise<T>) {
  await writeFile(folder.at("in.safetensors"), bytes);
  const results: T[] = [];
  for (const workers of [undefined, ...pools.values()]) {
    const source = await fileSource(folder.at("in.safetensors"));
    try {
      results.push(await act(source, workers));
    } finally {
      await source.close();
    }
  }
  return results;
}

/** What a task writes from file to file. */
async function written(
  task: (source: ByteSource, sink: Awaited<ReturnType<typeof fileSink>>) => Promise<unknown>,
  source: ByteSource,
) {
  const path = folder.at("out.safetensors");
  const report = await task(source, await fileSink(path, { overwrite: true }));
  return { report, bytes: await readFile(path) };
}

function expectAlike(results: readonly { readonly report: unknown; readonly bytes: Uint8Array }[]): void {
  const [first, ...others] = results;
  for (const { report, bytes } of others) {
    expect(report).toEqual(first!.report);
    expect(Buffer.compare(bytes, first!.bytes)).toBe(0);
  }
}

describe.each<QuantizeModelOptions>([
  {},
  { dtype: "uint8", perChannel: false },
  { dtype: "uint8", scheme: "float-offset", axis: 1 },
  { dtype: "int4", blockSize: 32 },
  { dtype: "int4", axis: 1 },
  { dtype: "uint4", perChannel: false, memory: 1 },
  { dtype: "int16", axis: -1, memory: 1 },
])("%j", (options) => {
  it("gives the same bytes and the same report for any number of workers, back to floats too", async () => {
    const quantized = await withEach(file, (source, workers) =>
      written((from, to) => quantizeModel(engine, from, to, { ...options, workers }), source),
    );
    expectAlike(quantized);
    const restored = await withEach(quantized[0]!.bytes, (source, workers) =>
      written((from, to) => dequantizeModel(engine, from, to, { workers }), source),
    );
    expectAlike(restored);
    expect(await folder.names()).toEqual(["in.safetensors", "out.safetensors"]);
  });
});

describe("a pool", () => {
  it("inspects as one thread does, tensors that cannot be quantized among others", async () => {
    const bad = floats(engine, "bad", "F32", wide, 9);
    new Float32Array(bad.data.buffer)[1_050_001] = Number.NaN;
    const one = floats(engine, "one", "F32", wide);
    const bytes = await safetensorsFile([bad, one, floats(engine, "small", "F16", [8, 64])]);
    const [alone, ...inspections] = await withEach(
      bytes,
      (source, workers) => inspectModel(engine, source, { workers, memory: 1 << 20 }) as Promise<Inspection>,
    );
    expect(alone!.tensors[0]).toMatchObject({ name: "bad", reason: "holds NaN at flat index 1050001" });
    expect(alone!.tensors[1]).toHaveProperty("sqnr.int8PerChannel");
    for (const inspection of inspections) expect(inspection).toEqual(alone);
  });

  it("works on what only this thread can read or write", async () => {
    const expected = bytesSink();
    await quantizeModel(engine, bytesSource(file), expected, { dtype: "int4", blockSize: 32 });
    await writeFile(folder.at("in.safetensors"), file);
    for (const workers of pools.values()) {
      const sink = bytesSink();
      await quantizeModel(engine, bytesSource(file), sink, { dtype: "int4", blockSize: 32, workers });
      expect(Buffer.compare(sink.result(), expected.result())).toBe(0);
      const source = await fileSource(folder.at("in.safetensors"));
      const fromFile = bytesSink();
      await quantizeModel(engine, source, fromFile, { dtype: "int4", blockSize: 32, workers });
      await source.close();
      expect(Buffer.compare(fromFile.result(), expected.result())).toBe(0);
      const options: DequantizeModelOptions = { workers };
      const toFile = await fileSink(folder.at("out"), { overwrite: true });
      const toBytes = bytesSink();
      await dequantizeModel(engine, bytesSource(expected.result()), toFile, options);
      await dequantizeModel(engine, bytesSource(expected.result()), toBytes);
      expect(Buffer.compare(await readFile(folder.at("out")), toBytes.result())).toBe(0);
    }
  });

  it("serves several tasks at the same time, failing ones among them", async () => {
    await writeFile(folder.at("in.safetensors"), file);
    const dtypes = ["int8", "uint8", "int4", "int16"] as const;
    const alone = await Promise.all(
      dtypes.map(async (dtype) => {
        const sink = bytesSink();
        await quantizeModel(engine, bytesSource(file), sink, { dtype });
        return sink.result();
      }),
    );
    const source = await fileSource(folder.at("in.safetensors"));
    const workers = pools.get(2)!;
    const bad = floats(engine, "bad", "F32", [8, 64]);
    new Float32Array(bad.data.buffer)[9] = Number.NaN;
    const [failure, ...files] = await Promise.all([
      quantizeModel(engine, bytesSource(await safetensorsFile([bad])), bytesSink(), { workers }).catch(
        (error: unknown) => error,
      ),
      ...dtypes.map(async (dtype) => {
        await quantizeModel(engine, source, await fileSink(folder.at(dtype)), { dtype, workers });
        return readFile(folder.at(dtype));
      }),
    ]);
    await source.close();
    expect(failure).toBeInstanceOf(lib.FormatError);
    files.forEach((bytes, i) => {
      expect(Buffer.compare(bytes as Buffer, alone[i]!)).toBe(0);
    });
  });

  it("is asked for by the bytes there are to read", async () => {
    const asked: number[] = [];
    const workers = (bytes: number) => {
      asked.push(bytes);
      return pools.get(2);
    };
    const [pooled, none, alone] = [bytesSink(), bytesSink(), bytesSink()];
    await quantizeModel(engine, bytesSource(file), pooled, { workers });
    await quantizeModel(engine, bytesSource(file), none, { workers: () => undefined });
    await quantizeModel(engine, bytesSource(file), alone);
    await dequantizeModel(engine, bytesSource(alone.result()), bytesSink(), { workers });
    await inspectModel(engine, bytesSource(file), { workers });
    const tensors = file.byteLength - 8 - Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
    expect(asked[0]).toBe(tensors);
    expect(asked).toHaveLength(3);
    expect(Buffer.compare(pooled.result(), alone.result())).toBe(0);
    expect(Buffer.compare(none.result(), alone.result())).toBe(0);
  });

  it.each([0, -1, 1.5, Number.NaN, "2"])("of %s threads is refused", (threads) => {
    const act = () => createWorkerPool({ threads: threads as number });
    expect(act).toThrow(lib.ArgumentError);
    expect(act).toThrow(`threads: ${threads} given; a whole number above 0 is allowed`);
  });

  it("says so where the kernels it was given are none, once there is work", async () => {
    await using workers = createWorkerPool({ threads: 2, module: Uint8Array.of(1, 2, 3) });
    const task = quantizeModel(engine, bytesSource(file), bytesSink(), { workers });
    await expect(task).rejects.toThrow(
      /no worker can be started \(module: the bytes given: not a readable WebAssembly module/,
    );
  });
});

describe("a closed pool", () => {
  it("is refused, however often it is closed and whether it worked or not", async () => {
    const workers = createWorkerPool({ threads: 2 });
    await Promise.all([workers.close(), workers.close()]);
    const task = quantizeModel(engine, bytesSource(file), bytesSink(), { workers });
    const error = await task.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(lib.WorkerError);
    expect(error).toMatchObject({
      message: 'tensor "wide": the pool of workers was closed',
    });
    const used = createWorkerPool({ threads: 1 });
    await quantizeModel(engine, bytesSource(file), bytesSink(), { workers: used });
    await used.close();
    await used.close();
    await expect(quantizeModel(engine, bytesSource(file), bytesSink(), { workers: used })).rejects.toThrow(
      "the pool of workers was closed",
    );
  });

  it.each([1, 2, 7])("lets a task that needs it fail, with %i threads", async (threads) => {
    await writeFile(folder.at("in.safetensors"), file);
    const source = await fileSource(folder.at("in.safetensors"));
    const workers = createWorkerPool({ threads });
    let seen = 0;
    const task = quantizeModel(engine, source, await fileSink(folder.at("out")), {
      workers,
      onProgress: () => void (++seen === 3 && workers.close()),
    });
    await expect(task).rejects.toThrow("the pool of workers was closed");
    await source.close();
    expect(await folder.names()).toEqual(["in.safetensors"]);
  });

  it("is what `await using` leaves behind", async () => {
    let kept: WorkerPool;
    {
      await using workers = createWorkerPool({ threads: 1 });
      kept = workers;
      await quantizeModel(engine, bytesSource(file), bytesSink(), { workers });
    }
    await expect(quantizeModel(engine, bytesSource(file), bytesSink(), { workers: kept })).rejects.toThrow("closed");
  });
});
