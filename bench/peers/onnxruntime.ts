import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { ElementType, OnnxModel, OnnxTensor } from "../../test/helpers/onnx.ts";
import { writeModel } from "../../test/helpers/onnx-writer.ts";
import type { Given, Job, Peer, Prepared, Work } from "./peer.ts";

/** What onnxruntime-node and onnxruntime-web have in common. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<InferenceSession> };
  readonly Tensor: new (type: "float32" | "uint8" | "int8", data: Data, shape: number[]) => Tensor;
}

type Data = Float32Array | Uint8Array | Int8Array;

interface Output {
  readonly name: string;
  readonly type: "float32" | "uint8" | "int8";
  readonly shape: number[];
}

const arrays = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

/** One operator as it stands in a model, one thread. */
const options = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential" } as const;

/** @param preallocates whether it writes into the outputs it is given */
export function onnxRuntime(
  about: Pick<Peer, "name" | "note">,
  runtime: OnnxRuntime,
  provider: string,
  preallocates: boolean,
): Peer {
  const prepare = async (given: Given): Promise<Prepared> => {
    const sessions: InferenceSession[] = [];
    const feeds = { x: new runtime.Tensor("float32", given.x, [given.x.length]) };
    const jobOf = async (work: Work): Promise<Job> => {
      const { model, outputs } = modelOf(work, given);
      const session = await runtime.InferenceSession.create(model, { ...options, executionProviders: [provider] });
      sessions.push(session);
      const into = outputs.map(({ type, shape }) => new arrays[type](shape[0] ?? 1));
      const fetches = Object.fromEntries(
        outputs.map(({ name, type, shape }, i) => [name, new runtime.Tensor(type, into[i]!, shape)]),
      );
      let found: readonly Data[] = into;
      const run = async () => {
        const results = await (preallocates ? session.run(feeds, fetches) : session.run(feeds));
        if (!preallocates) found = outputs.map(({ name }) => results[name]!.data as Data);
        return outputs.length;
      };
      return { run, result: () => (work === "range" ? [found[1]![0]! - found[0]![0]!] : found[0]!) };
    };
    const [QuantizeLinear, DynamicQuantizeLinear, range] = [
      await jobOf("QuantizeLinear"),
      await jobOf("DynamicQuantizeLinear"),
      await jobOf("range"),
    ];
    return {
      jobs: { QuantizeLinear, DynamicQuantizeLinear, range },
      free: async () => {
        for (const session of sessions) await session.release();
      },
    };
  };
  return { ...about, prepare };
}

function modelOf(work: Work, { x, scale }: Given): { model: Uint8Array; outputs: readonly Output[] } {
  const shape = [x.length];
  const node = (op: string, inputs: string[], outputs: string[], attributes = {}) => ({
    op,
    inputs,
    outputs,
    attributes,
  });
  const built = (
    nodes: OnnxModel["nodes"],
    outputs: readonly Output[],
    initializers: readonly OnnxTensor[] = [],
  ): { model: Uint8Array; outputs: readonly Output[] } => {
    const inputs = [{ name: "x", type: "float32", shape }] as const;
    return { model: writeModel({ irVersion: 10, opset: 21, nodes, initializers, inputs, outputs }), outputs };
  };
  const scalar = (name: string, type: "float32" | "uint8"): Output => ({ name, type, shape: [] });
  if (work === "range") {
    const reduce = (op: string, name: string) => node(op, ["x"], [name], { keepdims: 0 });
    const nodes = [reduce("ReduceMin", "min"), reduce("ReduceMax", "max")];
    return built(nodes, [scalar("min", "float32"), scalar("max", "float32")]);
  }
  if (work === "DynamicQuantizeLinear") {
    const outputs = [{ name: "y", type: "uint8", shape } as const, scalar("scale", "float32"), scalar("zero", "uint8")];
    return built([node(work, ["x"], ["y", "scale", "zero"])], outputs);
  }
  const constant = (name: string, type: ElementType, data: Data) => {
    return { name, type, shape: [], bytes: new Uint8Array(data.buffer) };
  };
  const constants = [constant("scale", "float32", Float32Array.of(scale)), constant("zero", "int8", Int8Array.of(0))];
  return built([node(work, ["x", "scale", "zero"], ["y"])], [{ name: "y", type: "int8", shape }], constants);
}
