import { InferenceSession, Tensor } from "onnxruntime-node";
import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";
import { type Feeds, type FeedTensor, isValueDType } from "../../src/compare/tensor-values.ts";
import type { Run } from "./rounds.ts";

/** A model that is ready to run. */
export interface Session {
  readonly inputs: readonly ModelValueInfo[];
  /** A run on those inputs: what is timed. */
  prepare(feeds: Feeds): Run;
  outputs(feeds: Feeds): Promise<Feeds>;
  release(): Promise<void>;
}

/** ONNX Runtime's levels of logging; what is fatal it throws as well. */
const FATAL = 4;

/** ONNX Runtime's own defaults, as in most programs, on one thread. */
const options: InferenceSession.SessionOptions = {
  executionProviders: ["cpu"],
  graphOptimizationLevel: "all",
  executionMode: "sequential",
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: FATAL,
};

/** The model in a file; its weights may lie beside it. */
export async function openSession(path: string): Promise<Session> {
  const session = await InferenceSession.create(path, options);
  // An int4 output cannot be read.
  const readable = session.outputMetadata.filter(({ isTensor, ...value }) => isTensor && isReadable(value));
  const names = readable.map(({ name }) => name);
  const prepare = (feeds: Feeds) => {
    const tensors = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, tensorOf(feed)]));
    return () => session.run(tensors, names);
  };
  return {
    inputs: session.inputMetadata.map(specOf),
    prepare,
    async outputs(feeds) {
      const values = await prepare(feeds)();
      return Object.fromEntries(Object.entries(values).map(([name, tensor]) => [name, feedOf(tensor)]));
    },
    release: () => session.release(),
  };
}

function isReadable(value: object): boolean {
  return "type" in value && isValueDType(value.type as string);
}

function specOf(value: InferenceSession.ValueMetadata): ModelValueInfo {
  const { name } = value;
  return value.isTensor ? { name, dtype: value.type, shape: value.shape } : { name, dtype: "other", shape: [] };
}

function tensorOf({ dtype, data, shape }: FeedTensor): Tensor {
  const tensor = new Tensor(dtype, data as Tensor.DataTypeMap[typeof dtype], shape);
  // On Node 24 it holds a Float16Array now, which onnxruntime-node does not read.
  if (dtype === "float16") Object.assign(tensor, { cpuData: data });
  return tensor;
}

function feedOf({ type, data, dims }: Tensor): FeedTensor {
  const view = data as FeedTensor["data"];
  const bits = type === "float16" ? new Uint16Array(view.buffer, view.byteOffset, view.length) : view;
  return { dtype: type, shape: dims, data: bits } as FeedTensor;
}
