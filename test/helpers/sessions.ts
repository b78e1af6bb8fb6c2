import { readFile } from "node:fs/promises";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import * as node from "onnxruntime-node";
import * as web from "onnxruntime-web";
import { halvesWidened } from "./onnx-values.ts";
import { halfToEven } from "./reference.ts";

// ONNX Runtime twice behind one interface: the native one, and the WebAssembly one that browsers run. Each on one thread,
// and with nothing to say but errors.

/** Bytes, or the path of a file. */
export type ModelSource = Uint8Array | string;

export interface SessionOptions {
  /** `basic` and below leave the nodes of a file as they are, but for constants; all there is if not said. */
  readonly optimization?: "disabled" | "basic" | "extended" | "all" | undefined;
  /** The files with tensors that lie beside the model, by the name the model has for them. */
  readonly externalData?: Readonly<Record<string, Uint8Array>> | undefined;
  /**
   * Native only: MatMul behind DequantizeLinear runs on 8-bit activations, as it does unless told otherwise. That costs
   * half a percent, so here it does not unless asked for.
   */
  readonly quickMatMul?: boolean | undefined;
}

export interface Value {
  readonly name: string;
  /** ONNX Runtime's name: float32, float16, int64 and so on. */
  readonly type: string;
  /** A name, or "" for none, where a dimension is left open. */
  readonly shape: readonly (number | string)[];
}

/** The type is what the model wants: float32 values become float16, numbers int64, where that is what it takes. */
export interface Feed {
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
  readonly dims: readonly number[];
}

export type Feeds = Readonly<Record<string, Feed>>;

export interface Output {
  readonly type: string;
  readonly dims: readonly number[];
  /** Of float16 the values, widened. */
  readonly data: Tensor["data"];
}

export type Outputs = Readonly<Record<string, Output>>;

export interface Session {
  readonly runtime: "node" | "web";
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  run(feeds: Feeds): Promise<Outputs>;
  release(): Promise<void>;
}

/** A session of onnxruntime-node. */
export async function openNode(model: ModelSource, options: SessionOptions = {}): Promise<Session> {
  const how = { ...optionsFor("cpu", options), intraOpNumThreads: 1, interOpNumThreads: 1 };
  // Its types have a signature for each; of a path it finds the files beside the model by itself.
  return wrapped("node", await node.InferenceSession.create(model as string, how));
}

/** A session of onnxruntime-web's wasm build, which finds its wasm file beside itself. */
export async function openWeb(model: ModelSource, options: SessionOptions = {}): Promise<Session> {
  Object.assign(web.env.wasm, { numThreads: 1, proxy: false });
  web.env.logLevel = "error";
  const bytes = typeof model === "string" ? await readFile(model) : model;
  return wrapped("web", await web.InferenceSession.create(bytes, optionsFor("wasm", options)));
}

export const runtimes = { node: openNode, web: openWeb } as const;

/** Opens, uses and releases. */
export async function withSession<T>(session: Promise<Session>, use: (session: Session) => Promise<T>): Promise<T> {
  const opened = await session;
  try {
    return await use(opened);
  } finally {
    await opened.release();
  }
}

function optionsFor(provider: "cpu" | "wasm", options: SessionOptions): InferenceSession.SessionOptions {
  const { optimization = "all", externalData, quickMatMul = false } = options;
  return {
    executionProviders: [provider],
    graphOptimizationLevel: optimization,
    logSeverityLevel: 3,
    ...(externalData && { externalData: Object.entries(externalData).map(([path, data]) => ({ path, data })) }),
    ...(!quickMatMul && { extra: { session: { qdq_matmulnbits_accuracy_level: "1" } } }),
  };
}

function wrapped(runtime: Session["runtime"], session: InferenceSession): Session {
  const { Tensor } = runtime === "node" ? node : web;
  const inputs = session.inputMetadata.map(described);
  const outputs = session.outputMetadata.map(described);
  return {
    runtime,
    inputs,
    outputs,
    async run(feeds) {
      const given = inputs.map(({ name, type }): [string, Tensor] => {
        const feed = feeds[name];
        if (!feed) throw new Error(`no feed for the input ${name}`);
        const data = converted(feed.data, type);
        const tensor = new Tensor(type as "float32", data as Float32Array, feed.dims);
        // On Node 24 it holds a Float16Array now, which onnxruntime-node does not read.
        if (type === "float16") Object.assign(tensor, { cpuData: data });
        return [name, tensor];
      });
      const results = await session.run(Object.fromEntries(given));
      return Object.fromEntries(outputs.map(({ name }) => [name, outputOf(results[name]!)]));
    },
    release: () => session.release(),
  };
}

function described(value: InferenceSession.ValueMetadata): Value {
  if (!value.isTensor) throw new Error(`${value.name} is not a tensor`);
  return { name: value.name, type: value.type, shape: value.shape };
}

function converted(data: Feed["data"], type: string): Tensor["data"] {
  if (type === "float16" && data instanceof Float32Array) return halvesOf(data);
  if (type === "int64" && !(data instanceof BigInt64Array)) return BigInt64Array.from(data, (x) => BigInt(x));
  return data;
}

function outputOf({ type, dims, data }: Tensor): Output {
  if (type !== "float16") return { type, dims, data };
  // Node 24 has an array of its own for them, with the values; before there are the bits.
  return { type, dims, data: data instanceof Uint16Array ? halvesWidened(data) : Float32Array.from(data as never) };
}

/** The bits of the nearest float16, of two the even one. */
export function halvesOf(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = halfOf(values[i]!);
  return halves;
}

function halfOf(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  // Subnormals have the exponent of the smallest normals, and no leading one: the carry into it does the rest.
  return sign | ((exponent + 14) * 1024 + halfToEven(size / 2 ** (exponent - 10)));
}
