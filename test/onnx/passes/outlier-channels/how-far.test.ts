import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { bytesOf } from "../../../../src/engine/tensors/tensor.ts";
import { bytesSource } from "../../../../src/formats/byte-source.ts";
import { readModel } from "../../../../src/onnx/io/decode.ts";
import { TensorFiles } from "../../../../src/onnx/io/tensor-data.ts";
import { factorsFor, gainOf, haveOutliers, powersOf } from "../../../../src/onnx/passes/outlier-channels/fold-gain.ts";
import { scaledRows } from "../../../../src/onnx/passes/outlier-channels/scaled-rows.ts";
import { readRows } from "../../../../src/onnx/passes/outlier-channels/weight-rows.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { rewriterOf } from "../../../helpers/rewritten.ts";
import { drawnValues, floats, nearness, type Sketch, sketch } from "../../../helpers/sketch.ts";

// How far outlier channels are folded: what activations win, weights lose.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten } = rewriterOf(() => engine, { mode: "dynamic", dtype: "uint8" });

const C = 128;
const N = 48;

const scales = {
  "a few": (size: number) => Float32Array.from({ length: C }, (_, c) => (c % 40 === 3 ? size : 1)),
  all: (size: number) => drawnValues([C], 55).map((z) => size ** (z / 2)),
};

/** @param power 1 for rows as much smaller as the channels before them are larger, 0 for rows of one size */
function layer(g: Float32Array, power: number): Sketch {
  const w = drawnValues([C, N], 3).map((v, i) => v / g[Math.floor(i / N)]! ** power);
  return {
    nodes: [node("LayerNormalization", "x g b", "h"), node("MatMul", "h w", "y")],
    weights: {
      g: { shape: [C], data: g },
      b: { shape: [C], deviation: 0.2 },
      w: { shape: [C, N], data: w },
    },
    feeds: { x: floats([32, C]) },
    outputs: ["y"],
  };
}

/** The same, and a node besides that wants the channels as they are. */
const unfolded = (model: Sketch): Sketch => ({
  ...model,
  nodes: [...model.nodes, node("Relu", "h", "z")],
  outputs: ["y", "z"],
});

describe.each(Object.entries(scales))("where %s channels are uneven", (_, scaleOf) => {
  it.each([
    { size: 2, power: 0 },
    { size: 4, power: 0 },
    { size: 4, power: 1 },
    { size: 20, power: 0 },
    { size: 20, power: 0.5 },
    { size: 1000, power: 0 },
    { size: 1000, power: 1 },
  ])("by $size, rows by the power of $power, folding helps or is left", async ({ size, power }) => {
    const model = layer(scaleOf(size), power);
    for (const perChannel of [true, false]) {
      const [with_, without] = [
        await rewritten(model, { perChannel }),
        await rewritten(unfolded(model), { perChannel }),
      ];
      const isFolded = with_.report.remarks!.some(({ code }) => code === "scales-folded");
      const before = await nearness(without.before, without.bytes, model.feeds);
      const after = await nearness(with_.before, with_.bytes, model.feeds);
      if (isFolded) expect(after).toBeGreaterThan(before + 3);
      else expect(after).toBeCloseTo(before, 5);
      // However uneven, nothing is lost any more.
      expect(after).toBeGreaterThan(27);
    }
  });
});

describe("the estimate", () => {
  const levels = { dtype: "int8", scheme: "symmetric", reduceRange: false, perChannel: true } as const;
  const scale = Float32Array.from({ length: C }, (_, c) => (c === 0 ? 1024 : 1));
  const channels = { scale, bias: new Float32Array(C) };
  const powers = powersOf(channels);
  const rows = (first: number) => {
    const sizes = Float64Array.from(scale, (_, c) => (c === 0 ? first : 1));
    const largest = new Map([
      [powers[0]!, new Float32Array(N).fill(first)],
      [powers[1]!, new Float32Array(N).fill(1)],
    ]);
    return { squares: sizes.map((size) => N * size * size), largest };
  };

  it("folds all where rows are as small as channels are large", () => {
    const { bound, decibels } = gainOf(channels, powers, [rows(1 / 1024)], levels);
    expect(bound).toBe(powers[1]);
    expect(decibels).toBeGreaterThan(30);
  });

  it("folds some where the rows would take the codes of others", () => {
    const { bound } = gainOf(channels, powers, [rows(1 / 16)], levels);
    expect(bound).toBeGreaterThan(powers[1]!);
    expect(bound).toBeLessThan(powers[0]!);
  });

  it("folds nothing where there is nothing to win, or float32 would not hold it", () => {
    expect(gainOf(channels, powers, [rows(1)], levels).decibels).toBeLessThan(6);
    expect(gainOf(channels, powers, [rows(3e38)], levels)).toEqual({ bound: powers[0], decibels: 0 });
  });

  it("divides by powers of two, and never makes a channel larger", () => {
    expect(new Set(factorsFor(powers, powers[1]!))).toEqual(new Set([1024, 1]));
    expect(haveOutliers(powers)).toBe(true);
    expect(haveOutliers(powersOf({ scale: new Float32Array(C).fill(3), bias: new Float32Array(C) }))).toBe(false);
  });
});

describe("a weight with scaled rows", () => {
  const shapes = [
    { shape: [5, 3], axis: 0 },
    { shape: [3, 5], axis: 1 },
    { shape: [2, 5, 3], axis: 1 },
    { shape: [5], axis: 0 },
  ];

  it.each(shapes)("of $shape along $axis is the same whatever is read of it", async ({ shape, axis }) => {
    const weights = { w: { shape } };
    const bytes = sketch({ nodes: [node("Identity", "w", "y")], weights, feeds: { x: floats([1]) }, outputs: ["y"] });
    const source = bytesSource(bytes);
    const model = await readModel(source);
    const files = await TensorFiles.open(source, model);
    const [tensor] = model.graph.initializers;
    const factors = Float32Array.of(1, 2, 4, 8, 16);
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const want = drawnValues(shape).map((v, i) => v * factors[Math.floor(i / inner) % 5]!);
    const { data } = scaledRows(files, "w", { tensor: tensor!, axis }, factors);
    if (data.kind !== "span") throw new Error(data.kind);
    for (let start = 0; start <= data.end; start += 3) {
      for (let end = start; end <= data.end; end += 7) {
        expect(await data.source.slice(start, end)).toEqual(bytesOf(want).subarray(start, end));
      }
    }
    const { squares } = await readRows(files, "w", { tensor: tensor!, axis }, [0, 0, 0, 1, 1]);
    const sums = new Float64Array(5);
    drawnValues(shape).forEach((v, i) => {
      sums[Math.floor(i / inner) % 5]! += v * v;
    });
    expect([...squares]).toEqual([...sums].map((sum) => expect.closeTo(sum, 10)));
  });
});
