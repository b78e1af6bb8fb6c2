import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { inspectModel, type QuantizeModelOptions } from "../../src/model.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { type Feeds, runtimes, withSession } from "../helpers/sessions.ts";

// A model that is quantized already, by this library or by another: its scales are floats of two dimensions, and some are
// looked up or multiplied with, as weights are. None of them is quantized, none is taken for a weight.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const already = (tensors: string) => `weights that are quantized already stay as they are, with ${tensors} of scales`;
const nothing = "nothing to do: the model is written as it was read";

const WORDS = 600;
const WIDTH = 64;

/** A table whose scales, one for each row, are as long as a weight that is worth it; a layer, and a bias. */
function reader(opset: number): Uint8Array {
  return model({
    ir: 10,
    opsets: { "": opset },
    graph: graph({
      nodes: [
        node("Gather", "table ids", "rows"),
        node("MatMul", "rows first", "h"),
        node("Add", "h bias", "s"),
        node("Conv", "image kernel", "c"),
        node("MatMul", "s second", "y"),
      ],
      initializers: [
        tensor("table", "float32", [WORDS, WIDTH], normals(randomOf(1), WORDS * WIDTH)),
        tensor("first", "float32", [WIDTH, WIDTH], normals(randomOf(2), WIDTH * WIDTH)),
        tensor("bias", "float32", [WIDTH], normals(randomOf(3), WIDTH)),
        tensor("second", "float32", [WIDTH, 32], normals(randomOf(4), WIDTH * 32)),
        tensor("kernel", "float32", [16, 8, 3, 3], normals(randomOf(5), 16 * 8 * 9)),
      ],
      inputs: [value("ids", "int64[n]"), value("image", "float32[1,8,5,5]")],
      outputs: [value("y", "float32[n,32]"), value("c", "float32")],
    }),
  });
}

const feeds: Feeds = {
  ids: { dims: [3], data: BigInt64Array.of(0n, 599n, -7n) },
  image: { dims: [1, 8, 5, 5], data: normals(randomOf(6), 200) },
};

/** What would take the scales for weights worth it, were they told from others by nothing else. */
const greedy: readonly QuantizeModelOptions[] = [
  { again: true },
  { again: true, perChannel: false },
  { again: true, dtype: "uint8", perChannel: false },
  { again: true, format: "qdq", perChannel: false },
  { again: true, opTypes: ["Gather", "MatMul", "Conv"], perChannel: false },
];

const firstRuns: readonly (readonly [string, number, QuantizeModelOptions])[] = [
  ["cast int8", 13, {}],
  ["cast uint8, with zero points", 13, { dtype: "uint8" }],
  ["cast int16", 13, { dtype: "int16" }],
  ["cast per tensor", 13, { perChannel: false }],
  ["cast in blocks", 13, { blockSize: 4 }],
  ["cast in blocks, with zero points", 13, { dtype: "uint8", blockSize: 4 }],
  ["qdq int8", 13, { format: "qdq" }],
  ["qdq uint8, with zero points", 13, { format: "qdq", dtype: "uint8" }],
  ["qdq int8 in blocks", 21, { format: "qdq", blockSize: 4 }],
  ["qdq int4 in blocks", 21, { format: "qdq", dtype: "int4", blockSize: 16 }],
];

describe("our own output", () => {
  it.each(firstRuns)("%s is refused for integers, and converted to half precision", async (_, opset, options) => {
    const first = await quantized(reader(opset), options);
    for (const { again: _, ...how } of greedy) {
      await expect(quantized(first.bytes, how)).rejects.toThrow(
        /^model\.onnx: is quantized already: 4 weights of u?int\d+; quantize the float model it was made from$/,
      );
    }
    const { bytes } = await quantized(first.bytes, { dtype: "float16", allowUnchanged: false });
    const types = readGraph(graphIn(bytes)).initializers.map(({ name, typeCode }) => [name, typeCode]);
    expect(types).toContainEqual(["bias", 10]);
  });

  it.each(firstRuns)("%s is left as it is, whatever is asked for", async (_, opset, options) => {
    const first = await quantized(reader(opset), options);
    expect(first.report.tensors.map(({ name, reason }) => [name, reason])).toEqual(
      ["table", "first", "second", "kernel"].map((name) => [name, undefined]),
    );
    expect(remarksOf(first.report).join("\n")).not.toMatch(/quantized already/);
    for (const again of greedy) {
      const { bytes, report } = await quantized(first.bytes, again);
      expect(bytes).toEqual(first.bytes);
      expect(report.tensors).toEqual([]);
      expect(remarksOf(report)).toEqual(expect.arrayContaining([already("4 tensors"), nothing]));
      // The bias is one of the others, scales are not.
      expect(remarksOf(report)).toContain("1 other float tensor (biases and the like, 256 bytes): as before");
    }
  });

  it.each(firstRuns)("%s has four quantized weights to inspect, and no others", async (_, opset, options) => {
    const { bytes } = await quantized(reader(opset), options);
    const inspection = await inspectModel(engine, bytesSource(bytes, "model.onnx"));
    expect(inspection).toMatchObject({ fileType: "onnx", weights: [] });
    const names = (inspection as unknown as { quantized: { name: string }[] }).quantized.map(({ name }) => name);
    expect(names.sort()).toEqual(["first", "kernel", "second", "table"]);
  });

  it.each(firstRuns)("%s, half of it: the other half follows, and it is what one run gives", async (_, opset, how) => {
    const before = reader(opset);
    const half = await quantized(before, { ...how, include: ["table", "kernel"] });
    const { bytes, report } = await quantized(half.bytes, { ...how, again: true });
    expect(report.tensors.map(({ name, reason }) => [name, reason])).toEqual([
      ["first", undefined],
      ["second", undefined],
    ]);
    expect(remarksOf(report)).toContain(already("2 tensors"));
    const whole = await quantized(before, how);
    // Of the indices that spread blocks each run has its own.
    const tensorsOf = (of: Uint8Array) =>
      Object.fromEntries(
        readGraph(graphIn(of))
          .initializers.filter(({ name }) => !name.startsWith("block_of_"))
          .map(({ name, raw }) => [name, raw]),
      );
    expect(tensorsOf(bytes)).toEqual(tensorsOf(whole.bytes));
    for (const open of Object.values(runtimes)) {
      const [got, want] = await Promise.all(
        [bytes, whole.bytes].map((each) => withSession(open(each), (session) => session.run(feeds))),
      );
      expect(got!.y!.data).toEqual(want!.y!.data);
      expect(got!.c!.data).toEqual(want!.c!.data);
    }
  });

  it("a scale that patterns name is none of the weights they may name", async () => {
    const first = await quantized(reader(13));
    for (const name of ["table_scale", "first_scale"]) {
      await expect(quantized(first.bytes, { again: true, include: [name] })).rejects.toThrow(
        /matches no weight or node/,
      );
    }
  });
});

