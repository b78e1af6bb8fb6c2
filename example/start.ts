/**
 * What `npm start` runs: quantizes the digit reader and shows what that cost, on the images it was not trained on, and
 * what it saved.
 */
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { FeedTensor, ModelRuntime } from "../src/index.ts";
import { bytesSource, createEngine, isWasmQuantError, quantizeModel, readNpyHeader } from "../src/index.ts";
import { fileSink, fileSource, onnxRuntimeNode } from "../src/node.ts";
import { argmax } from "./network.ts";

const CLASSES = 10;
const WHITE = 255;
/** One run is over in a few milliseconds, and the machine does other things meanwhile. */
const TIMED_RUNS = 5;

const at = (name: string) => join(import.meta.dirname, name);
const before = at("digits.onnx");
const after = at("digits.int8.onnx");

const milliseconds = await quantize();
const saved = `${((await stat(after)).size / (await stat(before)).size).toFixed(3)} of the size`;
const done = `quantized in ${milliseconds.toFixed(0)} ms`;
const runtime = await runtimeIfThere();
console.log(await describe(before));
console.log(`${await describe(after)}  ${saved}, ${done}`);

/** How long it took, file to file. */
async function quantize(): Promise<number> {
  const start = performance.now();
  const engine = await createEngine();
  const source = await fileSource(before);
  const sink = await fileSink(after, { overwrite: true });
  await quantizeModel(engine, source, sink);
  await source.close();
  return performance.now() - start;
}

/** Without it sizes alone are shown: the library does not need it. */
async function runtimeIfThere(): Promise<ModelRuntime | undefined> {
  try {
    return await onnxRuntimeNode({ threads: 1 });
  } catch (error) {
    if (!isWasmQuantError(error, "file")) throw error;
    console.log(`accuracy is not measured: ${error.message}`);
    return undefined;
  }
}

/** A line about a model: its size, how many images it reads right and how long it takes. */
async function describe(path: string): Promise<string> {
  const size = `${((await stat(path)).size / 1000).toFixed(1)} kB`;
  const columns = [basename(path).padEnd(basename(after).length), size.padStart(8)];
  return [...columns, ...(runtime ? await read(path, runtime) : [])].join("  ");
}

async function read(path: string, runtime: ModelRuntime): Promise<string[]> {
  const image = await images();
  const labels = (await npy("digits-labels.npy")).data;
  const source = await fileSource(path);
  const session = await runtime.open(source);
  const { scores } = await session.run({ image }); // the first run is slower, and so not timed
  const start = performance.now();
  for (let i = 0; i < TIMED_RUNS; i++) await session.run({ image });
  const each = (performance.now() - start) / TIMED_RUNS / labels.length;
  await session.close();
  await source.close();
  const right = countRight(scores!.data as Float32Array, labels);
  const share = ((100 * right) / labels.length).toFixed(1);
  return [`${right} of ${labels.length} right (${share} %)`, `${each.toFixed(3)} ms an image`];
}

function countRight(scores: Float32Array, labels: Uint8Array): number {
  return labels.filter((label, i) => argmax(scores.subarray(i * CLASSES, (i + 1) * CLASSES)) === label).length;
}

/** All held-out images as one batch. */
async function images(): Promise<FeedTensor> {
  const { shape, data } = await npy("digits-images.npy");
  const [count = 0, ...pixels] = shape;
  return { dtype: "float32", shape: [count, 1, ...pixels], data: Float32Array.from(data, (byte) => byte / WHITE) };
}

async function npy(name: string): Promise<{ shape: readonly number[]; data: Uint8Array }> {
  const bytes = new Uint8Array(await readFile(at(name)));
  const { shape, start } = await readNpyHeader(bytesSource(bytes, name));
  return { shape, data: bytes.subarray(start) };
}
