import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { ModelRuntime, ModelSession, ModelValueInfo } from "../compare/model-runtime.ts";
import { type Feeds, type FeedTensor, isValueDType } from "../compare/tensor-values.ts";
import { FileError, FormatError } from "../errors.ts";

export interface OnnxRuntimeOptions {
  /** How many threads an operator may use. Default: as many as the machine has cores. */
  readonly threads?: number | undefined;
}

type Runtime = typeof import("onnxruntime-node");

/** ONNX Runtime's levels of logging; what is fatal it throws as well. */
const FATAL = 4;

/**
 * ONNX Runtime for Node, the package `onnxruntime-node` (an optional one), on the CPU. It opens models by the name of
 * their source, a path: weights in files of their own are found beside the model.
 *
 * @throws FileError when the package is not installed or does not run here.
 */
export async function onnxRuntimeNode({ threads }: OnnxRuntimeOptions = {}): Promise<ModelRuntime> {
  const runtime = await loadRuntime();
  const options = { ...sessionOptions, ...(threads === undefined ? {} : { intraOpNumThreads: threads }) };
  return {
    async open({ name }) {
      const session = await explain(name, () => runtime.InferenceSession.create(name, options));
      return sessionOf(name, session, runtime);
    },
  };
}

const sessionOptions: InferenceSession.SessionOptions = {
  executionProviders: ["cpu"],
  graphOptimizationLevel: "all",
  logSeverityLevel: FATAL,
  // Else a MatMul of dequantized weights rounds its activations to 8 bits: an error that is not the model's.
  extra: { session: { qdq_matmulnbits_accuracy_level: "1" } },
};

async function loadRuntime(): Promise<Runtime> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const message = isMissing ? "is not installed: npm install onnxruntime-node" : `does not load: ${firstLine(cause)}`;
    throw new FileError("onnxruntime-node", message, { cause });
  }
}

function sessionOf(name: string, session: InferenceSession, { Tensor }: Runtime): ModelSession {
  const outputs = session.outputMetadata.map(specOf);
  // Reading an int4 output crashes Node.
  const readable = outputs.filter(({ dtype }) => isValueDType(dtype)).map((output) => output.name);
  return {
    inputs: session.inputMetadata.map(specOf),
    outputs,
    async run(feeds) {
      if (readable.length === 0) return {};
      const tensors = Object.entries(feeds).map(([input, { dtype, data, shape }]) => {
        const tensor = new Tensor(dtype, data as Tensor.DataTypeMap[typeof dtype], shape);
        // A Tensor makes a Float16Array of the bits where there is one (Node 24), which onnxruntime-node 1.30 cannot read.
        if (dtype === "float16") Object.assign(tensor, { cpuData: data });
        return [input, tensor];
      });
      const values = await explain(name, () => session.run(Object.fromEntries(tensors), readable));
      return feedsOf(values);
    },
    close: () => session.release(),
  };
}

function specOf(value: InferenceSession.ValueMetadata): ModelValueInfo {
  const { name } = value;
  return value.isTensor ? { name, dtype: value.type, shape: value.shape } : { name, dtype: "other", shape: [] };
}

function feedsOf(values: InferenceSession.ReturnType): Feeds {
  const feeds = Object.entries(values).map(([name, { type, data, dims }]) => {
    const view = data as FeedTensor["data"];
    // a Float16Array where there is such a thing
    const bits = type === "float16" ? new Uint16Array(view.buffer, view.byteOffset, view.length) : view;
    return [name, { dtype: type, shape: dims, data: bits } as FeedTensor];
  });
  return Object.fromEntries(feeds);
}

async function explain<T>(file: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw new FormatError(file, firstLine(cause), undefined, { cause });
  }
}

/** The first line of what ONNX Runtime says, without the place in its own source, where it gives one. */
function firstLine(cause: unknown): string {
  const line = (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!;
  const place = /^(.*?)\/\S*onnxruntime\S*\.(?:cc|h):\d+ .*\) (?=\S)(.*)$/.exec(line);
  return place ? `${place[1]}${place[2]}` : line;
}
