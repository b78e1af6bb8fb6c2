import { exactRuntimes } from "./exact-products.ts";
import { compareOutputs } from "./model-feeds.ts";
import { graph, model, value } from "./onnx-build.ts";
import { graphsIn, type ReadNode } from "./onnx-read.ts";
import { tensor } from "./onnx-tensors.ts";
import { normalsOf } from "./random.ts";
import {
  type Feed,
  type Feeds,
  halvesOf,
  type Outputs,
  runtimes,
  type SessionOptions,
  withSession,
} from "./sessions.ts";
import type { TypeName } from "./wire-fields.ts";

// Small models by their nodes, and what they give in both runtimes beside what the float model gives.

type Float = "float32" | "float16" | "bfloat16";

/** Random values of a shape; of some deviation, 1 if not said. */
export interface Drawn {
  readonly shape: readonly number[];
  readonly type?: Float;
  /** In place of random ones. */
  readonly data?: ArrayLike<number>;
  readonly deviation?: number;
}

export interface Sketch {
  readonly nodes: readonly Uint8Array[];
  /** Initializers: a shape alone is one of random float32. */
  readonly weights?: Readonly<Record<string, readonly number[] | Drawn | Uint8Array>>;
  /** Inputs by what they are fed. */
  readonly feeds: Feeds;
  readonly outputs: readonly string[];
  /** What the file says of inner values: `float32[2,n]`. */
  readonly values?: Readonly<Record<string, string>>;
  /** Of inputs and outputs that are floats; float32 if not said. */
  readonly type?: Float;
  readonly opset?: number;
  readonly opsets?: Readonly<Record<string, number>>;
  readonly ir?: number;
  /** Of the model's own, as `functionOf` makes them. */
  readonly functions?: readonly Uint8Array[];
}

/** A model of a few nodes. */
export function sketch({ nodes, weights = {}, feeds, outputs, type = "float32", ...rest }: Sketch): Uint8Array {
  const { opset = 17, opsets = {}, ir = 8, values = {}, functions = [] } = rest;
  return model({
    ir,
    opsets: { "": opset, ...opsets },
    functions,
    graph: graph({
      nodes,
      initializers: Object.entries(weights).map(([name, drawn], i) => drawnTensor(name, drawn, i)),
      inputs: Object.entries(feeds).map(([name, feed]) => value(name, `${typeOf(feed, type)}[${feed.dims}]`)),
      outputs: outputs.map((name) => value(name, type)),
      values: Object.entries(values).map(([name, spec]) => value(name, spec)),
    }),
  });
}

/** An initializer of random values, the same each time. */
export function drawnTensor(name: string, drawn: readonly number[] | Drawn | Uint8Array, seed = 0): Uint8Array {
  if (drawn instanceof Uint8Array) return drawn;
  const { shape, type = "float32", deviation = 1, data } = "shape" in drawn ? drawn : ({ shape: drawn } as Drawn);
  const values = data ? Float32Array.from(data) : drawnValues(shape, seed, deviation);
  return tensor(name, type, shape, bitsOf(type, values));
}

/** The values of the initializer in that place. */
export function drawnValues(shape: readonly number[], place = 0, deviation = 1): Float32Array {
  const length = shape.reduce((a, b) => a * b, 1);
  return normalsOf(100 + place, length, deviation);
}

function bitsOf(type: Float, values: Float32Array): Float32Array | Uint16Array {
  if (type === "float16") return halvesOf(values);
  // Cut off, not rounded: what else can be said in so few bits is as good.
  return type === "bfloat16" ? Uint16Array.from(new Uint32Array(values.buffer), (x) => x >>> 16) : values;
}

function typeOf({ data }: Feed, float: Float): TypeName {
  if (data instanceof Float32Array) return float;
  if (data instanceof BigInt64Array) return "int64";
  return data instanceof Int32Array ? "int32" : "bool";
}

/** A feed of random floats. */
export function floats(dims: readonly number[], seed = 1, deviation = 1): Feed {
  const length = dims.reduce((a, b) => a * b, 1);
  return { dims, data: normalsOf(seed, length, deviation) };
}

/** A feed of indices. */
export function indices(values: readonly number[], dims: readonly number[] = [values.length]): Feed {
  return { dims, data: BigInt64Array.from(values, BigInt) };
}

/** What a model gives in both runtimes. */
export async function runInBoth(bytes: Uint8Array, feeds: Feeds, options: SessionOptions = {}) {
  const run = (open: (typeof runtimes)["node"]): Promise<Outputs> =>
    withSession(open(bytes, options), (session) => session.run(feeds));
  return { node: await run(runtimes.node), web: await run(runtimes.web) };
}

/** dB, the worst of all outputs in both runtimes, or in that which is exact: a model beside another. */
export async function nearness(float: Uint8Array, other: Uint8Array, feeds: Feeds): Promise<number> {
  const want = await withSession(runtimes.node(float), (session) => session.run(feeds));
  return nearnessTo(want, other, feeds);
}

export async function nearnessTo(want: Outputs, other: Uint8Array, feeds: Feeds): Promise<number> {
  const got = await runInBoth(other, feeds);
  const differences = exactRuntimes(other).flatMap((runtime) => Object.values(compareOutputs([want], [got[runtime]])));
  return Math.min(...differences.map(({ sqnr }) => sqnr));
}

/** All nodes of a model, those of inner graphs behind those of outer ones. */
export function nodesIn(bytes: Uint8Array): ReadNode[] {
  return graphsIn(bytes).flatMap(({ nodes }) => nodes);
}

/** The types of all nodes, how many there are of each. */
export function opsIn(bytes: Uint8Array): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op } of nodesIn(bytes)) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}

/** The names of all initializers, in the order of the file. */
export function initializersIn(bytes: Uint8Array): string[] {
  return graphsIn(bytes).flatMap(({ initializers }) => initializers.map(({ name }) => name));
}
