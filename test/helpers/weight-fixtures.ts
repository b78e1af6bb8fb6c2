import { expect } from "vitest";
import type { Axis } from "../../src/engine/tensors/granularity.ts";
import { type GraphParts, graph, model, node, value } from "./onnx-build.ts";
import { type TensorRest, tensor } from "./onnx-tensors.ts";
import { normals, normalsOf, randomOf } from "./random.ts";
import { type Feeds, type ModelSource, type Outputs, runtimes, type SessionOptions, withSession } from "./sessions.ts";

export type FloatType = "float32" | "float16" | "bfloat16";

export interface Weight {
  readonly shape: readonly number[];
  readonly type?: FloatType;
  /** Standard deviation of its values. */
  readonly size?: number;
  /** The axes with a scale for each slice: what suits the node; undefined where there is none, and one scale for all. */
  readonly channel?: Axis;
  /** The one axis that DequantizeLinear takes, where that is another. */
  readonly single?: number;
  /** The axis that blocks run along; undefined where it is none of the weight's own, so that channels are taken. */
  readonly block?: number;
  /** Blocks along that axis would hold a value or two each, so that channels are taken. */
  readonly short?: true;
  /** The index that spreads blocks in the form "cast" would be as long as the weight itself, so that channels are taken. */
  readonly oneRow?: true;
  /** The forms in which it would not get smaller. */
  readonly stays?: readonly FormName[];
}

export interface Opset {
  readonly opset: number;
  readonly ir: number;
}

/** Weights by name: tensors to be put where they belong, under that name or another. */
export type Weights = (name: string, as?: string, rest?: TensorRest) => Uint8Array;

export interface Fixture {
  readonly weights: Readonly<Record<string, Weight>>;
  readonly build: (weight: Weights, opset: Opset) => Uint8Array;
  readonly feeds: readonly Feeds[];
  /** How far outputs may be apart, over the largest: kernels that prepare constant weights add in another order. */
  readonly near?: number;
}

export const blockSize = 16;

export const old = { opset: 13, ir: 8 };

export type FormName =
  | "cast int8"
  | "cast uint8"
  | "cast int16"
  | "cast in blocks"
  | `qdq ${"per tensor" | "per channel" | "int4 in blocks"}`;

export function volume(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function given(dims: readonly number[], seed = 1): Feeds[string] {
  return { data: normalsOf(seed, volume(dims)), dims };
}

export function indices(dims: readonly number[], values: readonly number[]): Feeds[string] {
  return { data: BigInt64Array.from(values, BigInt), dims };
}

export const x32 = { x: given([2, 32]) };

export const yes = { data: Uint8Array.of(1), dims: [] };

export const no = { data: Uint8Array.of(0), dims: [] };

export function modelOf(
  { opset, ir }: Opset,
  parts: GraphParts,
  domains: Readonly<Record<string, number>> = {},
): Uint8Array {
  return model({ ir, opsets: { "": opset, ...domains }, graph: graph(parts) });
}

export const int64s = (name: string, values: readonly number[]) => tensor(name, "int64", [values.length], values);

export const matrix = { shape: [32, 24], channel: 1, block: 0 };

export const wide = { shape: [32, 96], channel: 1, block: 0 };

/** One op over x and a weight. */
export function single(
  weight: Weight,
  { op, x, attributes = {}, domain, left = false }: SingleOp,
  extra: Partial<GraphParts> = {},
): Fixture {
  return {
    weights: { W: weight },
    feeds: [{ x: given(x) }],
    build: (w, opset) =>
      modelOf(
        opset,
        {
          nodes: [node(op, left ? "W x" : "x W", "y", attributes, domain === undefined ? {} : { domain })],
          initializers: [w("W")],
          inputs: [value("x", `float32[${x}]`)],
          outputs: [value("y", "float32")],
          ...extra,
        },
        domain === undefined ? {} : { [domain]: 1 },
      ),
  };
}

export interface SingleOp {
  readonly op: string;
  readonly x: readonly number[];
  readonly attributes?: Parameters<typeof node>[3];
  readonly domain?: string;
  /** The weight is the first input. */
  readonly left?: boolean;
}

export const branch = (name: string, parts: Omit<GraphParts, "outputs">) =>
  graph({ name, ...parts, outputs: [value(`${name}_y`, "float32")] });

export function loopBody(nodes: readonly Uint8Array[], initializers: readonly Uint8Array[] = []): Uint8Array {
  return graph({
    name: "body",
    nodes: [node("Identity", "go", "on"), ...nodes],
    initializers,
    inputs: [value("trip", "int64[]"), value("go", "bool[]"), value("s0", "float32[2,32]")],
    outputs: [value("on", "bool[]"), value("s1", "float32[2,32]")],
  });
}

export const table = { shape: [48, 32], channel: 0, single: 1, block: 1 };

export const oneRow: Weight = {
  ...{ shape: [1, 768], channel: 0, single: 1, block: 1 },
  oneRow: true,
  stays: ["qdq per channel"],
};

export const across = { shape: [48, 32], channel: 1, single: 0, block: 0 };

export interface Beside {
  readonly before: readonly Uint8Array[];
  readonly nodes: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly constants: readonly Uint8Array[];
  readonly data: string;
}

export const scalar = indices([], [5]);

export const list = indices([4], [0, 31, -1, 7]);

export const grid = indices([2, 3], [1, 2, 3, -4, 30, 0]);

export const logits = [value("z", "float32")];

export const bias = (name: string, size: number) => tensor(name, "float32", [size], normals(randomOf(9), size));

export type Runtime = keyof typeof runtimes;

export const runtimeNames = Object.keys(runtimes) as Runtime[];

/** As the file has it: no optimization folds or fuses a node. */
export const plain = { optimization: "disabled" } as const;

export function outputsOf(
  runtime: Runtime,
  source: ModelSource,
  feeds: readonly Feeds[],
  options: SessionOptions = {},
): Promise<Outputs[]> {
  return withSession(runtimes[runtime](source, options), async (session) => {
    const outputs: Outputs[] = [];
    for (const each of feeds) outputs.push(await session.run(each));
    return outputs;
  });
}

/** The furthest that a number is from what it should be, over the largest there is; names, types and shapes alike. */
export function distance(got: readonly Outputs[], want: readonly Outputs[]): number {
  const each = want.flatMap((outputs, i) =>
    Object.entries(outputs).map(([name, { type, dims, data }]) => {
      const other = got[i]![name]!;
      expect({ name, type: other.type, dims: other.dims }).toEqual({ name, type, dims });
      const [a, b] = [data as Float32Array, other.data as Float32Array];
      const largest = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const furthest = a.reduce((most, x, k) => Math.max(most, Math.abs(x - b[k]!)), 0);
      if (largest === 0) return furthest;
      return furthest / largest;
    }),
  );
  return Math.max(...each);
}
