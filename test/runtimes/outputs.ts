import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { randomFeeds } from "../../src/compare/feeds.ts";
import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";
import type { Feeds, FeedTensor } from "../../src/compare/tensor-values.ts";
import { encodeFloat16 } from "../../src/formats/half-arrays.ts";
import {
  type Engine,
  isWasmQuantError,
  type QuantizeModelOptions,
  quantizeForTransformersJs,
} from "../../src/index.ts";
import { fileSink, fileSource, quantizeFile } from "../../src/node.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { indexLimits } from "../../src/onnx/ir/index-limits.ts";
import { suffixes, type TransformersJsVariant } from "../../src/onnx/transformers-js.ts";
import type { Row, Way } from "./rows.ts";
import type { Run } from "./run-models.ts";

/** A float model. */
export interface Base extends Run {
  readonly name: string;
}

/** What a row makes of a model in one of its ways. */
export interface Made extends Run {
  readonly row: Row;
  readonly way: Way;
  readonly base: Base;
  /** Equal models have one: it is enough to run one of them. */
  readonly id: string;
}

const SEED = 1;
const SETS = 2;

/** Puts a model where transformers.js finds it, and makes what it is run on. */
export async function placeBase(folder: string, name: string, bytes: Uint8Array, data?: Uint8Array): Promise<Base> {
  const path = await placeFor(join(folder, name.replaceAll(/\W+/g, "-")), "model.onnx");
  await writeFile(path, bytes);
  if (data) await writeFile(`${path}.data`, data);
  return { name, ...runOf(path, "fp32"), feeds: await feedsOf(path) };
}

async function placeFor(folder: string, name: string): Promise<string> {
  await mkdir(join(folder, "onnx"), { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "bert" }));
  return join(folder, "onnx", name);
}

function runOf(path: string, dtype: string) {
  const data = [`${path}.data`, `${path}_data`].find((file) => existsSync(file));
  return { path, dtype, data };
}

async function feedsOf(path: string): Promise<Feeds[]> {
  const source = await fileSource(path);
  try {
    const model = await readModel(source);
    const constants = new Set(model.graph.initializers.map(({ name }) => name));
    const inputs = model.graph.inputs
      .filter(({ name }) => !constants.has(name))
      .map(({ name, elementType, shape }) => ({ name, dtype: elementType, shape: shape ?? [] }) as ModelValueInfo);
    const sets = randomFeeds(inputs, { seed: SEED, sets: SETS, limits: indexLimits(model, basename(path)) });
    return await Promise.all(sets.map((set) => set.read()));
  } finally {
    await source.close();
  }
}

/** All that a row makes of a model; none where there is nothing to quantize. */
export async function outputsOf(engine: Engine, folder: string, row: Row, base: Base): Promise<Made[]> {
  const made: Made[] = [];
  for (const [i, way] of row.ways.entries()) {
    const home = join(folder, `${row.name}-${base.name}-${i}`.replaceAll(/\W+/g, "-").replace(/^-/, ""));
    const run = await make(engine, home, row, base, way);
    if (run) made.push({ ...run, row, way, base, id: await idOf(run) });
  }
  return made;
}

async function idOf({ path, dtype, data }: Run): Promise<string> {
  const hash = createHash("sha256").update(await readFile(path));
  if (data) hash.update(await readFile(data));
  return `${dtype} ${hash.digest("hex")}`;
}

/** `undefined` where there is nothing to quantize. */
async function make(engine: Engine, home: string, row: Row, base: Base, way: Way): Promise<Run | undefined> {
  try {
    if ("variant" in way) return { ...(await makeVariant(engine, home, base, way.variant)), feeds: base.feeds };
    const path = await placeFor(home, "model.onnx");
    const before = row.from ? await placeFor(join(home, "before"), "model.onnx") : base.path;
    if (row.from) await quantizeFile(base.path, before, { engine, threads: 1, ...row.from });
    await quantizeFile(before, path, { engine, threads: 1, ...way });
    return { ...runOf(path, "fp32"), feeds: base.feeds.map((feeds) => feedsAs(feeds, way.io)) };
  } catch (error) {
    if (isWasmQuantError(error, "unchanged")) return undefined;
    throw new Error(`${row.name} of ${base.name}: ${(error as Error).message}`, { cause: error });
  }
}

async function makeVariant(engine: Engine, home: string, base: Base, variant: TransformersJsVariant) {
  const path = await placeFor(home, `model${suffixes[variant]}.onnx`);
  const source = await fileSource(base.path);
  try {
    await quantizeForTransformersJs(engine, source, () => fileSink(path), { only: [variant] });
  } finally {
    await source.close();
  }
  return runOf(path, variant);
}

/** Of bfloat16 JavaScript has no tensors. */
function feedsAs(feeds: Feeds, io: QuantizeModelOptions["io"]): Feeds {
  if (io !== "float16") return feeds;
  const halved = (feed: FeedTensor): FeedTensor =>
    feed.dtype === "float32" ? { ...feed, dtype: "float16", data: encodeFloat16(feed.data) } : feed;
  return Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, halved(feed)]));
}
