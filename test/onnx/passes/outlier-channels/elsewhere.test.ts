import { beforeAll, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { graph, node, value } from "../../../helpers/onnx-build.ts";
import { tensor } from "../../../helpers/onnx-tensors.ts";
import { remarksOf } from "../../../helpers/remarks.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnValues, floats, nearness, type Sketch } from "../../../helpers/sketch.ts";

// Outlier channels of norms and weights that stand elsewhere: in graphs within, in Constant nodes, before other layers.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten } = rewriterOf(() => engine, { mode: "dynamic", dtype: "uint8" });

const C = 32;
const OUTLIER = 7;
const SIZE = 100;
const gamma = Array.from({ length: C }, (_, c) => (c === OUTLIER ? SIZE : 1));
const g = { shape: [C], data: gamma };
/** @param channelOf the channel that an element belongs to */
const weight = (shape: readonly number[], channelOf: (i: number) => number) => {
  const data = drawnValues(shape, 3, 0.3).map((v, i) => (channelOf(i) === OUTLIER ? v / SIZE : v));
  return { shape, data };
};
const w = weight([C, 24], (i) => Math.floor(i / 24));

const norm = node("LayerNormalization", "x g", "h");
const product = node("MatMul", "h w", "y");
const constant = (
  name: string,
  { shape, data }: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
) => node("Constant", "", name, { value: { tensor: tensor("", "float32", shape, data) } });
const branch = (nodes: readonly Uint8Array[]) => ({ graph: graph({ nodes, outputs: [value("y", "float32")] }) });

const kinds: Readonly<Record<string, Sketch>> = {
  "values of Constant nodes": {
    nodes: [constant("g", g), constant("w", w), norm, product],
    feeds: { x: floats([3, C]) },
    outputs: ["y"],
  },
  "a norm and a product in a branch": {
    nodes: [
      node("If", "flag", "z", {
        then_branch: branch([norm, product]),
        else_branch: branch([node("MatMul", "x v", "y")]),
      }),
    ],
    weights: { g, w, v: [C, 24] },
    feeds: { x: floats([3, C]), flag: { dims: [], data: Uint8Array.of(1) } },
    outputs: ["z"],
  },
  "a norm outside, a product in a branch": {
    nodes: [
      norm,
      node("If", "flag", "z", { then_branch: branch([product]), else_branch: branch([node("MatMul", "x v", "y")]) }),
    ],
    weights: { g, w, v: [C, 24] },
    feeds: { x: floats([3, C]), flag: { dims: [], data: Uint8Array.of(1) } },
    outputs: ["z"],
  },
  "a product of several matrices": {
    nodes: [norm, product],
    weights: { g, w: weight([2, C, 24], (i) => Math.floor(i / 24) % C) },
    feeds: { x: floats([2, 3, C]) },
    outputs: ["y"],
  },
  "models of IR version 3, whose constants are inputs": {
    nodes: [
      ...[node("ReduceMean", "x", "m", { axes: [-1] }), node("Sub", "x m", "d"), node("Mul", "d d", "d2")],
      ...[node("ReduceMean", "d2", "v", { axes: [-1] }), node("Sqrt", "v", "s"), node("Div", "d s", "n")],
      ...[node("Mul", "n g", "h"), product],
    ],
    weights: { g, w },
    feeds: { x: floats([3, C]) },
    outputs: ["y"],
    opset: 11,
    ir: 3,
  },
};

it.each(Object.entries(kinds))("%s", async (_, model) => {
  const { before, bytes, report } = await rewritten(model);
  expect(remarksOf(report).join("\n")).toContain("outlier channels folded into the weights");
  expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(34);
});

it("an LSTM", async () => {
  const hidden = 8;
  const model: Sketch = {
    nodes: [norm, node("LSTM", "h w r", "y", { hidden_size: hidden })],
    weights: { g, w: weight([1, 4 * hidden, C], (i) => i % C), r: { shape: [1, 4 * hidden, hidden], deviation: 0.3 } },
    feeds: { x: floats([4, 2, C]) },
    outputs: ["y"],
  };
  const { before, bytes, report } = await rewritten(model, { reduceRange: true });
  expect(remarksOf(report).join("\n")).toContain("outlier channels folded into the weights");
  const kept = { ...model, nodes: [...model.nodes, node("Relu", "h", "z")], outputs: ["y", "z"] };
  const other = await rewritten(kept, { reduceRange: true });
  const without = await nearness(other.before, other.bytes, model.feeds);
  expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(without + 10);
});

it.each<{ what: string; model: Pick<Sketch, "nodes" | "outputs" | "weights"> }>([
  {
    what: "a product over its other axis",
    model: {
      nodes: [norm, product, node("Gemm", "h w", "z", { transB: 1 })],
      weights: { g, w: weight([C, C], (i) => Math.floor(i / C)) },
      outputs: ["y", "z"],
    },
  },
  {
    what: "the same node as another input",
    model: {
      nodes: [norm, node("Gemm", "h w w", "y")],
      weights: { g, w: weight([C, C], (i) => Math.floor(i / C)) },
      outputs: ["y"],
    },
  },
])("a weight that is taken by $what, too, stays as it is", async ({ model }) => {
  const { before, bytes, report } = await rewritten({ ...model, feeds: { x: floats([C, C]) } });
  expect(remarksOf(report).join("\n")).toContain('takes the weight "w" as it is)');
  expect(await nearness(before, bytes, { x: floats([C, C]) })).toBeGreaterThan(0);
});

it("a norm before 20,000 nodes in a row is folded all the same", async () => {
  const row = Array.from({ length: 20_000 }, (_, i) => node("Identity", `h${i}`, `h${i + 1}`));
  const nodes = [node("LayerNormalization", "x g", "h0"), ...row, node("MatMul", "h20000 w", "y")];
  const { report } = await rewritten({ nodes, weights: { g, w }, feeds: { x: floats([3, C]) }, outputs: ["y"] });
  expect(remarksOf(report).join("\n")).toContain("outlier channels folded into the weights");
});

it("bounds of bounds before a division are each looked at once", async () => {
  const wide = 40;
  const row = Array.from({ length: 8 }, (_, i) =>
    Array.from({ length: wide }, (_, j) => {
      const inputs = i === 0 ? "x" : Array.from({ length: wide }, (_, k) => `m${i - 1}_${k}`).join(" ");
      return node("Max", inputs, `m${i}_${j}`);
    }),
  );
  const nodes = [...row.flat(), node("Div", "x m7_0", "n"), node("Mul", "n g", "h"), product];
  const { report } = await rewritten({ nodes, weights: { g, w }, feeds: { x: floats([3, C]) }, outputs: ["y"] });
  expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([["w", "uint8"]]);
});
