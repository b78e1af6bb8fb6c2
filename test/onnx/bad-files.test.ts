import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import { isWasmQuantError } from "../../src/errors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { type Attempt, expectRefusal, matMul, modelOf, spySink, values, w, xy } from "../helpers/bad-models.ts";
import { graph, model, node } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { concat, field, headOf, integer, numbers } from "../helpers/wire-fields.ts";

// Whatever a file holds: an error of one line that names it, and nothing written; or a model, and all of it.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

async function attempt(source: Uint8Array | ByteSource, options: QuantizeModelOptions = {}): Promise<Attempt> {
  const { sink, told } = spySink();
  const from = source instanceof Uint8Array ? bytesSource(source, "model.onnx") : source;
  const error = await quantizeModel(engine, from, sink, { allowUnchanged: true, ...options }).then(
    () => undefined,
    (cause: unknown) => cause ?? "nothing was thrown, and it failed",
  );
  return { error, told };
}

async function expectRefused(source: Uint8Array | ByteSource, says: RegExp, options?: QuantizeModelOptions) {
  expectRefusal(await attempt(source, options), says);
}

const text = (words: string) => new TextEncoder().encode(words);

describe("no model", () => {
  it.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /is empty/],
    ["text", text("this is a model, honestly\n"), /no ONNX model/],
    ["JSON", text(`{"nodes": [], "version": 1}`), /no ONNX model/],
    [
      "HTML of a login page",
      text("<!DOCTYPE html><html></html>"),
      /: is a web page or other markup; what was downloaded is not the file$/,
    ],
    ["XML of a storage's refusal", text('<?xml version="1.0"?><Error>'), /: is a web page or other markup; /],
    ["gzip", Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3), /: is a gzip archive; unpack it first$/],
    ["half of gzip's magic number", Uint8Array.of(0x1f, 0x8c, 8, 0, 0, 0, 0, 0, 0, 3), /no ONNX model/],
    ["zeros", new Uint8Array(1000), /no ONNX model/],
    ["ones", new Uint8Array(1000).fill(0xff), /no ONNX model/],
    ["a PNG", Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13), /no ONNX model/],
    ["a zip", text("PK\x03\x04 and so on and so forth"), /zip archive/],
    [
      "a Git LFS pointer",
      text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
      /Git LFS pointer/,
    ],
    ["an IR version and nothing else", integer(1, 8), /no graph/],
    ["two graphs", concat([modelOf({}), field(7, graph({ nodes: [matMul], ...xy }))]), /more than one graph/],
    ["a graph of nothing", model({ opsets: { "": 13 }, graph: new Uint8Array(0) }), /graph is empty/],
    ["a graph that is a number", concat([integer(1, 8), integer(7, 5)]), /at byte 2 /],
    ["nodes that are numbers", concat([integer(1, 8), field(7, integer(1, 5))]), /at byte \d+ /],
    ["a name that is a number", modelOf({ nodes: [integer(1, 2)] }), /at byte \d+ /],
    ["a group", concat([integer(1, 8), Uint8Array.of(0x0b, 0x0c)]), /at byte 2 /],
    ["groups, 10,000 deep", concat([integer(1, 8), new Uint8Array(10_000).fill(0x0b)]), /at byte 2 /],
    ["field 0", concat([integer(1, 8), Uint8Array.of(0x02, 0x00)]), /at byte 2 /],
    ["a varint without an end", concat([integer(1, 8), new Uint8Array(20).fill(0x80)]), /at byte 2 /],
    ["a field of 4 GB", concat([integer(1, 8), Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f)]), /at byte 2 /],
  ])("%s", async (_, bytes, says) => {
    await expectRefused(bytes, says);
  });
});

