import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeTypes } from "../../src/dtypes.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { Axis } from "../../src/engine/tensors/granularity.ts";
import type { QuantizeOptions } from "../../src/engine/tensors/quantize-options.ts";
import { bytesOf, type FloatTensor } from "../../src/engine/tensors/tensor.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import {
  attribute,
  elementBytes,
  functionOf,
  type GraphParts,
  graph,
  graphIn,
  graphsIn,
  integers,
  model,
  node,
  payloads,
  readGraph,
  type TensorRest,
  tensor,
  texts,
  unknownFields,
  value,
} from "../helpers/onnx-build.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, normalsOf, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import {
  type Feeds,
  halvesOf,
  type ModelSource,
  type Outputs,
  runtimes,
  type SessionOptions,
  withSession,
} from "../helpers/sessions.ts";

// Models of a few nodes, in each form: the codes are those that the engine gives along the axis that suits the node, and
// what the model gives is what it gave with the values that these codes stand for, in both of ONNX Runtime's builds.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

type FloatType = "float32" | "float16" | "bfloat16";

interface Weight {
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

interface Opset {
  readonly opset: number;
  readonly ir: number;
}

/** Weights by name: tensors to be put where they belong, under that name or another. */
type Weights = (name: string, as?: string, rest?: TensorRest) => Uint8Array;

interface Fixture {
  readonly weights: Readonly<Record<string, Weight>>;
  readonly build: (weight: Weights, opset: Opset) => Uint8Array;
  readonly feeds: readonly Feeds[];
  /** How far outputs may be apart, over the largest: kernels that prepare constant weights add in another order. */
  readonly near?: number;
}

interface Form extends Opset {
  readonly options: QuantizeModelOptions;
  readonly how: (weight: Weight) => QuantizeOptions;
}

const blockSize = 16;
const old = { opset: 13, ir: 8 };
const new21 = { opset: 21, ir: 10 };

function blocksOf({ block, channel, short }: Weight): QuantizeOptions {
  return short || block === undefined ? { axis: channel } : { axis: block, blockSize };
}

const forms = {
  "cast int8": {
    ...old,
    options: { format: "cast" },
    how: ({ channel }) => ({ dtype: "int8", axis: channel }),
  },
  "cast uint8": {
    ...old,
    options: { format: "cast", dtype: "uint8" },
    how: ({ channel }) => ({ dtype: "uint8", scheme: "asymmetric", axis: channel }),
  },
  "cast int16": {
    ...old,
    options: { format: "cast", dtype: "int16" },
    how: ({ channel }) => ({ dtype: "int16", axis: channel }),
  },
  "cast in blocks": {
    ...old,
    options: { format: "cast", dtype: "uint8", blockSize },
    how: (weight) => ({
      dtype: "uint8",
      scheme: "asymmetric",
      ...(weight.oneRow ? { axis: weight.channel } : blocksOf(weight)),
    }),
  },
  "qdq per tensor": {
    ...old,
    options: { format: "qdq", perChannel: false },
    how: () => ({ dtype: "int8" }),
  },
  "qdq per channel": {
    ...old,
    options: { format: "qdq", dtype: "uint8" },
    how: ({ channel, single = lastOf(channel) }) => ({ dtype: "uint8", scheme: "asymmetric", axis: single }),
  },
  "qdq int4 in blocks": {
    ...new21,
    options: { format: "qdq", dtype: "int4", blockSize },
    how: (weight) => ({ dtype: "int4", ...blocksOf(weight) }),
  },
} satisfies Record<string, Form>;

type FormName =
  | "cast int8"
  | "cast uint8"
  | "cast int16"
  | "cast in blocks"
  | `qdq ${"per tensor" | "per channel" | "int4 in blocks"}`;
const formNames = Object.keys(forms) as FormName[];

function lastOf(axis: Axis | undefined): number | undefined {
  return typeof axis === "object" ? axis[1] : axis;
}

function volume(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Values as a file holds them: half floats as their bits. */
function floatTensor({ shape, type = "float32", size = 0.5 }: Weight, seed: number): FloatTensor {
  const data = normalsOf(seed, volume(shape), size);
  if (type === "float32") return { shape, data };
  if (type === "float16") return { shape, dtype: type, data: halvesOf(data) };
  return { shape, dtype: type, data: Uint16Array.from(new Uint32Array(data.buffer), (bits) => bits >>> 16) };
}

function given(dims: readonly number[], seed = 1): Feeds[string] {
  return { data: normalsOf(seed, volume(dims)), dims };
}

function indices(dims: readonly number[], values: readonly number[]): Feeds[string] {
  return { data: BigInt64Array.from(values, BigInt), dims };
}

const x32 = { x: given([2, 32]) };
const yes = { data: Uint8Array.of(1), dims: [] };
const no = { data: Uint8Array.of(0), dims: [] };

function modelOf({ opset, ir }: Opset, parts: GraphParts, domains: Readonly<Record<string, number>> = {}): Uint8Array {
  return model({ ir, opsets: { "": opset, ...domains }, graph: graph(parts) });
}

const int64s = (name: string, values: readonly number[]) => tensor(name, "int64", [values.length], values);
const matrix = { shape: [32, 24], channel: 1, block: 0 };
const wide = { shape: [32, 96], channel: 1, block: 0 };

/** One op over x and a weight. */
function single(
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

interface SingleOp {
  readonly op: string;
  readonly x: readonly number[];
  readonly attributes?: Parameters<typeof node>[3];
  readonly domain?: string;
  /** The weight is the first input. */
  readonly left?: boolean;
}

const branch = (name: string, parts: Omit<GraphParts, "outputs">) =>
  graph({ name, ...parts, outputs: [value(`${name}_y`, "float32")] });

const inGraphs: Readonly<Record<string, Fixture>> = {
  "in the branches of If": {
    weights: { W1: matrix, W2: matrix },
    feeds: [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "y", {
            then_branch: {
              graph: branch("then", { nodes: [node("MatMul", "x W1", "then_y")], initializers: [w("W1")] }),
            },
            else_branch: {
              graph: branch("else", { nodes: [node("MatMul", "x W2", "else_y")], initializers: [w("W2")] }),
            },
          }),
        ],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "outside, used in the branches of If and outside": {
    weights: { W: matrix },
    feeds: [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "z", {
            then_branch: { graph: branch("then", { nodes: [node("MatMul", "x W", "then_y")] }) },
            else_branch: {
              graph: branch("else", { nodes: [node("Neg", "x", "n"), node("MatMul", "n W", "else_y")] }),
            },
          }),
          node("MatMul", "x W", "t"),
          node("Add", "t z", "y"),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "in If, the names of whose codes are taken outside": {
    weights: { W: matrix, V: matrix },
    feeds: [{ ...x32, flag: yes }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("If", "flag", "z", {
            then_branch: {
              graph: branch("then", { nodes: [node("MatMul", "x V", "then_y")], initializers: [w("V")] }),
            },
            else_branch: { graph: branch("else", { nodes: [node("MatMul", "x W", "else_y")] }) },
          }),
          node("MatMul", "x W", "V_quantized"),
          node("Add", "V_quantized z", "y"),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,24]")],
      }),
  },
  "in the body of Loop": loop(true, false),
  "outside, used in the body of Loop": loop(false, false),
  "a Constant node in the body of Loop": loop(true, true),
  "a Constant node outside, used in the body of Loop": loop(false, true),
  "in If in Loop": {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Loop", "trips - x", "y", {
            body: {
              graph: loopBody([
                node("If", "go", "s1", {
                  then_branch: {
                    graph: branch("then", { nodes: [node("MatMul", "s0 W", "then_y")], initializers: [w("W")] }),
                  },
                  else_branch: { graph: branch("else", { nodes: [node("Identity", "s0", "else_y")] }) },
                }),
              ]),
            },
          }),
        ],
        initializers: [tensor("trips", "int64", [], [3])],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
  "in the body of Scan": {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 }, V: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [{ s: given([2, 32]), xs: given([5, 2, 32], 2) }],
    build: (w, opset) => {
      const body = graph({
        name: "body",
        nodes: [
          node("MatMul", "s0 W", "a"),
          node("MatMul", "x0 V", "b"),
          node("Add", "a b", "c"),
          node("Tanh", "c", "s1"),
          node("Identity", "s1", "y1"),
        ],
        initializers: [w("W")],
        inputs: [value("s0", "float32[2,32]"), value("x0", "float32[2,32]")],
        outputs: [value("s1", "float32[2,32]"), value("y1", "float32[2,32]")],
      });
      return modelOf(opset, {
        nodes: [node("Scan", "s xs", "y ys", { body: { graph: body }, num_scan_inputs: 1 })],
        initializers: [w("V")],
        inputs: [value("s", "float32[2,32]"), value("xs", "float32[5,2,32]")],
        outputs: [value("y", "float32[2,32]"), value("ys", "float32[5,2,32]")],
      });
    },
  },
  "a table outside, looked up in Loop": {
    weights: { T: { shape: [48, 32], channel: 0, single: 1, block: 1 } },
    feeds: [{ ...x32, i: indices([2], [3, -1]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Loop", "trips - x", "y", {
            body: { graph: loopBody([node("Gather", "T i", "row"), node("Add", "s0 row", "s1")]) },
          }),
        ],
        initializers: [tensor("trips", "int64", [], [3]), w("T")],
        inputs: [value("x", "float32[2,32]"), value("i", "int64[2]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
  "a Constant node": {
    weights: { W: matrix, V: { shape: [24, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Constant", "", "W", { value: { tensor: w("W", "another name") } }),
          node("MatMul", "x W", "t"),
          node("Constant", "", "V", { value: { tensor: w("V", "") } }),
          node("MatMul", "t V", "y"),
        ],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
  },
};

/** Three trips of a MatMul over what the one before gave. */
function loop(inside: boolean, constant: boolean): Fixture {
  return {
    weights: { W: { shape: [32, 32], channel: 1, block: 0 } },
    feeds: [x32],
    build: (w, opset) => {
      const nodes = constant ? [node("Constant", "", "W", { value: { tensor: w("W") } })] : [];
      const initializers = constant ? [] : [w("W")];
      const steps = [node("MatMul", "s0 W", "t"), node("Tanh", "t", "s1")];
      const body = inside ? loopBody([...nodes, ...steps], initializers) : loopBody(steps);
      return modelOf(opset, {
        nodes: [...(inside ? [] : nodes), node("Loop", "trips - x", "y", { body: { graph: body } })],
        initializers: [tensor("trips", "int64", [], [3]), ...(inside ? [] : initializers)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      });
    },
  };
}

function loopBody(nodes: readonly Uint8Array[], initializers: readonly Uint8Array[] = []): Uint8Array {
  return graph({
    name: "body",
    nodes: [node("Identity", "go", "on"), ...nodes],
    initializers,
    inputs: [value("trip", "int64[]"), value("go", "bool[]"), value("s0", "float32[2,32]")],
    outputs: [value("on", "bool[]"), value("s1", "float32[2,32]")],
  });
}

/** A MatMul with [32, 24] at the end of a chain of views from W. */
function viewed(weight: Weight, nodes: readonly Uint8Array[], constants: readonly Uint8Array[] = []): Fixture {
  return {
    weights: { W: weight },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [...nodes, node("MatMul", "x V", "y")],
        initializers: [w("W"), ...constants],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
  };
}

const views: Readonly<Record<string, Fixture>> = {
  Transpose: viewed({ shape: [24, 32], channel: 0, block: 1 }, [node("Transpose", "W", "V", { perm: [1, 0] })]),
  // ONNX Runtime ends the process over one behind a DequantizeLinear with an axis: its order is said then.
  "Transpose that says no order": viewed({ shape: [24, 32], channel: 0, block: 1 }, [node("Transpose", "W", "V")]),
  Identity: viewed(matrix, [node("Identity", "W", "I"), node("Identity", "I", "V")]),
  "Cast from float16": viewed({ ...wide, type: "float16", stays: ["cast int16"] }, [node("Cast", "W", "V", { to: 1 })]),
  "Cast from bfloat16": viewed({ ...wide, type: "bfloat16", stays: ["cast int16"] }, [
    node("Cast", "W", "V", { to: 1 }),
  ]),
  "Reshape that joins what is summed over": viewed(
    { shape: [4, 8, 24], channel: 2 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Reshape that joins channels": viewed(
    { shape: [32, 4, 6], channel: [1, 2], block: 0 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Reshape that parts channels": {
    // A part of an axis is no axis: one scale for all.
    weights: { W: { shape: [32, 24], block: 0 } },
    feeds: [{ x: given([4, 2, 32]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Reshape", "W s", "R"),
          node("Transpose", "R", "V", { perm: [1, 0, 2] }),
          node("MatMul", "x V", "y"),
        ],
        initializers: [w("W"), int64s("s", [32, 4, 6])],
        inputs: [value("x", "float32[4,2,32]")],
        outputs: [value("y", "float32")],
      }),
  },
  "Reshape with 0 and -1": viewed(
    { shape: [32, 4, 6], channel: [1, 2], block: 0 },
    [node("Reshape", "W s", "V")],
    [int64s("s", [0, -1])],
  ),
  "Reshape to a shape from a Constant node": viewed({ shape: [4, 8, 24], channel: 2 }, [
    node("Constant", "", "s", { value: { tensor: int64s("", [-1, 24]) } }),
    node("Reshape", "W s", "V"),
  ]),
  Squeeze: viewed(
    { shape: [1, 32, 1, 24], channel: 3, block: 1 },
    [node("Squeeze", "W a", "V")],
    [int64s("a", [0, -2])],
  ),
  "Squeeze of all that can be": viewed({ shape: [1, 32, 24, 1], channel: 2, block: 1 }, [node("Squeeze", "W", "V")]),
  Unsqueeze: viewed(matrix, [node("Unsqueeze", "W a", "V")], [int64s("a", [0])]),
  "Unsqueeze from the end": viewed(matrix, [node("Unsqueeze", "W a", "V")], [int64s("a", [-3, -4])]),
  Flatten: viewed({ shape: [32, 4, 6], channel: [1, 2], block: 0 }, [node("Flatten", "W", "V")]),
  "Flatten from the end": viewed({ shape: [4, 8, 24], channel: 2 }, [node("Flatten", "W", "V", { axis: -1 })]),
  "a chain of them": viewed(
    { shape: [24, 4, 8], channel: 0 },
    [
      node("Reshape", "W s", "v1"),
      node("Transpose", "v1", "v2", { perm: [1, 0] }),
      node("Unsqueeze", "v2 a", "v3"),
      node("Identity", "v3", "v4"),
      node("Squeeze", "v4 a", "v5"),
      node("Flatten", "v5", "V"),
    ],
    [int64s("s", [24, 32]), int64s("a", [1])],
  ),
  "Transpose and Reshape that leave nothing of the channels": viewed(
    { shape: [8, 32, 3], block: 1 },
    [node("Transpose", "W", "v1", { perm: [1, 0, 2] }), node("Reshape", "v1 s", "V")],
    [int64s("s", [32, 24])],
  ),
  "Transpose of an HWIO kernel for Conv": {
    weights: { W: { shape: [3, 3, 8, 16], channel: 3, block: 2 } },
    feeds: [{ x: given([1, 8, 6, 6]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Transpose", "W", "V", { perm: [3, 2, 0, 1] }), node("Conv", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[1,8,6,6]")],
        outputs: [value("y", "float32")],
      }),
  },
  "a view outside, used in If": {
    weights: { W: { shape: [24, 32], channel: 0, block: 1 } },
    feeds: [{ ...x32, flag: yes }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Transpose", "W", "V", { perm: [1, 0] }),
          node("If", "flag", "y", {
            then_branch: { graph: branch("then", { nodes: [node("MatMul", "x V", "then_y")] }) },
            else_branch: {
              graph: branch("else", {
                nodes: [node("Identity", "V", "else_v"), node("Gemm", "x else_v", "else_y")],
              }),
            },
          }),
        ],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32")],
      }),
  },
};

const table = { shape: [48, 32], channel: 0, single: 1, block: 1 };
const oneRow: Weight = {
  ...{ shape: [1, 768], channel: 0, single: 1, block: 1 },
  oneRow: true,
  stays: ["qdq per channel"],
};
const across = { shape: [48, 32], channel: 1, single: 0, block: 0 };

/** A table that Gather looks things up in, and what else uses it. */
function lookup(
  weight: Weight,
  axis: number | undefined,
  feeds: readonly Feeds[string][],
  { nodes = [], before = [], outputs = [], data = "T", constants = [] }: Partial<Beside> = {},
): Fixture {
  const fed = Object.fromEntries(feeds.map((feed, i) => [`i${i}`, feed]));
  const more = nodes.length + before.length > 0;
  return {
    weights: { T: weight },
    feeds: [{ ...fed, ...(more && { x: given([2, 32]) }) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          ...before,
          ...feeds.map((_, i) => node("Gather", `${data} i${i}`, `y${i}`, axis === undefined ? {} : { axis })),
          ...nodes,
        ],
        initializers: [w("T"), ...constants],
        inputs: [
          ...feeds.map(({ dims }, i) => value(`i${i}`, `int64[${dims}]`)),
          ...(more ? [value("x", "float32[2,32]")] : []),
        ],
        outputs: [...feeds.map((_, i) => value(`y${i}`, weight.type ?? "float32")), ...outputs],
      }),
  };
}

interface Beside {
  readonly before: readonly Uint8Array[];
  readonly nodes: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly constants: readonly Uint8Array[];
  readonly data: string;
}

const scalar = indices([], [5]);
const list = indices([4], [0, 31, -1, 7]);
const grid = indices([2, 3], [1, 2, 3, -4, 30, 0]);

const logits = [value("z", "float32")];

const tables: Readonly<Record<string, Fixture>> = {
  "one row": lookup(table, undefined, [scalar]),
  "some rows": lookup(table, 0, [list]),
  "a grid of rows": lookup(table, -2, [grid]),
  "one column": lookup(across, 1, [scalar]),
  "some columns": lookup(across, -1, [list]),
  "a grid of columns": lookup(across, 1, [grid]),
  "the one row there is": lookup(oneRow, 0, [indices([], [0])]),
  "the one row there is, again and again": lookup(oneRow, 0, [indices([2, 2], [0, -1, 0, 0])]),
  "slices in the middle": lookup({ shape: [6, 40, 8], channel: 1, single: 2, block: 2 }, 1, [list]),
  "a slice in the middle": lookup({ shape: [6, 40, 8], channel: 1, single: 2, block: 2 }, -2, [scalar]),
  "slices of three dimensions": lookup({ shape: [40, 6, 8], channel: 0, single: 2, block: 2 }, 0, [grid]),
  "rows and a row of one table": lookup(table, 0, [grid, scalar]),
  "of float16": lookup({ ...table, type: "float16", stays: ["cast int16"] }, 0, [grid]),
  "through Identity": lookup({ ...table, single: 0 }, 0, [list], { data: "V", before: [node("Identity", "T", "V")] }),
  "and given out as it is": lookup(table, 0, [list], { outputs: [value("T", "float32[48,32]")] }),
  "tied to a MatMul through Transpose": lookup(table, 0, [grid], {
    nodes: [node("Transpose", "T", "Tt", { perm: [1, 0] }), node("MatMul", "x Tt", "z")],
    outputs: logits,
  }),
  "tied to a Gemm": lookup(table, 0, [grid], { nodes: [node("Gemm", "x T", "z", { transB: 1 })], outputs: logits }),
  "tied to a MatMul before it": lookup({ ...table, single: 0 }, 0, [list, scalar], {
    before: [node("Transpose", "T", "Tt", { perm: [1, 0] }), node("MatMul", "x Tt", "z")],
    outputs: logits,
  }),
  "tied to a MatMul along the other axis, before it": lookup(
    { shape: [32, 48], channel: 1, single: 1, block: 0 },
    0,
    [list],
    { before: [node("MatMul", "x T", "z")], outputs: logits },
  ),
  "by rows and by columns": lookup(table, 0, [list], {
    nodes: [node("Gather", "T c", "z", { axis: 1 })],
    constants: [tensor("c", "int64", [2, 2], [0, 31, -32, 5])],
    outputs: logits,
  }),
};

const bias = (name: string, size: number) => tensor(name, "float32", [size], normals(randomOf(9), size));

const ops: Readonly<Record<string, Fixture>> = {
  "Gemm with everything": single(
    { ...matrix, shape: [24, 32], channel: 0, block: 1 },
    {
      op: "Gemm",
      x: [32, 2],
      attributes: { transA: 1, transB: 1, alpha: { float: 0.5 } },
    },
  ),
  "Gemm with a constant A": single({ shape: [24, 32], channel: 0, block: 1 }, { op: "Gemm", x: [32, 2], left: true }),
  "Gemm with a constant A, transposed": single(matrix, {
    op: "Gemm",
    x: [32, 2],
    left: true,
    attributes: { transA: 1 },
  }),
  "Gemm with a bias": {
    weights: { W: matrix },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Gemm", "x W b", "y", { beta: { float: 2 } })],
        initializers: [w("W"), bias("b", 24)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
  },
  "MatMul from the left": single({ shape: [24, 32], channel: 0, block: 1 }, { op: "MatMul", x: [32, 2], left: true }),
  "MatMul in batches": single({ shape: [3, 32, 24], channel: 2, block: 1 }, { op: "MatMul", x: [3, 2, 32] }),
  "MatMul in batches from the left": single(
    { shape: [3, 24, 32], channel: 1, block: 2 },
    { op: "MatMul", x: [3, 32, 2], left: true },
  ),
  "MatMul by a vector": single({ shape: [512], block: 0, oneRow: true }, { op: "MatMul", x: [2, 512] }),
  "MatMul by a vector from the left": single(
    { shape: [512], block: 0, oneRow: true },
    { op: "MatMul", x: [512, 2], left: true },
  ),
  "blocks with a tail": single({ shape: [40, 24], channel: 1, block: 0 }, { op: "MatMul", x: [2, 40] }),
  "blocks longer than their axis": single({ shape: [8, 96], channel: 1, block: 0 }, { op: "MatMul", x: [2, 8] }),
  "all zeros": single({ ...matrix, size: 0 }, { op: "MatMul", x: [2, 32] }),
  "Conv over one dimension": single({ shape: [32, 8, 5], channel: 0, block: 1 }, { op: "Conv", x: [1, 8, 9] }),
  Conv: single({ shape: [16, 8, 3, 3], channel: 0, block: 1 }, { op: "Conv", x: [1, 8, 6, 6] }),
  "Conv over three dimensions": single(
    { shape: [16, 4, 3, 3, 3], channel: 0, block: 1 },
    { op: "Conv", x: [1, 4, 5, 5, 5] },
  ),
  "Conv in groups": single(
    { shape: [16, 8, 3, 3], channel: 0, block: 1 },
    { op: "Conv", x: [1, 16, 6, 6], attributes: { group: 2 } },
  ),
  "depthwise Conv": single(
    { shape: [48, 1, 5, 5], channel: 0, block: 1, short: true },
    { op: "Conv", x: [1, 48, 7, 7], attributes: { group: 48 } },
  ),
  ConvTranspose: single({ shape: [8, 16, 3, 3], channel: 1, block: 0 }, { op: "ConvTranspose", x: [1, 8, 5, 5] }),
  "ConvTranspose in groups": single(
    { shape: [16, 8, 3, 3], channel: 1, block: 0 },
    { op: "ConvTranspose", x: [1, 16, 5, 5], attributes: { group: 4, strides: [2, 2] } },
  ),
  "Einsum with the weight second": single(matrix, {
    op: "Einsum",
    x: [3, 2, 32],
    attributes: { equation: "bik,kj->bij" },
  }),
  "Einsum with the weight first": single(
    { shape: [24, 32], channel: 0, block: 1 },
    {
      op: "Einsum",
      x: [3, 2, 32],
      left: true,
      attributes: { equation: "jk, bik -> bij" },
    },
  ),
  "Einsum with heads": single(
    { shape: [32, 4, 6], channel: 2, block: 0 },
    {
      op: "Einsum",
      x: [3, 2, 32],
      attributes: { equation: "bik,khd->bihd" },
    },
  ),
  "Einsum that leaves its result unsaid": single(
    { shape: [32, 24], block: 1 },
    {
      op: "Einsum",
      x: [2, 32],
      attributes: { equation: "ij,jk" },
    },
  ),
  "bidirectional LSTM": recurrent("LSTM", 4, 8, "bidirectional"),
  LSTM: recurrent("LSTM", 4, 12, "forward"),
  "bidirectional GRU": recurrent("GRU", 3, 8, "bidirectional"),
  "reverse GRU": recurrent("GRU", 3, 16, "reverse"),
  "bidirectional RNN": recurrent("RNN", 1, 16, "bidirectional"),
  "FusedMatMul of com.microsoft": single(
    { shape: [24, 32], channel: 0, block: 1 },
    {
      op: "FusedMatMul",
      x: [2, 32],
      attributes: { transB: 1 },
      domain: "com.microsoft",
    },
  ),
  "Attention of com.microsoft": {
    weights: { W: { shape: [32, 96], channel: 1, block: 0 } },
    feeds: [{ x: given([2, 5, 32]) }],
    build: (w, opset) =>
      modelOf(
        opset,
        {
          nodes: [node("Attention", "x W b", "y", { num_heads: 4 }, { domain: "com.microsoft" })],
          initializers: [w("W"), bias("b", 96)],
          inputs: [value("x", "float32[2,5,32]")],
          outputs: [value("y", "float32")],
        },
        { "com.microsoft": 1 },
      ),
  },
  "given out as it is": single(
    matrix,
    { op: "MatMul", x: [2, 32] },
    {
      outputs: [value("y", "float32"), value("W", "float32[32,24]")],
    },
  ),
  "of float16": {
    weights: { W: { ...wide, type: "float16", stays: ["cast int16"] } },
    feeds: [x32],
    near: 2e-3,
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("MatMul", "x W", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float16[2,32]")],
        outputs: [value("y", "float16"), value("W", "float16[32,96]")],
      }),
  },
  "of float16, subnormal": {
    weights: { W: { ...wide, type: "float16", size: 1e-6, stays: ["cast int16"] } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Cast", "W", "V", { to: 1 }), node("MatMul", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32"), value("W", "float16[32,96]")],
      }),
  },
  "of bfloat16, tiny": {
    weights: { W: { ...wide, type: "bfloat16", size: 1e-30, stays: ["cast int16"] } },
    feeds: [x32],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node("Cast", "W", "V", { to: 1 }), node("MatMul", "x V", "y")],
        initializers: [w("W")],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32"), value("V", "float32")],
      }),
  },
  "beside names that would be taken": {
    weights: { W: matrix },
    feeds: [{ ...x32, W_quantized_1: given([1]) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          node("Add", "x W_scale", "W_cast", {}, { name: "W_Cast_node" }),
          node("Relu", "W_cast", "W_zero_point", {}, { name: "W_Mul_node" }),
          node("MatMul", "W_zero_point W", "W_offset", {}, { name: "W_offset_node" }),
          node("Add", "W_offset W_quantized", "y", {}, { name: "W_DequantizeLinear_node" }),
        ],
        initializers: [bias("W_quantized", 24), bias("W_scale", 32), w("W"), bias("block_of_16_in_32", 1)],
        inputs: [value("x", "float32[2,32]"), value("W_quantized_1", "float32[1]")],
        outputs: [value("y", "float32")],
        values: [value("W_scale_1", "float32"), value("W_zero_point_1", "float32")],
      }),
  },
};