describe("weights of com.microsoft's MatMulNBits", () => {
  const BLOCK = 32;
  const N = 256;
  const codes = Uint8Array.from({ length: N * (WIDTH / BLOCK) * (BLOCK / 2) }, (_, i) => (i * 37) % 256);
  const scales = normals(randomOf(7), N * (WIDTH / BLOCK), 0.01).map(Math.abs);

  /** Beside a layer in floats; `zeros` are zero points as floats, which newer runtimes take. */
  const mixed = ({ zeros = false } = {}) =>
    model({
      opsets: { "": 17, "com.microsoft": 1 },
      graph: graph({
        nodes: [
          node(
            "MatMulNBits",
            `x codes scales${zeros ? " zeros" : ""}`,
            "h",
            { K: WIDTH, N, bits: 4, block_size: BLOCK },
            { domain: "com.microsoft" },
          ),
          node("MatMul", "h W", "y"),
        ],
        initializers: [
          tensor("codes", "uint8", [N, WIDTH / BLOCK, BLOCK / 2], codes),
          tensor("scales", "float32", [N, WIDTH / BLOCK], scales),
          ...(zeros ? [tensor("zeros", "float32", [N, WIDTH / BLOCK], new Float32Array(scales.length).fill(7.5))] : []),
          tensor("W", "float32", [N, 32], normals(randomOf(8), N * 32)),
        ],
        inputs: [value("x", `float32[n,${WIDTH}]`)],
        outputs: [value("y", "float32[n,32]")],
      }),
    });

  it.each([
    ["scales", {}, "1 tensor"],
    ["scales and zero points", { zeros: true }, "2 tensors"],
  ] as const)("keep their %s; other weights are quantized", async (_, parts, count) => {
    const before = mixed(parts);
    for (const options of greedy.filter(({ opTypes }) => !opTypes)) {
      const { bytes, report } = await quantized(before, options);
      expect(report.tensors.map(({ name, reason }) => [name, reason])).toEqual([["W", undefined]]);
      expect(remarksOf(report)).toContain(already(count));
      expect(remarksOf(report).join("\n")).not.toMatch(/other float tensor/);
      const kept = readGraph(graphIn(bytes)).initializers;
      for (const { name, message } of readGraph(graphIn(before)).initializers) {
        if (name !== "W") expect(kept.find((each) => each.name === name)?.message).toEqual(message);
      }
      const again = await quantized(bytes, options);
      expect(again.bytes).toEqual(bytes);
      expect(again.report.tensors).toEqual([]);
    }
  });

  it("run as before", async () => {
    const before = mixed();
    const { bytes } = await quantized(before, { again: true });
    const x = { x: { dims: [2, WIDTH], data: normals(randomOf(9), 2 * WIDTH) } };
    const [want, got] = await Promise.all(
      [before, bytes].map((each) => withSession(runtimes.node(each), (session) => session.run(x))),
    );
    const [a, b] = [want!.y!.data as Float32Array, got!.y!.data as Float32Array];
    const largest = a.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
    expect(largest).toBeGreaterThan(0);
    for (const [i, each] of a.entries()) expect(Math.abs(each - b[i]!)).toBeLessThan(0.02 * largest);
  });
});

describe("what looks like a part of a quantized weight and is none", () => {
  it("a weight that goes by the name of a scale, with no codes beside it, is quantized", async () => {
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("Gather", "T i", "g"), node("MatMul", "g T_scale", "y")],
        initializers: [
          tensor("T", "float32", [WORDS, WIDTH], normals(randomOf(1), WORDS * WIDTH)),
          tensor("T_scale", "float32", [WIDTH, 32], normals(randomOf(2), WIDTH * 32)),
        ],
        inputs: [value("i", "int64[n]")],
        outputs: [value("y", "float32[n,32]")],
      }),
    });
    const { report } = await quantized(before);
    expect(report.tensors.map(({ name, to }) => [name, to])).toEqual([
      ["T", "int8"],
      ["T_scale", "int8"],
    ]);
    expect(remarksOf(report).join("\n")).not.toMatch(/quantized already/);
  });
});