describe("tensors", () => {
  const t = numbers.tensor;
  const short = values.slice(0, 100);
  const dims = (...each: (number | bigint)[]) => each.map((dimension) => integer(t.dims, dimension));
  const big = (...each: (number | bigint)[]) =>
    concat([...dims(...each), integer(t.dataType, 1), field(t.name, "W"), field(t.rawData, bytesOf(short))]);

  it.each<[string, Uint8Array]>([
    ["raw_data too short", tensor("W", "float32", [32, 24], bytesOf(short))],
    ["raw_data too long", tensor("W", "float32", [3, 2], bytesOf(short))],
    ["raw_data of half an element", tensor("W", "float16", [10], new Uint8Array(19))],
    ["no data at all", concat([...dims(32, 24), integer(t.dataType, 1), field(t.name, "W")])],
    ["float_data too short", tensor("W", "float32", [32, 24], short, { store: "packed" })],
    ["float_data too long", tensor("W", "float32", [3, 2], short, { store: "packed" })],
    [
      "float_data in pieces, too short",
      tensor("W", "float32", [32, 24], short, { store: { kind: "pieces", pieces: 3 } }),
    ],
    [
      "float_data in pieces, too long",
      tensor("W", "float32", [9, 11], short, { store: { kind: "pieces", pieces: 3 } }),
    ],
    ["float_data one by one, too short", tensor("W", "float32", [32, 24], short, { store: "unpacked" })],
    ["int32_data too short", tensor("W", "float16", [32, 24], new Uint16Array(100), { store: "packed" })],
    [
      "int32_data cut within a number",
      concat([
        ...dims(32, 24),
        integer(t.dataType, 10),
        field(t.name, "W"),
        field(t.int32Data, new Uint8Array(5000).fill(0x80)),
      ]),
    ],
    [
      "float_data of no whole number of floats",
      concat([
        ...[...dims(5, 20), integer(t.dataType, 1), field(t.name, "W")],
        ...[field(t.floatData, new Uint8Array(398)), field(t.floatData, new Uint8Array(1))],
      ]),
    ],
    ["a negative dimension", big(-32, -24)],
    ["one negative dimension", big(32, -1)],
    ["the lowest dimension there is", big(-(2n ** 63n), 1)],
    ["dimensions whose product is beyond 2^53", big(2 ** 31, 2 ** 31)],
    ["dimensions whose product is 2^64", big(2n ** 32n, 2n ** 32n)],
    ["dimensions whose product is 2^64 + 100", big(2n ** 62n, 4)],
    ["many dimensions of 2^62", big(...new Array(40).fill(2n ** 62n))],
    ["2^33 elements", big(2 ** 17, 2 ** 16)],
    [
      "packed dimensions that are cut off",
      concat([field(t.dims, Uint8Array.of(0x80)), integer(t.dataType, 1), field(t.name, "W")]),
    ],
    ["strings that are text where numbers belong", concat([big(10, 10), field(t.dims, "text that is no dims \xff")])],
  ])("%s", async (_, bytes) => {
    await expectRefused(modelOf({ initializers: [bytes] }), /tensor "W": |at byte \d+ /);
    const inConstant = [node("Constant", "", "W", { value: { tensor: bytes } }), matMul];
    await expectRefused(modelOf({ initializers: [], nodes: inConstant }), /tensor "W": |at byte \d+ /);
  });

  it("0 beside dimensions beyond all bounds", async () => {
    const empty = concat([...dims(0, 2n ** 62n, 2n ** 62n), integer(t.dataType, 1), field(t.name, "W")]);
    const { error } = await attempt(modelOf({ initializers: [empty] }));
    if (error !== undefined) expect(isWasmQuantError(error, "format"), String(error)).toBe(true);
  });

  it("whole numbers that are cut off, in a shape", async () => {
    const cutOff = concat([
      ...[...dims(2), integer(t.dataType, 7), field(t.name, "s")],
      field(t.int64Data, Uint8Array.of(0x05, 0x80)),
    ]);
    const nodes = [node("Reshape", "W s", "V"), node("MatMul", "x V", "y")];
    await expectRefused(modelOf({ nodes, initializers: [w, cutOff] }), /tensor "s": /);
  });
});

describe("a memory bomb: a small file that claims gigabytes", () => {
  const t = numbers.tensor;
  const head = (code: number, ...each: (number | bigint)[]) =>
    concat([...each.map((dimension) => integer(t.dims, dimension)), integer(t.dataType, code), field(t.name, "W")]);
  const bombs: readonly (readonly [string, Uint8Array])[] = [
    ["raw_data of 2 GB", modelOf({ initializers: [concat([head(1, 2 ** 29), headOf(t.rawData, 2 ** 31)])] })],
    [
      "2^31 floats in 100 bytes",
      modelOf({ initializers: [concat([head(1, 2 ** 31), field(t.floatData, new Uint8Array(100))])] }),
    ],
    [
      "2^31 floats, one by one",
      modelOf({ initializers: [concat([head(1, 2 ** 31), concat(Array(50).fill(field(4, new Uint8Array(4))))])] }),
    ],
    [
      "2^40 bytes of int32_data",
      modelOf({ initializers: [concat([head(3, 2 ** 40), field(t.int32Data, new Uint8Array(100))])] }),
    ],
    [
      "2^40 of 4 bits",
      modelOf({ initializers: [concat([head(22, 2 ** 40), field(t.int32Data, new Uint8Array(100))])] }),
    ],
    ["strings", modelOf({ initializers: [head(8, 2 ** 50), w] })],
    ["a type yet to come", modelOf({ initializers: [concat([head(99, 2 ** 50), field(t.rawData, "x")]), w] })],
    [
      "a shape of 2^40",
      modelOf({
        nodes: [node("Reshape", "W s", "V"), node("MatMul", "x V", "y")],
        initializers: [w, tensor("s", "int64", [4], [2 ** 40, 2 ** 40, 1, -1])],
      }),
    ],
    [
      "2^31 axes to put in",
      modelOf({
        nodes: [node("Unsqueeze", "W s", "V"), node("MatMul", "x V", "y")],
        initializers: [w, tensor("s", "int64", [2], [2 ** 31, -(2 ** 31)])],
      }),
    ],
    [
      "a row of 2^40 axes",
      modelOf({ nodes: [node("Transpose", "W", "V", { perm: [2 ** 40, 0] }), matMul], initializers: [w] }),
    ],
  ];

  it.each(bombs)("%s", async (_, bytes) => {
    let longest = 0;
    const source = bytesSource(bytes, "model.onnx");
    const spied: ByteSource = {
      ...source,
      slice: (start, end) => {
        longest = Math.max(longest, end - start);
        return source.slice(start, end);
      },
    };
    const before = process.memoryUsage();
    const start = performance.now();
    const { error } = await attempt(spied);
    expect(performance.now() - start).toBeLessThan(1000);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1 << 24);
    expect(after.rss - before.rss).toBeLessThan(1 << 26);
    expect(longest).toBeLessThanOrEqual(bytes.length);
    if (error !== undefined) expect(isWasmQuantError(error, "format"), String(error)).toBe(true);
  });
});