function recurrent(op: "LSTM" | "GRU" | "RNN", gates: number, hidden: number, direction: string): Fixture {
  const directions = direction === "bidirectional" ? 2 : 1;
  const layer = (inputs: number): Weight => ({
    shape: [directions, gates * hidden, inputs],
    channel: [0, 1],
    single: 1,
    block: 2,
  });
  return {
    weights: { W: layer(20), R: layer(hidden) },
    feeds: [{ x: given([5, 1, 20]) }],
    near: 1e-5,
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [node(op, "x W R B", "y", { hidden_size: hidden, direction })],
        initializers: [
          w("W"),
          w("R"),
          tensor("B", "float32", [directions, 2 * gates * hidden], new Float32Array(directions * 2 * gates * hidden)),
        ],
        inputs: [value("x", "float32[5,1,20]")],
        outputs: [value("y", "float32")],
      }),
  };
}

interface Made {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** The model with the values that the codes stand for. */
  readonly restored: Uint8Array;
}

/** Quantizes, and holds codes and scales against the engine's. */
async function make({ weights, build }: Fixture, name: FormName): Promise<Made> {
  const form: Form = forms[name];
  const originals = new Map(Object.entries(weights).map(([key, weight], i) => [key, floatTensor(weight, i + 1)]));
  const write = (values: ReadonlyMap<string, FloatTensor>) =>
    build(
      (key, as = key, rest = {}) => {
        const { shape, dtype = "float32", data } = values.get(key)!;
        return tensor(as, dtype, shape, elementBytes(dtype, data as Float32Array), rest);
      },
      { opset: form.opset, ir: form.ir },
    );
  const before = write(originals);
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(before, "model.onnx"), sink, {
    allowUnchanged: true,
    ...form.options,
  });
  const after = sink.result();

  const written = new Map(graphsIn(after).flatMap(({ initializers }) => initializers.map((each) => [each.name, each])));
  // Names of ours that are taken have a number behind.
  const named = (base: string) => written.get(`${base}_2`) ?? written.get(`${base}_1`) ?? written.get(base);
  const restored = new Map(originals);
  for (const [key, weight] of Object.entries(weights)) {
    const original = originals.get(key)!;
    const told = report.tensors.find((each) => each.name === key);
    if (weight.stays?.includes(name)) {
      expect(told, key).toMatchObject({ to: weight.type ?? "float32", reason: "would not get smaller" });
      continue;
    }
    const q = engine.quantize(original, form.how(weight));
    expect(told, key).toMatchObject({ to: q.dtype, from: weight.type ?? "float32" });
    expect(named(`${key}_scale`)?.raw, `scales of ${key}: ${named(`${key}_scale`)?.shape}`).toEqual(bytesOf(q.scale));
    expect(named(`${key}_quantized`)?.raw, `codes of ${key}`).toEqual(bytesOf(q.data));
    const zeroPoint = named(`${key}_zero_point`);
    if (codeTypes[q.dtype].signed) expect(zeroPoint).toBeUndefined();
    else expect(zeroPoint?.raw, `zero points of ${key}`).toEqual(bytesOf(Uint8Array.from(q.zeroPoint)));
    const dtype = weight.type ?? "float32";
    restored.set(key, { shape: weight.shape, dtype, data: engine.dequantize(q, { dtype }).data } as FloatTensor);
  }
  return { before, after, restored: write(restored) };
}

