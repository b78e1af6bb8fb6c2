import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { blobSink, blobSource, createWorkerPool, type WorkerPool } from "../../src/browser.ts";
import { WorkerError } from "../../src/errors.ts";
import {
  ArgumentError,
  type ByteSource,
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  type Engine,
  FormatError,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { NodeWorker } from "./node-workers.ts";

const script = new URL("../../dist/browser-worker.js", import.meta.url);

let engine: Engine;
let file: Uint8Array<ArrayBuffer>;
let pool: WorkerPool | undefined;

/** Tensors of several windows, of several units and of one. */
const tensors = () => [f32("a", [1500, 1024], 1), f32("b", [4600, 1001], 2), f32("c", [30, 40], 3), f32("d", [99], 4)];

beforeAll(async () => {
  vi.stubGlobal("Worker", NodeWorker);
  engine = await createEngine();
  file = new Uint8Array(await safetensorsFile(tensors()));
});

afterEach(async () => {
  await pool?.close();
  pool = undefined;
  await vi.waitFor(() => expect(NodeWorker.alive.size).toBe(0));
});

function start(options: Parameters<typeof createWorkerPool>[0] = {}): WorkerPool {
  pool = createWorkerPool({ threads: 2, script, ...options });
  return pool;
}

const open = (bytes = file) => blobSource(new Blob([bytes]), "in.safetensors");

async function quantized(source: ByteSource = open(), options: QuantizeModelOptions = {}): Promise<Buffer> {
  const sink = blobSink();
  await quantizeModel(engine, source, sink, options);
  return Buffer.from(await sink.result().arrayBuffer());
}

describe("Web Workers", () => {
  it.each([{}, { perChannel: false }, { dtype: "int4", blockSize: 7, axis: 1 }] as const)(
    "make the same bytes as this thread: %j",
    async (options) => {
      const alone = await quantized(open(), options);
      for (const threads of [1, 3]) {
        await pool?.close();
        const made = NodeWorker.made;
        const workers = start({ threads });
        expect(Buffer.compare(await quantized(open(), { ...options, workers }), alone)).toBe(0);
        expect(NodeWorker.made - made).toBe(threads);
        expect(Buffer.compare(await quantized(bytesSource(file), { ...options, workers }), alone)).toBe(0);
      }
    },
  );

  it("restore the same", async () => {
    const codes = await quantized();
    const [alone, sink] = [bytesSink(), bytesSink()];
    await dequantizeModel(engine, bytesSource(codes), alone);
    await dequantizeModel(engine, blobSource(new Blob([new Uint8Array(codes)])), sink, { workers: start() });
    expect(Buffer.compare(sink.result(), alone.result())).toBe(0);
  });

  it("do ONNX models, with memory to share", async () => {
    const model = new Uint8Array(await readFile("example/digits.onnx"));
    const source = () => blobSource(new Blob([model]), "digits.onnx");
    for (const options of [{}, { mode: "dynamic" }] as const) {
      const made = await quantized(source(), { ...options, workers: start(), memory: 2 ** 25 });
      expect(Buffer.compare(made, await quantized(source(), options))).toBe(0);
      await pool?.close();
    }
  });

  it("tell what is wrong as this thread does", async () => {
    const broken = tensors();
    broken[1]!.values[3_333_333] = Number.NaN;
    const source = open(new Uint8Array(await safetensorsFile(broken)));
    const alone = await quantized(source).catch((error: unknown) => error);
    const error = await quantized(source, { workers: start() }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(FormatError);
    expect(error).toMatchObject({ file: "in.safetensors", tensor: "b", message: (alone as Error).message });
  });

  it("stop when asked to, and can be used again", async () => {
    const controller = new AbortController();
    const workers = start();
    const reason = new Error("enough");
    const onProgress = ({ done }: { done: number }) => {
      if (done > 0) controller.abort(reason);
    };
    await expect(quantized(open(), { workers, signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect(Buffer.compare(await quantized(open(), { workers }), await quantized())).toBe(0);
  });

  it("end when the pool is closed, whatever they are at", async () => {
    const workers = start();
    let closed: Promise<void> | undefined;
    const onProgress = ({ done }: { done: number }) => {
      if (done > 0) closed ??= workers.close();
    };
    await expect(quantized(open(), { workers, onProgress })).rejects.toThrow(
      /^tensor ".": the pool of workers was closed$/,
    );
    await closed;
    await expect(quantized(open(), { workers })).rejects.toThrow(WorkerError);
  });
});

describe("what a pool cannot start with", () => {
  it.each([1, 2])("a script that is not there: %i workers", async (threads) => {
    const missing = new URL("none.js", script);
    await expect(quantized(open(), { workers: start({ script: missing, threads }) })).rejects.toMatchObject({
      tag: "worker",
      tensor: "a",
      message: expect.stringContaining(`no worker can be started from ${missing.href}; see that it is served`),
    });
  });

  it("kernels that are not there", async () => {
    const workers = start({ module: "none.wasm" });
    await expect(quantized(open(), { workers })).rejects.toThrow(
      /no worker can be started \(module: none\.wasm: not a /,
    );
  });

  it.each([0, 1.5, -1])("%d threads", (threads) => {
    expect(() => createWorkerPool({ threads, script })).toThrow(ArgumentError);
  });
});

describe("createWorkerPool in a page", () => {
  it("has as many workers as the machine has cores, up to 8", () => {
    for (const [cores, threads] of [
      [3, 3],
      [64, 8],
      [undefined, 1],
    ]) {
      vi.stubGlobal("navigator", { hardwareConcurrency: cores });
      expect(createWorkerPool({ script }).atOnce).toBe(threads);
    }
  });

  it("finds scripts by their paths, and fetches those from elsewhere by one of its own origin", async () => {
    vi.stubGlobal("location", new URL("https://page.example/app/"));
    const seen: string[] = [];
    vi.stubGlobal(
      "Worker",
      class {
        constructor(url: string) {
          seen.push(url);
          throw new Error("seen");
        }
      },
    );
    for (const place of ["w.js", "https://cdn.example/w.js"]) {
      const error = await quantized(open(), { workers: start({ script: place }) }).catch(
        (error: Error) => error.message,
      );
      expect(error).toMatch(/no worker can be started from .*w\.js;/);
    }
    expect(new Set(seen)).toEqual(
      new Set(["https://page.example/app/w.js", expect.stringMatching(/^blob:.*#https:\/\/cdn\.example\/w\.js$/)]),
    );
    vi.stubGlobal("Worker", NodeWorker);
    vi.stubGlobal("location", undefined);
  });
});

describe("what is built for browsers", () => {
  const bundle = (entry: string) =>
    build({
      entryPoints: [entry],
      bundle: true,
      format: "esm",
      platform: "browser",
      write: false,
      metafile: true,
      logLevel: "silent",
    });

  it("a workers' script that needs no other file", async () => {
    const { metafile } = await bundle("dist/browser-worker.js");
    expect(Object.keys(metafile.inputs)).toEqual(["dist/browser-worker.js"]);
    expect(Object.values(metafile.outputs).flatMap(({ imports }) => imports)).toEqual([]);
  });

  it("an entry that bundlers take without Node's modules", async () => {
    const { metafile } = await bundle("dist/browser.js");
    expect(Object.keys(metafile.inputs)).toContain("dist/browser/workerpool.js");
    expect(Object.keys(metafile.inputs).filter((name) => name.includes("node_modules/workerpool"))).toEqual([]);
  });
});
