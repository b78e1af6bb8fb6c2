import { expect } from "vitest";
import { createEngine } from "../../src/engine/engine.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { quantizeOnnx } from "../../src/onnx/quantize-onnx.ts";
import type { ModelReport } from "../../src/pipeline/model-report.ts";
import { compareOutputs, runAll } from "./model-feeds.ts";
import { graph, model } from "./onnx-build.ts";
import { graphIn, payloads, type ReadGraph, readGraph } from "./onnx-read.ts";
import { type Feeds, type Outputs, runtimes, withSession } from "./sessions.ts";

// Models in half precision: how they are made in tests, what is in them, and whether they run.

export interface HalfWishes {
  readonly dtype?: "float16" | "bfloat16";
  readonly io?: "float32" | "float16" | "bfloat16";
  readonly clamp?: boolean;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly opTypes?: readonly string[];
  readonly opset?: number;
}

export interface Halved {
  readonly bytes: Uint8Array;
  readonly report: ModelReport;
  readonly graph: ReadGraph;
  /** Nodes as `Op(inputs)>outputs`, in their order. */
  readonly lines: readonly string[];
  /** Types of initializers by name. */
  readonly types: Readonly<Record<string, string>>;
}

const engine = createEngine();

export async function halved(bytes: Uint8Array, wishes: HalfWishes = {}): Promise<Halved> {
  const sink = bytesSink();
  const plan = { kind: "half", dtype: "float16", io: "float32", clamp: false, ...wishes } as const;
  const [report] = await quantizeOnnx(await engine, bytesSource(bytes, "m.onnx"), [{ sink: () => sink, plan }], {
    nonFinite: "error",
    allowUnchanged: true,
  });
  return described(sink.result(), report as ModelReport);
}

/** In 4 bits, with the rest of the graph as it was and in float16. */
export async function quarteredHalved(
  bytes: Uint8Array,
  opTypes: readonly string[],
): Promise<{ readonly plain: Uint8Array; readonly half: Halved }> {
  const form = {
    usual: ["MatMul"],
    bits: 4,
    blockSize: 32,
    scheme: "symmetric",
    algorithm: "rtn",
    accuracyLevel: 0,
  } as const;
  const nbits = { kind: "nbits", ...form, opTypes } as const;
  const half = { dtype: "float16", io: "float32", clamp: false } as const;
  const sinks = [bytesSink(), bytesSink()] as const;
  const wanted = [
    { sink: () => sinks[0], plan: nbits },
    { sink: () => sinks[1], plan: { ...nbits, scaleDtype: "float16", next: { kind: "half", ...half } } as const },
  ] as const;
  const source = bytesSource(bytes, "m.onnx");
  const how = { nonFinite: "error", allowUnchanged: true } as const;
  const [, report] = await quantizeOnnx(await engine, source, wanted, how);
  return { plain: sinks[0].result(), half: described(sinks[1].result(), report as ModelReport) };
}

const typeNames: Readonly<Record<number, string>> = { 1: "float32", 10: "float16", 16: "bfloat16", 7: "int64" };

function described(bytes: Uint8Array, report: ModelReport): Halved {
  const graph = readGraph(graphIn(bytes));
  const types = graph.initializers.map(({ name, typeCode }) => [name, typeNames[typeCode] ?? String(typeCode)]);
  return { bytes, report, graph, lines: linesOf(graph), types: Object.fromEntries(types) };
}

export function linesOf({ nodes }: ReadGraph): string[] {
  return nodes.map(({ op, inputs, outputs }) => `${op}(${inputs.join()})>${outputs.join()}`);
}

/** The graph that an attribute of a node holds. */
export function graphWithin({ nodes }: ReadGraph, op: string, attribute: string): ReadGraph {
  const found = nodes.find((node) => node.op === op)!.attributes.get(attribute)!;
  return readGraph(payloads(found, 6)[0]!);
}

export interface Spec {
  readonly nodes: readonly Uint8Array[];
  readonly initializers?: readonly Uint8Array[];
  readonly inputs?: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly values?: readonly Uint8Array[];
}

export function modelOf(spec: Spec, opset = 17, rest: { ir?: number; functions?: Uint8Array[] } = {}): Uint8Array {
  const opsets = { "": opset, "com.microsoft": 1, ...(rest.functions && { own: 1 }) };
  return model({ ir: opset > 22 ? 11 : opset > 20 ? 10 : 8, opsets, graph: graph(spec), ...rest });
}

/** Runs both models in both runtimes: each output is as near as halves let it be. float16 outputs count as their values. */
export async function expectAlike(
  before: Uint8Array,
  after: Uint8Array,
  feeds: readonly Feeds[],
  least = 55,
): Promise<void> {
  for (const open of Object.values(runtimes)) {
    const [float, half] = await Promise.all(
      [before, after].map((bytes) => withSession(open(bytes), (session) => runAll(session, feeds))),
    );
    for (const [name, { sqnr }] of Object.entries(compareOutputs(widened(float!), widened(half!)))) {
      expect(sqnr, name).toBeGreaterThan(least);
    }
  }
}

function widened(runs: readonly Outputs[]): Outputs[] {
  return runs.map((outputs) =>
    Object.fromEntries(
      Object.entries(outputs).map(([name, { type, dims, data }]) => {
        const values = Float32Array.from(data as Float32Array, Number);
        return [name, { type: type === "float16" ? "float32" : type, dims, data: values }];
      }),
    ),
  );
}