type Runtime = keyof typeof runtimes;
const runtimeNames = Object.keys(runtimes) as Runtime[];

/** As the file has it: no optimization folds or fuses a node. */
const plain = { optimization: "disabled" } as const;

function outputsOf(
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
function distance(got: readonly Outputs[], want: readonly Outputs[]): number {
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

const families = { "in graphs within graphs": inGraphs, "behind views": views, tables, ops };

describe.each(Object.entries(families))("weights: %s", (_, fixtures) => {
  describe.each(Object.entries(fixtures))("%s", (_, fixture) => {
    for (const form of formNames) {
      it(form, async () => {
        const { after, restored } = await make(fixture, form);
        const near = fixture.near ?? 0;
        for (const runtime of runtimeNames) {
          const want = await outputsOf(runtime, restored, fixture.feeds, plain);
          expect(distance(await outputsOf(runtime, after, fixture.feeds, plain), want), runtime).toBeLessThanOrEqual(
            near,
          );
          expect(distance(await outputsOf(runtime, after, fixture.feeds), want), runtime).toBeLessThan(near || 1e-4);
        }
      });
    }
  });
});

const quantized = quantizerOf(() => engine);

describe("a Gather takes codes, and what it took is restored", () => {
  const first = [
    "cast int8",
    "cast uint8",
    "cast int16",
    "cast in blocks",
    "qdq per tensor",
    "qdq per channel",
  ] as const;

  it.each(first)("%s", async (form) => {
    const { after } = await make(tables["a grid of rows"]!, form);
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T_quantized", "i0"]);
    expect(nodes.flatMap(({ outputs }) => outputs)).not.toContain("T");
  });

  it.each(first)("%s, and the whole for who wants the whole", async (form) => {
    const { after } = await make(tables["tied to a MatMul through Transpose"]!, form);
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T_quantized", "i0"]);
    expect(nodes.flatMap(({ outputs }) => outputs)).toContain("T");
  });

  it("but for 4-bit codes, which Gather does not take", async () => {
    const { after } = await make(tables["a grid of rows"]!, "qdq int4 in blocks");
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T", "i0"]);
  });

  it.each([
    ["a Transpose of it", node("Transpose", "T", "z", { perm: [1, 0] })],
    ["an Identity of it", node("Identity", "T", "z")],
    [
      "an Identity of it in both branches of If",
      node("If", "c", "z", {
        then_branch: { graph: branch("then", { nodes: [node("Identity", "T", "then_y")] }) },
        else_branch: { graph: branch("else", { nodes: [node("Identity", "T", "else_y")] }) },
      }),
    ],
  ])("where %s is given out beside", async (_, beside) => {
    const fixture = lookup(table, 0, [list], {
      nodes: [beside, node("Relu", "x", "r")],
      outputs: [value("z", "float32"), value("r", "float32")],
      constants: [tensor("c", "bool", [], [1])],
    });
    const { after, restored } = await make(fixture, "cast int8");
    const want = await outputsOf("node", restored, fixture.feeds, plain);
    expect(distance(await outputsOf("node", after, fixture.feeds, plain), want)).toBe(0);
  });
});

describe("left alone", () => {
  const cases: Readonly<Record<string, { reason: string | undefined; build: () => Uint8Array }>> = {
    "a weight without elements": {
      reason: "empty",
      build: () => withWeight([node("MatMul", "x W", "y")], tensor("W", "float32", [32, 0], [])),
    },
    "a table without rows": {
      reason: "empty",
      build: () => withWeight([node("Gather", "W x", "y")], tensor("W", "float32", [0, 32], [])),
    },
    "a scalar": {
      reason: "would not get smaller",
      build: () => withWeight([node("Einsum", "W x", "y", { equation: ",ij->ij" })], tensor("W", "float32", [], [0.5])),
    },
    "a weight so short that codes would not be shorter": {
      reason: "would not get smaller",
      build: () => withWeight([node("MatMul", "x W", "y")], tensor("W", "float32", [32, 1], normals(randomOf(1), 32))),
    },
    "a weight used by nobody": {
      reason: "used by no node",
      build: () => withWeight([node("Relu", "x", "y")], big()),
    },
    "a weight used by a view alone": {
      reason: "used behind Transpose, which cannot be followed",
      build: () => withWeight([node("Relu", "x", "y"), node("Transpose", "W", "v")], big()),
    },
    "a weight of an op of another domain": {
      reason: "used by com.example.Conv, not as a weight",
      build: () => withWeight([node("Conv", "x W", "y", {}, { domain: "com.example" })], big()),
    },
    "a weight of an op that is not known": {
      reason: "used by Fold, not as a weight",
      build: () => withWeight([node("Fold", "x W", "y")], big()),
    },
    "a weight behind a node that is no view": {
      reason: "used by Neg, not as a weight",
      build: () => withWeight([node("Neg", "W", "v"), node("MatMul", "x v", "y")], big()),
    },
    "a weight reshaped to a shape that is computed": {
      reason: "used behind Reshape, which cannot be followed",
      build: () =>
        withWeight([node("Shape", "x", "s"), node("Reshape", "W s", "v"), node("MatMul", "x v", "y")], big()),
    },
    "a matrix that is added": {
      reason: "used by Add, not as a weight",
      build: () => withWeight([node("Add", "x W", "y")], big()),
    },
    "indices of no float type": {
      reason: undefined,
      build: () => withWeight([node("Gather", "x W", "y")], tensor("W", "int64", [400], new Array(400).fill(1))),
    },
  };

  it.each(Object.entries(cases))("%s", async (_, { reason, build }) => {
    const before = build();
    const { bytes, report } = await quantized(before);
    expect(bytes).toEqual(before);
    expect(report.tensors.map((each) => each.reason)).toEqual(reason === undefined ? [] : [reason]);
  });

  it("other domains, where the weight is one of ours too", async () => {
    const before = withWeight(
      [node("MatMul", "x W", "t"), node("Odd", "t W", "y", {}, { domain: "com.example" })],
      big(),
    );
    const { bytes } = await quantized(before);
    const { nodes } = readGraph(graphIn(bytes));
    expect(nodes.map(({ op, outputs }) => `${op} ${outputs}`)).toEqual(["Cast W_cast", "Mul W", "MatMul t", "Odd y"]);
    expect(nodes[3]!.message).toEqual(readGraph(graphIn(before)).nodes[1]!.message);
  });

  function big(): Uint8Array {
    return tensor("W", "float32", [32, 24], normals(randomOf(1), 768));
  }

  function withWeight(nodes: readonly Uint8Array[], weight: Uint8Array): Uint8Array {
    return modelOf(
      old,
      { nodes, initializers: [weight], inputs: [value("x", "float32[2,32]")], outputs: [value("y", "float32")] },
      { "com.example": 1 },
    );
  }
});

describe("old and unusual models", () => {
  it("weights of one name in graphs that stand side by side", async () => {
    const body = (name: string, seed: number) =>
      branch(name, {
        nodes: [node("MatMul", "x W", `${name}_y`)],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(seed), 768))],
      });
    const before = modelOf(old, {
      nodes: [
        node("If", "flag", "y", { then_branch: { graph: body("then", 1) }, else_branch: { graph: body("else", 2) } }),
      ],
      inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
      outputs: [value("y", "float32")],
    });
    const feeds = [
      { ...x32, flag: yes },
      { ...x32, flag: no },
    ];
    for (const options of [{}, { format: "qdq" }, { blockSize: 16 }] as const) {
      const { bytes, report } = await quantized(before, options);
      expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([
        ["W", "int8"],
        ["W", "int8"],
      ]);
      for (const runtime of runtimeNames) {
        const want = await outputsOf(runtime, before, feeds);
        expect(distance(await outputsOf(runtime, bytes, feeds), want)).toBeLessThan(0.02);
      }
    }
  });

  const three = (ir: number) =>
    model({
      ir,
      opsets: { "": 8 },
      graph: graph({
        nodes: [node("Gemm", "x W b", "y")],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768)), bias("b", 24)],
        inputs: [value("x", "float32[2,32]"), value("W", "float32[32,24]"), value("b", "float32[24]")],
        outputs: [value("y", "float32[2,24]")],
      }),
    });

  const leaves = (initializers: string) =>
    `${initializers} listed among the graph's inputs, as old models do: no longer`;

  it("IR 3 becomes IR 4, and no initializer is left among the inputs", async () => {
    const { bytes, report } = await quantized(three(3));
    expect(integers(bytes, 1)).toEqual([4]);
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x"]);
    expect(remarksOf(report)).toEqual(expect.arrayContaining(["IR version 3 raised to 4", leaves("2 initializers")]));
    for (const runtime of runtimeNames) {
      const want = await outputsOf(runtime, three(3), [x32], plain);
      expect(distance(await outputsOf(runtime, bytes, [x32]), want)).toBeLessThan(0.02);
    }
  });

  it("a weight that is an input's default in a newer model leaves the inputs, too", async () => {
    const { bytes, report } = await quantized(three(8));
    expect(integers(bytes, 1)).toEqual([8]);
    // What stays may be set from IR 4 on, and callers may rely on that.
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x", "b"]);
    expect(remarksOf(report)).toContain(leaves("1 initializer"));
    expect(remarksOf(report).join("\n")).not.toMatch(/IR version/);
  });

  it("IR 3 with nothing to quantize stays as it is", async () => {
    expect((await quantized(three(3), { exclude: ["*"] })).bytes).toEqual(three(3));
  });

  it("int4 takes the IR version of opset 21 with it", async () => {
    const before = modelOf(
      { opset: 21, ir: 8 },
      {
        nodes: [node("MatMul", "x W", "y")],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      },
    );
    const { bytes, report } = await quantized(before, { format: "qdq", dtype: "int4", blockSize: 16 });
    expect(integers(bytes, 1)).toEqual([10]);
    expect(remarksOf(report)).toContain("IR version 8 raised to 10");
  });

  const fused = (opsets: Readonly<Record<string, number>>) =>
    model({
      ir: 8,
      opsets,
      graph: graph({
        nodes: [node("FusedMatMul", "x W", "y", {}, { domain: "com.microsoft" })],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
    });

  it("a model without ONNX's own ops takes an opset for those that restore its weights", async () => {
    const before = fused({ "com.microsoft": 1 });
    const { bytes } = await quantized(before);
    const opsets = payloads(bytes, 8).map((each) => [texts(each, 1)[0] ?? "", integers(each, 2)[0]]);
    expect(Object.fromEntries(opsets)).toEqual({ "com.microsoft": 1, "": 13 });
    for (const runtime of runtimeNames) {
      const want = await outputsOf(runtime, before, [x32]);
      expect(distance(await outputsOf(runtime, bytes, [x32]), want)).toBeLessThan(0.02);
    }
    expect((await quantized(before, { exclude: ["W"] })).bytes).toEqual(before);
  });

  it("a model whose opset is too old is raised, unless another was asked for", async () => {
    const before = fused({ "": 6, "com.microsoft": 1 });
    const { bytes, report } = await quantized(before);
    expect(remarksOf(report)).toContain(
      'opset 6 raised to 7, which Mul that broadcasts as numpy does (format "cast") needs',
    );
    expect(bytes.length).toBeLessThan(before.length);
    await expect(quantized(before, { opset: 6 })).rejects.toMatchObject({
      tag: "argument",
      argument: "opset",
      detail: '6 given; Mul that broadcasts as numpy does (format "cast") needs at least 7',
    });
    expect((await quantized(before, { exclude: ["W"] })).bytes).toEqual(before);
  });

  it("ai.onnx is another name of ONNX's own domain", async () => {
    const before = model({
      ir: 8,
      opsets: { "ai.onnx": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y", {}, { domain: "ai.onnx" })],
        initializers: [tensor("W", "float32", [32, 24], normals(randomOf(1), 768))],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(report.tensors).toMatchObject([{ to: "int8", ops: ["MatMul"] }]);
    for (const runtime of runtimeNames) await outputsOf(runtime, bytes, [x32]);
  });

  it("float16 subnormals keep their values: none becomes 0 whose code is not", async () => {
    const halves = Uint16Array.from({ length: 768 }, (_, i) => (i % 2) * 0x8000 + 1 + (i % 17));
    const before = modelOf(old, {
      nodes: [node("Gather", "W i", "y")],
      initializers: [tensor("W", "float16", [96, 8], halves)],
      inputs: [value("i", "int64[96]")],
      outputs: [value("y", "float16[96,8]")],
    });
    const { bytes } = await quantized(before, { dtype: "int8", perChannel: false });
    const all = { i: indices([96], [...Array(96).keys()]) };
    for (const runtime of runtimeNames) {
      for (const options of [plain, {}]) {
        const [want] = await outputsOf(runtime, before, [all], options);
        const [got] = await outputsOf(runtime, bytes, [all], options);
        // The scale is finer than the step of such values: all come back.
        expect(got!.y!.data).toEqual(want!.y!.data);
        expect((got!.y!.data as Float32Array).every((x) => x !== 0)).toBe(true);
      }
    }
  });
});

describe("weights in other files", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-external-"));
    await mkdir(join(folder, "in", "parts"), { recursive: true });
    await mkdir(join(folder, "out"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const w = normals(randomOf(1), 32 * 24);
  const t = normals(randomOf(2), 48 * 32);
  const b = normals(randomOf(3), 24);

  type Place = (
    name: string,
    type: "float32",
    shape: readonly number[],
    data: Float32Array,
    entries: Record<string, string>,
  ) => Uint8Array;

  /** W and V lie in the same bytes, b1 and b2 as well; T goes to the end of its file; K lies in a graph within. */
  function parted(place: Place, [first, second]: readonly [string, string]): Uint8Array {
    const at = (location: string, offset: number, length?: number) => ({
      location,
      ...(offset > 0 && { offset: String(offset) }),
      ...(length !== undefined && { length: String(length) }),
    });
    const body = (name: string) =>
      graph({
        name,
        nodes: [node("MatMul", `x K_${name}`, `${name}_y`)],
        initializers: [place(`K_${name}`, "float32", [32, 24], w, at(first, 64, w.byteLength))],
        outputs: [value(`${name}_y`, "float32")],
      });
    return modelOf(old, {
      nodes: [
        node("MatMul", "x W", "p"),
        node("Gemm", "x V b1", "q", { transB: 1 }),
        node("Add", "p b2", "r"),
        node("If", "flag", "u", { then_branch: { graph: body("then") }, else_branch: { graph: body("else") } }),
        node("Sum", "q r u", "y"),
        node("Gather", "T i", "z"),
      ],
      initializers: [
        place("W", "float32", [32, 24], w, at(first, 64, w.byteLength)),
        place("V", "float32", [24, 32], w, at(first, 64, w.byteLength)),
        place("b1", "float32", [24], b, at(first, 64 + w.byteLength, b.byteLength)),
        place("b2", "float32", [24], b, at(first, 64 + w.byteLength, b.byteLength)),
        place("T", "float32", [48, 32], t, at(second, second === first ? 8192 : 16)),
      ],
      inputs: [value("x", "float32[2,32]"), value("i", "int64[3]"), value("flag", "bool[]")],
      outputs: [value("y", "float32"), value("z", "float32")],
    });
  }

  const outside: Place = (name, type, shape, _, entries) =>
    tensor(name, type, shape, [], {
      store: { kind: "external", entries },
      doc: `about ${name}`,
      extra: unknownFields(name),
    });
  const inside: Place = (name, type, shape, data) => tensor(name, type, shape, data);
  const feeds = [{ ...x32, i: indices([3], [0, 47, -1]), flag: yes }];

  async function writeParts([first, second]: readonly [string, string]): Promise<void> {
    const one = new Uint8Array(first === second ? 8192 + t.byteLength : 64 + w.byteLength + b.byteLength).fill(0xaa);
    one.set(bytesOf(w), 64);
    one.set(bytesOf(b), 64 + w.byteLength);
    if (first === second) one.set(bytesOf(t), 8192);
    await writeFile(join(folder, "in", first), one);
    if (first !== second) await writeFile(join(folder, "in", second), Buffer.concat([Buffer.alloc(16), bytesOf(t)]));
  }

  async function run(name: string, output: string, options: QuantizeModelOptions = {}, overwrite = false) {
    const source = await fileSource(join(folder, "in", name));
    try {
      return await quantizeModel(engine, source, await fileSink(output, { overwrite }), {
        allowUnchanged: true,
        ...options,
      });
    } finally {
      await source.close();
    }
  }

  function placesIn(bytes: Uint8Array) {
    return graphsIn(bytes)
      .flatMap(({ initializers }) => initializers)
      .filter(({ message }) => integers(message, 14)[0] === 1)
      .map(({ name, message }) => {
        const entries = payloads(message, 13).map((entry) => [texts(entry, 1)[0]!, texts(entry, 2)[0]!]);
        const { location, offset, length } = Object.fromEntries(entries);
        return { name, location, offset: Number(offset), length: Number(length), message };
      });
  }

  describe.each([
    { title: "one file", files: ["one.bin", "one.bin"] },
    { title: "two files", files: ["one.bin", "two.bin"] },
    { title: "files in a folder below", files: ["parts/one.bin", "parts/two.bin"] },
  ] as const)("$title", ({ title, files }) => {
    const base = title.replaceAll(" ", "-");
    beforeAll(async () => {
      await writeParts(files);
      await writeFile(join(folder, "in", `${base}.onnx`), parted(outside, files));
    });

    it.each([
      ["cast int8", {}],
      ["cast uint8 per tensor", { dtype: "uint8", perChannel: false }],
      ["qdq int8", { format: "qdq" }],
      ["nothing", { exclude: ["*"] }],
      ["the table alone", { include: ["T"] }],
    ] as const)("%s", async (form, options) => {
      const output = join(folder, "out", `${base}-${form.replaceAll(" ", "-")}.onnx`);
      const report = await run(`${base}.onnx`, output, options);
      const bytes = await readFile(output);
      const data = await readFile(`${output}.data`);
      expect(report.bytesAfter).toBe(bytes.length + data.length);

      // What lay outside lies outside, what is shared is there once, nothing overlaps, and all is aligned.
      const places = placesIn(bytes);
      const names = places.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(["b1", "b2"]));
      for (const { location, offset, length } of places) {
        expect(location).toBe(`${output.split("/").at(-1)}.data`);
        expect(offset % 16).toBe(0);
        expect(offset + length).toBeLessThanOrEqual(data.length);
      }
      const spans = [...new Map(places.map(({ offset, length }) => [offset, length])).entries()].sort(
        ([a], [c]) => a - c,
      );
      spans.forEach(([offset, length], i) => {
        expect(offset + length).toBeLessThanOrEqual(spans[i + 1]?.[0] ?? data.length);
      });
      const [b1, b2] = ["b1", "b2"].map((name) => places.find((place) => place.name === name)!);
      expect(b1!.offset).toBe(b2!.offset);
      expect(data.subarray(b1!.offset, b1!.offset + b1!.length)).toEqual(Buffer.from(bytesOf(b)));
      // Of a tensor that stays, what is unknown and what is written about it stay as well.
      expect(Buffer.from(b1!.message).includes(Buffer.from(unknownFields("b1")))).toBe(true);
      expect(Buffer.from(b1!.message).includes(Buffer.from("about b1"))).toBe(true);

      const alone = (await quantized(parted(inside, files), options)).bytes;
      const externalData = { [`${output.split("/").at(-1)}.data`]: Uint8Array.from(data) };
      for (const session of [plain, {}]) {
        const [want] = await Promise.all([outputsOf("node", alone, feeds, session)]);
        expect(distance(await outputsOf("node", output, feeds, session), want)).toBe(0);
        // The wasm build finds no other files for graphs within graphs.
        if (names.includes("K_then")) continue;
        const web = await outputsOf("web", output, feeds, { ...session, externalData });
        expect(distance(web, await outputsOf("web", alone, feeds, session))).toBe(0);
      }
    });
  });

  it("a model and its data file are replaced by what becomes of them", async () => {
    const files = ["same.onnx.data", "same.onnx.data"] as const;
    await writeParts(files);
    const path = join(folder, "in", "same.onnx");
    await writeFile(path, parted(outside, files));
    const want = (await quantized(parted(inside, files))).bytes;
    await run("same.onnx", path, {}, true);
    expect(distance(await outputsOf("node", path, feeds), await outputsOf("node", want, feeds))).toBe(0);
    expect((await readFile(`${path}.data`)).length).toBeLessThan(8192 + t.byteLength);
  });

  it("a Constant node's attribute keeps what is unknown when its data moves", async () => {
    await writeParts(["one.bin", "one.bin"]);
    const constant = outside("k", "float32", [24], b, {
      location: "one.bin",
      offset: String(64 + w.byteLength),
      length: String(b.byteLength),
    });
    const before = modelOf(old, {
      nodes: [
        node("Constant", "", "k", { value: attribute("value", { tensor: constant }, unknownFields("attribute")) }),
        node("Add", "x k", "y"),
      ],
      inputs: [value("x", "float32[2,24]")],
      outputs: [value("y", "float32")],
    });
    await writeFile(join(folder, "in", "constant.onnx"), before);
    const output = join(folder, "out", "constant.onnx");
    await run("constant.onnx", output);
    const after = await readFile(output);
    expect(after.includes(Buffer.from("constant.onnx.data"))).toBe(true);
    expect(after.includes(Buffer.from(unknownFields("k")))).toBe(true);
    expect(after.includes(Buffer.from(unknownFields("attribute")))).toBe(true);
  });

  it("a function's tensor that lies in another file is refused: it could not be moved", async () => {
    await writeParts(["one.bin", "one.bin"]);
    const entries = { location: "one.bin", offset: "64", length: String(w.byteLength) };
    const inFunction = node("Constant", "", "c", { value: { tensor: outside("c", "float32", [32, 24], w, entries) } });
    const before = model({
      ir: 8,
      opsets: { "": 13, local: 1 },
      functions: [
        functionOf({
          ...{ name: "add", domain: "local", inputs: ["a"], outputs: ["d"], opsets: { "": 13 } },
          nodes: [inFunction, node("MatMul", "a c", "d")],
        }),
      ],
      graph: graph({
        nodes: [node("add", "x", "t", {}, { domain: "local" }), node("MatMul", "x W", "s"), node("Add", "s t", "y")],
        initializers: [outside("W", "float32", [32, 24], w, entries)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32")],
      }),
    });
    await writeFile(join(folder, "in", "function.onnx"), before);
    const output = join(folder, "out", "function.onnx");
    await expect(run("function.onnx", output)).rejects.toThrow(/tensor "c": its data is in another file, which only/);
    await expect(readFile(output)).rejects.toThrow("ENOENT");
  });
});
