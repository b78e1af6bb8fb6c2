import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";
import type * as ort from "onnxruntime-node";
import type { Feeds } from "../../src/compare/tensor-values.ts";
import { decodeHalf } from "../../src/formats/half-arrays.ts";
import type { Output, Outputs } from "../helpers/sessions.ts";
import type { Runtime } from "./versions.ts";

// A program of its own, which loads one runtime and runs models in it: `run-models.ts node|web|transformers ENTRY`. It is
// sent a list of runs, and sends back what each gives, or why it gives nothing. A model that ends the process ends no other.

/** A model, and what it is run on. */
export interface Run {
  /** In a folder `onnx` of a folder that transformers.js loads a model from. */
  readonly path: string;
  /** What transformers.js calls this of its files. */
  readonly dtype: string;
  /** The file that holds its tensors, if they are not its own. */
  readonly data?: string | undefined;
  /** In the types that it takes. */
  readonly feeds: readonly Feeds[];
}

/** Numbers of runs, first when one starts, then when it has ended. */
export type Message =
  | { readonly starts: number }
  | { readonly ends: number; readonly outputs?: readonly Outputs[]; readonly error?: string };

interface Loaded {
  run(feeds: Feeds): Promise<Outputs>;
  release(): Promise<unknown>;
}

type Load = (run: Run) => Promise<Loaded>;
type Library = typeof ort;

const quiet = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 } as const;

function inNode(library: Library): Load {
  return async ({ path }) => loaded(library, await library.InferenceSession.create(path, quiet));
}

function inWeb(library: Library): Load {
  Object.assign(library.env.wasm, { numThreads: 1, proxy: false });
  library.env.logLevel = "fatal";
  return async ({ path, data }) => {
    const files = data === undefined ? [] : [{ path: basename(data), data: new Uint8Array(await readFile(data)) }];
    const bytes = new Uint8Array(await readFile(path));
    return loaded(library, await library.InferenceSession.create(bytes, { ...quiet, externalData: files }));
  };
}

/** What of transformers.js is used. */
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string; logLevel: number };
  readonly AutoModel: {
    from_pretrained(
      name: string,
      options: object,
    ): Promise<((feeds: object) => Promise<Readonly<Record<string, ort.Tensor>>>) & { dispose(): Promise<unknown> }>;
  };
  readonly Tensor: typeof ort.Tensor;
}

/** Models of all kinds pass for encoders, which take and give tensors of any name. */
function inTransformers({ env, AutoModel, Tensor }: Transformers): Load {
  Object.assign(env, { allowRemoteModels: false, logLevel: 100 });
  return async ({ path, dtype }) => {
    const home = dirname(dirname(path));
    env.localModelPath = dirname(home);
    const model = await AutoModel.from_pretrained(basename(home), { dtype, device: "cpu", session_options: quiet });
    return {
      run: async (feeds) => outputsOf(await model(tensorsOf(Tensor, feeds))),
      release: () => model.dispose(),
    };
  };
}

function loaded({ Tensor }: Library, session: ort.InferenceSession): Loaded {
  return {
    run: async (feeds) => outputsOf(await session.run(tensorsOf(Tensor, feeds))),
    release: () => session.release(),
  };
}

function tensorsOf(Tensor: typeof ort.Tensor, feeds: Feeds): Record<string, ort.Tensor> {
  const entries = Object.entries(feeds).map(([name, { dtype, data, shape }]) => {
    const tensor = new Tensor(dtype as "float32", data as Float32Array, shape);
    // On Node 24 it holds a Float16Array now, which onnxruntime-node does not read.
    if (dtype === "float16") Object.assign(tensor, { cpuData: data });
    return [name, tensor] as const;
  });
  return Object.fromEntries(entries);
}

/** All as float32, for comparisons. */
function outputsOf(tensors: Readonly<Record<string, ort.Tensor>>): Outputs {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, outputOf(tensor)]));
}

function outputOf({ dims, data }: ort.Tensor): Output {
  // Node 24 has an array of its own for float16, with the values; before there are the bits.
  const values = data instanceof Uint16Array ? decodeHalf(data) : Float32Array.from(data as never, Number);
  return { type: "float32", dims: [...dims], data: values };
}

const loaders: Readonly<Record<Runtime["kind"], (library: never) => Load>> = {
  ...{ node: inNode, web: inWeb, transformers: inTransformers },
};

const send = (message: Message) => new Promise<void>((resolve) => process.send!(message, () => resolve()));

async function ran(load: Load, run: Run): Promise<Outputs[]> {
  const model = await load(run);
  const outputs: Outputs[] = [];
  for (const feeds of run.feeds) outputs.push(await model.run(feeds));
  await model.release();
  return outputs;
}

async function runAll(load: Load, runs: readonly (readonly [number, Run])[]): Promise<void> {
  for (const [i, run] of runs) {
    await send({ starts: i });
    try {
      await send({ ends: i, outputs: await ran(load, run) });
    } catch (error) {
      await send({ ends: i, error: error instanceof Error ? error.message : String(error) });
    }
  }
}

const [kind, entry] = process.argv.slice(2) as [Runtime["kind"], string];
const { default: inner, ...outer } = await import(pathToFileURL(entry).href);
const load = loaders[kind]({ ...inner, ...outer } as never);
process.once("message", async (runs: readonly (readonly [number, Run])[]) => {
  await runAll(load, runs);
  process.exit(0);
});
