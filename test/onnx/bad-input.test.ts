import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import { isWasmQuantError } from "../../src/errors.ts";
import { type ByteSink, type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { inspectModel, type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import {
  concat,
  field,
  functionOf,
  type GraphParts,
  graph,
  headOf,
  integer,
  model,
  node,
  numbers,
  type Storage,
  sparseTensor,
  tensor,
  unknownFields,
  value,
} from "../helpers/onnx-build.ts";
import { normals, randomOf } from "../helpers/random.ts";

// Whatever a file holds: an error of one line that names it, and nothing written; or a model, and all of it.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const values = normals(randomOf(3), 32 * 24);
const w = tensor("W", "float32", [32, 24], values);
const xy = { inputs: [value("x", "float32[2,32]")], outputs: [value("y", "float32")] };
const matMul = node("MatMul", "x W", "y");

function modelOf(parts: Partial<GraphParts>): Uint8Array {
  return model({ opsets: { "": 13 }, graph: graph({ nodes: [matMul], initializers: [w], ...xy, ...parts }) });
}

/** A sink that tells what came of it. */
function spySink() {
  const told = { writes: 0, closed: false, aborted: false };
  const sink: ByteSink = {
    write: async () => {
      told.writes++;
    },
    close: async () => {
      told.closed = true;
    },
    abort: async () => {
      told.aborted = true;
    },
    companion: async (suffix) => ({ name: `out${suffix}`, write: async () => {} }),
  };
  return { sink, told };
}

interface Attempt {
  readonly error: unknown;
  readonly told: ReturnType<typeof spySink>["told"];
}

async function attempt(source: Uint8Array | ByteSource, options: QuantizeModelOptions = {}): Promise<Attempt> {
  const { sink, told } = spySink();
  const from = source instanceof Uint8Array ? bytesSource(source, "model.onnx") : source;
  const error = await quantizeModel(engine, from, sink, { allowUnchanged: true, ...options }).then(
    () => undefined,
    (cause: unknown) => cause ?? "nothing was thrown, and it failed",
  );
  return { error, told };
}

/** An error of ours, in one line that starts with the file's name; the sink was given up and nothing of it shows. */
function expectRefusal({ error, told }: Attempt, says: RegExp, tag: "format" | "argument" = "format"): void {
  expect(error).toBeInstanceOf(Error);
  const { message, stack } = error as Error;
  expect(isWasmQuantError(error, tag), stack ?? message).toBe(true);
  expect(message).toMatch(says);
  expect(message).not.toMatch(/[\n\r]/);
  expect(message.length).toBeLessThan(600);
  if (tag === "format") expect(message).toMatch(/^model\.onnx: /);
  expect(told).toMatchObject({ closed: false, aborted: true });
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

describe("graphs", () => {
  const one = tensor("one", "float32", [1], [1]);
  const inner = (parts: Partial<GraphParts>) =>
    graph({ name: "inner", nodes: [node("Relu", "x", "i")], outputs: [value("i", "float32")], ...parts });
  const withInner = (parts: Partial<GraphParts>) =>
    modelOf({
      nodes: [
        matMul,
        node("If", "x", "z", { then_branch: { graph: inner(parts) }, else_branch: { graph: inner({}) } }),
      ],
    });

  it.each<[string, Uint8Array, RegExp]>([
    ["an input that nobody makes", modelOf({ nodes: [node("MatMul", "x V", "y")] }), /MatMul .*"MatMul_of_y".*"V"/],
    [
      "an input that nobody makes, to a node without a name",
      modelOf({ nodes: [node("MatMul", "x V", "y", {}, { name: "" })] }),
      /MatMul .*"y".*"V"/,
    ],
    [
      "an input that nobody makes, within",
      withInner({ nodes: [node("Add", "x nothing", "i", {}, { name: "deep" })] }),
      /Add .*"deep".*"nothing"/,
    ],
    [
      "what is made in a graph within, used outside",
      modelOf({
        nodes: [
          matMul,
          node("If", "x", "z", { then_branch: { graph: inner({}) }, else_branch: { graph: inner({}) } }),
          node("Neg", "i", "n", {}, { name: "outside" }),
        ],
      }),
      /Neg .*"outside".*"i"/,
    ],
    ["an output that nobody makes", modelOf({ outputs: [value("z", "float32")] }), /output "z"/],
    ["an output that nobody makes, within", withInner({ outputs: [value("q", "float32")] }), /output "q"/],
    ["two initializers of one name", modelOf({ initializers: [w, one, one] }), /two initializers .*"one"/],
    ["two initializers of one name, within", withInner({ initializers: [one, one] }), /two initializers .*"one"/],
    ["two inputs of one name", modelOf({ inputs: [value("x", "float32"), value("x", "float32")] }), /two inputs .*"x"/],
    ["two nodes that make one name", modelOf({ nodes: [matMul, node("Relu", "x", "y")] }), /two .*"y"/],
    ["a node that makes one name twice", modelOf({ nodes: [matMul, node("Split", "x", "a a")] }), /two .*"a"/],
    ["a node that makes an initializer", modelOf({ nodes: [matMul, node("Relu", "x", "W")] }), /two .*"W"/],
    ["a node that makes an input", modelOf({ nodes: [matMul, node("Relu", "W", "x")] }), /two .*"x"/],
    [
      "a sparse initializer and another of one name",
      modelOf({
        initializers: [w, one],
        sparse: [sparseTensor(one, tensor("", "int64", [1], [0]), [4])],
      }),
      /two initializers .*"one"/,
    ],
  ])("%s", async (_, bytes, says) => {
    await expectRefused(bytes, says);
  });

  it("nested 10,000 deep", async () => {
    await expectRefused(modelOf({ nodes: [matMul, ifs(10_000)] }), /nested more than 64 deep/);
  });

  it("nested 70 deep", async () => {
    await expectRefused(modelOf({ nodes: [matMul, ifs(70)] }), /nested more than 64 deep/);
  });

  it("nested 50 deep is allowed", async () => {
    expect((await attempt(modelOf({ nodes: [matMul, ifs(50)] }))).error).toBeUndefined();
  });

  it.each([
    ["types", modelOf({ values: [concat([field(1, "deep"), field(2, nested(10_000, 4))])] })],
    ["unknown fields", modelOf({ extra: nested(10_000, 900) })],
  ])("what is not looked into may be nested 10,000 deep: %s", async (_, bytes) => {
    expect((await attempt(bytes)).error).toBeUndefined();
  });

  it("nested 1000 deep in a function", async () => {
    const f = functionOf({ name: "f", domain: "d", inputs: [], outputs: [], nodes: [ifs(1000)], opsets: { "": 13 } });
    const bytes = model({
      opsets: { "": 13 },
      graph: graph({ nodes: [matMul], initializers: [w], ...xy }),
      functions: [f],
    });
    await expectRefused(bytes, /nested more than 64 deep/);
  });

  /** Ifs within each other. */
  function ifs(depth: number): Uint8Array {
    const { node: n, attribute: a, graph: g } = numbers;
    // From within outwards, and turned round at the end.
    const parts: Uint8Array[] = [];
    let length = 0;
    const around = (number: number) => {
      const head = headOf(number, length);
      parts.push(head);
      length += head.length;
    };
    const put = (bytes: Uint8Array) => {
      parts.push(bytes);
      length += bytes.length;
    };
    for (let i = 0; i < depth; i++) {
      around(a.g);
      put(field(a.name, "then_branch"));
      around(n.attribute);
      put(concat([field(n.opType, "If"), field(n.input, "x")]));
      if (i < depth - 1) around(g.node);
    }
    return concat(parts.reverse());
  }

  /** Messages within each other, of one field each. */
  function nested(depth: number, number: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let length = 0;
    for (let i = 0; i < depth; i++) {
      const head = headOf(number, length);
      parts.push(head);
      length += head.length;
    }
    return concat(parts.reverse());
  }

  const needsItself = (node: string) => new RegExp(`^model\\.onnx: ${node} needs what is made of its own output$`);
  const circle = [node("Add", "x b", "a"), node("Relu", "a", "b")];

  it.each<[string, Uint8Array[], string]>([
    ["Identity of itself", [node("Identity", "a", "a"), node("MatMul", "x a", "y")], 'Identity node "Identity_of_a"'],
    [
      "views in a circle",
      [node("Identity", "b", "a"), node("Transpose", "a", "b"), node("MatMul", "x a", "y")],
      'Identity node "Identity_of_a"',
    ],
    ["other nodes in a circle", [...circle, node("MatMul", "a W", "y")], 'Add node "Add_of_a"'],
    ["a circle behind the others", [matMul, ...circle], 'Add node "Add_of_a"'],
    [
      "a circle that another node leads into",
      [node("MatMul", "b W", "y"), node("Relu", "a", "b"), node("Add", "x b", "a")],
      'Relu node "Relu_of_b"',
    ],
    [
      "a node without a name, in a circle of three",
      [node("Neg", "c", "a", {}, { name: "" }), node("Relu", "a", "b"), node("Abs", "b", "c"), matMul],
      'Neg node "a"',
    ],
    [
      "by another output than the first",
      [node("Split", "b", "a c"), node("Relu", "c", "b"), matMul],
      'Split node "Split_of_a"',
    ],
    [
      "through a graph within",
      [
        matMul,
        node("If", "x", "z", {
          then_branch: { graph: inner({ nodes: [node("Relu", "late", "i")] }) },
          else_branch: { graph: inner({}) },
        }),
        node("Neg", "z", "late"),
      ],
      'If node "If_of_z"',
    ],
    [
      "through what a graph within gives out as it is",
      [
        matMul,
        node("If", "x", "z", {
          then_branch: { graph: inner({ nodes: [], outputs: [value("late", "float32")] }) },
          else_branch: { graph: inner({}) },
        }),
        node("Neg", "z", "late"),
      ],
      'If node "If_of_z"',
    ],
  ])("%s is a circle", async (_, nodes, who) => {
    const bytes = modelOf({ nodes });
    // With nothing to do as well, and by all who read models: what they say of it would be wrong.
    for (const options of [{}, { exclude: ["*"] }, { opset: 21 }, { format: "qdq" }] as const) {
      await expectRefused(bytes, needsItself(who), options);
    }
    await expect(inspectModel(engine, bytesSource(bytes, "model.onnx"))).rejects.toThrow(needsItself(who));
  });

  it("a circle in a graph within", async () => {
    await expectRefused(
      withInner({ nodes: [node("Add", "x c", "i"), node("Relu", "i", "c")] }),
      needsItself('Add node "Add_of_i"'),
    );
  });

  it("nodes that are used twice, and by ways of other lengths, are no circle", async () => {
    const nodes = [
      node("Add", "c a", "d"),
      node("Mul", "a a", "b"),
      node("Add", "b a", "c"),
      node("Relu", "x", "a"),
      node("MatMul", "d W", "y"),
    ];
    expect((await attempt(modelOf({ nodes }))).error).toBeUndefined();
  });

  it("a chain of 20,000 nodes, the last of them first", async () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => node("Neg", i === 0 ? "x" : `v${i}`, `v${i + 1}`)).reverse();
    const start = performance.now();
    expect((await attempt(modelOf({ nodes: [node("MatMul", "v20000 W", "y"), ...chain] }))).error).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it("a chain of 20,000 views", async () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => node("Identity", i === 0 ? "W" : `v${i}`, `v${i + 1}`));
    const { error } = await attempt(modelOf({ nodes: [...chain, node("MatMul", "x v20000", "y")] }));
    expect(error).toBeUndefined();
  });

  it.each([[[0, 7]], [[1, -1]]])("Transpose with perm %j", async (perm) => {
    const nodes = [node("Transpose", "W", "V", { perm }), node("MatMul", "x V", "y")];
    const { error } = await attempt(modelOf({ nodes }));
    if (error !== undefined) expect(isWasmQuantError(error, "format"), String(error)).toBe(true);
  });

  it.each<[string, Uint8Array[], Uint8Array[]]>([
    ["Transpose with perm of another rank", [node("Transpose", "W", "V", { perm: [1] })], []],
    ["Transpose with one axis twice", [node("Transpose", "W", "V", { perm: [0, 0] })], []],
    ["Reshape to another size", [node("Reshape", "W s", "V")], [tensor("s", "int64", [2], [5, 5])]],
    ["Reshape with two -1", [node("Reshape", "W s", "V")], [tensor("s", "int64", [2], [-1, -1])]],
    ["Reshape with -2", [node("Reshape", "W s", "V")], [tensor("s", "int64", [2], [-2, -384])]],
    ["Reshape beyond 2^53", [node("Reshape", "W s", "V")], [tensor("s", "int64", [3], [2 ** 62, 2 ** 62, 0])]],
    ["Reshape to a matrix of shapes", [node("Reshape", "W s", "V")], [tensor("s", "int64", [1, 2], [24, 32])]],
    ["Reshape without a shape", [node("Reshape", "W", "V")], []],
    ["Reshape by floats", [node("Reshape", "W s", "V")], [tensor("s", "float32", [2], [24, 32])]],
    ["Squeeze of an axis that is not there", [node("Squeeze", "W s", "V")], [tensor("s", "int64", [1], [9])]],
    ["Squeeze of an axis that is not 1", [node("Squeeze", "W s", "V")], [tensor("s", "int64", [1], [0])]],
    ["Unsqueeze of an axis twice", [node("Unsqueeze", "W s", "V")], [tensor("s", "int64", [2], [0, 0])]],
    ["Unsqueeze far away", [node("Unsqueeze", "W s", "V")], [tensor("s", "int64", [2], [100, -100])]],
    ["Flatten far away", [node("Flatten", "W", "V", { axis: 9 })], []],
    ["Flatten far away from the end", [node("Flatten", "W", "V", { axis: -9 })], []],
    ["a view without an input", [node("Identity", "", "V")], []],
    ["a view of an input left out", [node("Identity", "-", "V")], []],
    ["Gather along an axis that is not there", [node("Gather", "W s", "V", { axis: 7 })], [index()]],
    ["Gather along an axis that is not there, from the end", [node("Gather", "W s", "V", { axis: -7 })], [index()]],
    ["Gather without indices", [node("Gather", "W", "V")], []],
    ["Gather without an output", [node("Gather", "W s", "-"), node("Relu", "x", "V")], [index()]],
    ["Conv with a matrix", [node("Conv", "x W", "V")], []],
    ["LSTM with a matrix", [node("LSTM", "x W W", "V")], []],
    ["Einsum without an equation", [node("Einsum", "x W", "V")], []],
    ["Einsum with another equation", [node("Einsum", "x W", "V", { equation: "->,->" })], []],
    ["Einsum with a number for an equation", [node("Einsum", "x W", "V", { equation: 5 })], []],
    ["an axis that is text", [node("Gather", "W s", "V", { axis: "0" })], [index()]],
    ["a Constant without outputs", [node("Constant", "", "", { value: { tensor: w } }), node("Relu", "x", "V")], []],
    ["a Constant with two outputs", [node("Constant", "", "V U", { value: { tensor: w } })], []],
  ])("what a runtime would refuse is no reason to fall over: %s", async (_, nodes, more) => {
    for (const options of [{}, { blockSize: 16 }, { format: "qdq" }, { perChannel: false }] as const) {
      const bytes = modelOf({ nodes: [...nodes, node("MatMul", "x V", "y")], initializers: [w, ...more] });
      const { error } = await attempt(bytes, options);
      if (error !== undefined) expect(isWasmQuantError(error, "format"), (error as Error).stack).toBe(true);
    }
  });

  it("Gather without outputs", async () => {
    const nodes = [node("Gather", "W s", ""), node("MatMul", "x W", "y")];
    const { error } = await attempt(modelOf({ nodes, initializers: [w, index()] }));
    if (error !== undefined) expect(isWasmQuantError(error, "format"), (error as Error).stack).toBe(true);
  });

  function index(): Uint8Array {
    return tensor("s", "int64", [1], [0]);
  }

  it("a type with a line's end in it", async () => {
    await expectRefused(modelOf({ nodes: [node("Mat\nMul", "x nothing", "y")] }), /"nothing"/);
  });

  it("names with a line's end in them", async () => {
    const nodes = [node("MatMul", "x no\nthing", "y", {}, { name: "a\nb" })];
    await expectRefused(modelOf({ nodes }), /"a\\nb".*"no\\nthing"/);
  });

  it("a glob that matches nothing, beside a name with a line's end in it", async () => {
    const name = "W\nW";
    const bytes = modelOf({
      nodes: [concat([field(1, "x"), field(1, name), field(2, "y"), field(4, "MatMul")])],
      initializers: [tensor(name, "float32", [32, 24], values)],
    });
    expectRefusal(await attempt(bytes, { include: ["nothing*"] }), /nothing\*/, "argument");
  });

  it("values that no range can be told of", async () => {
    const holed = values.slice();
    holed[100] = Number.NaN;
    holed[200] = Number.POSITIVE_INFINITY;
    const bytes = modelOf({ initializers: [tensor("W", "float32", [32, 24], holed)] });
    await expectRefused(bytes, /tensor "W": holds NaN at flat index 100/);
    expect((await attempt(bytes, { nonFinite: "ignore" })).error).toBeUndefined();
    expect((await attempt(bytes, { exclude: ["W"] })).error).toBeUndefined();
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

/** About 2 KB with something of everything. */
function sampleModel(): Uint8Array {
  const body = (name: string, weight: Uint8Array) =>
    graph({
      name,
      nodes: [node("MatMul", `x ${name}_w`, `${name}_y`)],
      initializers: [weight],
      outputs: [value(`${name}_y`, "float32")],
    });
  const eight = (name: string, seed: number, store: Storage["kind"] = "raw") =>
    tensor(name, "float32", [8, 12], normals(randomOf(seed), 96), { store });
  return model({
    opsets: { "": 13, "com.example": 1 },
    metadata: { key: "value" },
    graph: graph({
      nodes: [
        node("Gather", "T i", "g", { axis: 0 }),
        node("Reshape", "V s", "v"),
        node("MatMul", "x v", "m"),
        node("Constant", "", "c", { value: { tensor: tensor("", "float32", [12], normals(randomOf(4), 12)) } }),
        node("Add", "m c", "a"),
        node("If", "flag", "u", {
          then_branch: { graph: body("t", eight("t_w", 5, "packed")) },
          else_branch: { graph: body("e", eight("e_w", 6)) },
        }),
        node("Sum", "a u", "y"),
        node("Odd", "y", "z", { f: { float: 1 }, l: [1, 2], s: "text" }, { domain: "com.example" }),
      ],
      initializers: [
        tensor("T", "float32", [16, 8], normals(randomOf(1), 128)),
        tensor(
          "V",
          "float16",
          [2, 4, 12],
          Uint16Array.from({ length: 96 }, (_, i) => 0x3000 + i),
          { store: "packed" },
        ),
        tensor("s", "int64", [2], [8, 12]),
      ],
      inputs: [value("x", "float32[n,8]"), value("i", "int64[k]"), value("flag", "bool[]")],
      outputs: [value("y", "float32[n,12]"), value("g", "float32"), value("z", "float32")],
      values: [value("m", "float32[n,12]")],
      extra: unknownFields("graph"),
    }),
  });
}

/** Errors of ours in one line, or success; nothing else, and soon. */
function expectTame({ error, told }: Attempt, what: () => string): void {
  if (error === undefined) {
    if (!told.closed) throw new Error(`${what()}: neither an error nor a file`);
    return;
  }
  const { message, stack } = error as Error;
  const ours = isWasmQuantError(error, "format") || isWasmQuantError(error, "argument");
  if (!ours) throw new Error(`${what()}: ${stack}`);
  // Types of nodes are said as they stand, line's ends and all (above: "a type with a line's end in it").
  const line = message.replace(/: .*? node "/s, ': node "');
  if (/[\n\r]/.test(line)) throw new Error(`${what()}: more than one line: ${JSON.stringify(message)}`);
  if (told.closed || !told.aborted) throw new Error(`${what()}: the sink was not given up`);
}

describe("damage", () => {
  const sample = sampleModel();
  const optionsAt = (i: number): QuantizeModelOptions =>
    [
      {},
      { dtype: "uint8", blockSize: 4 },
      { format: "qdq" },
      { opset: 21, format: "qdq", dtype: "int4", blockSize: 8 },
    ][i % 4] as QuantizeModelOptions;

  it("none: the sample is quantized in all forms", async () => {
    expect(sample.length).toBeGreaterThan(2000);
    for (let i = 0; i < 4; i++) expect((await attempt(sample, optionsAt(i))).error).toBeUndefined();
  });

  it("cut off at any byte", async () => {
    for (let length = 0; length < sample.length; length++) {
      const tried = await attempt(sample.slice(0, length), optionsAt(length));
      expectTame(tried, () => `cut at ${length}`);
    }
  }, 60_000);

  it("a file that shrinks while it is read", async () => {
    for (let length = 0; length < sample.length; length += 7) {
      const source = bytesSource(sample, "model.onnx");
      const slice = (start: number, end: number) => source.slice(Math.min(start, length), Math.min(end, length));
      const tried = await attempt({ ...source, slice });
      expectRefusal(tried, /./);
    }
  });

  // Of the values of tensors, which are more than half of the sample and which nothing but values depends on, every ninth
  // byte: each of a float's four bytes comes up in turn. All the others are changed, one by one.
  const isTried = Array.from(sample, () => true);
  for (const [seed, size] of [
    [1, 128],
    [5, 96],
    [6, 96],
  ] as const) {
    const stored = bytesOf(normals(randomOf(seed), size));
    const start = Buffer.from(sample).indexOf(stored);
    if (start < 0) throw new Error("the sample does not hold these values");
    for (let i = 0; i < stored.length; i++) isTried[start + i] = i % 9 === 0;
  }

  it.each([0x01, 0x80, 0xff])(
    "a byte changed by %i, any of them",
    async (mask) => {
      for (let at = 0; at < sample.length; at++) {
        if (!isTried[at]) continue;
        const bytes = sample.slice();
        bytes[at]! ^= mask;
        const start = performance.now();
        expectTame(await attempt(bytes, optionsAt(at)), () => `byte ${at} changed by ${mask}`);
        const took = performance.now() - start;
        if (took >= 2000) throw new Error(`byte ${at} changed by ${mask}: took ${took} ms`);
      }
    },
    120_000,
  );

  it("bytes put in, taken out and changed", async () => {
    const edit = fc.tuple(fc.nat(sample.length - 1), fc.nat(8), fc.uint8Array({ maxLength: 8 }));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.nat(3), async (edits, form) => {
        const bytes = edits.reduce(
          (all, [at, gone, put]) => concat([all.slice(0, at), put, all.slice(at + gone)]),
          sample,
        );
        expectTame(await attempt(bytes, optionsAt(form)), () => "edited");
      }),
      { seed: 1, numRuns: 1500 },
    );
  }, 120_000);

  it("any bytes at all", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expectTame(await attempt(concat([integer(1, 8), bytes])), () => "random");
        expectTame(await attempt(concat([integer(1, 8), field(7, bytes)])), () => "random in a graph");
      }),
      { seed: 2, numRuns: 1500 },
    );
  }, 120_000);

  it("graphs of nodes that make no sense", async () => {
    const names = ["W", "V", "x", "a", "b", "c", "s", ""];
    const ops = ["MatMul", "Gemm", "Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Conv"];
    const name = fc.constantFrom(...names);
    const each = fc.record({
      op: fc.constantFrom(...ops, "LSTM", "Einsum", "ConvTranspose", "Add"),
      inputs: fc.array(name, { maxLength: 3 }),
      axis: fc.integer({ min: -4, max: 4 }),
      flag: fc.nat(1),
    });
    const shape = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 4 });
    const integersOf = fc.array(fc.integer({ min: -2, max: 12 }), { maxLength: 4 });
    const parts = fc.record({ nodes: fc.array(each, { maxLength: 6 }), v: shape, s: integersOf, form: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(parts, async ({ nodes, v, s, form }) => {
        const size = v.reduce((a, b) => a * b, 1);
        // Outputs are new names in order, so that there are no circles; perm is as long as it has to be, and in range.
        const made = nodes.map(({ op, inputs, axis, flag }, i) => {
          const known = [...inputs.filter((input) => names.indexOf(input) < 3), i > 0 ? `o${i - 1}` : "W"];
          const attributes = op === "Flatten" || op === "Gather" ? { axis } : op === "Gemm" ? { transB: flag } : {};
          const second = ["Reshape", "Squeeze", "Unsqueeze", "Gather"].includes(op) ? "s" : known.at(-2);
          return node(op, op === "Transpose" ? known[0]! : `${known[0]} ${second ?? ""}`.trim(), `o${i}`, attributes);
        });
        const bytes = modelOf({
          nodes: [...made, node("MatMul", "x W", "y")],
          initializers: [
            w,
            tensor("V", "float32", v, new Float32Array(size).fill(0.5)),
            tensor("s", "int64", [s.length], s),
          ],
        });
        expectTame(await attempt(bytes, optionsAt(form)), () => "senseless");
      }),
      // Each takes several times as long as those above; there are 14 operators, so that each comes up some 200 times.
      { seed: 3, numRuns: 900 },
    );
  }, 120_000);
});

describe("data in other files", () => {
  // As long as codes have to be to go to a file of their own.
  const long = normals(randomOf(8), 64 * 24);
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-bad-"));
    await mkdir(join(folder, "model", "below", "folder"), { recursive: true });
    const all = new Uint8Array(bytesOf(long));
    await writeFile(join(folder, "outside.bin"), all);
    await writeFile(join(folder, "model", "w.bin"), all);
    await writeFile(join(folder, "model", "short.bin"), all.slice(0, 1000));
    await writeFile(join(folder, "model", "empty.bin"), "");
    await writeFile(join(folder, "model", "below", "w.bin"), all);
    await symlink(join(folder, "outside.bin"), join(folder, "model", "link.bin"));
    await symlink("../outside.bin", join(folder, "model", "relative.bin"));
    await symlink(folder, join(folder, "model", "up"));
    await symlink("w.bin", join(folder, "model", "inner.bin"));
    await symlink("nowhere.bin", join(folder, "model", "dangling.bin"));
    await symlink("round.bin", join(folder, "model", "round.bin"));
    execFileSync("mkfifo", [join(folder, "model", "pipe.bin")]);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const whole = String(long.byteLength);
  const external = (entries: Readonly<Record<string, string>>, name = "W") =>
    tensor(name, "float32", [64, 24], [], { store: { kind: "external", entries } });

  async function tryFile(bytes: Uint8Array, options: QuantizeModelOptions = {}) {
    const path = join(folder, "model", "model.onnx");
    await writeFile(path, bytes);
    const output = join(folder, "out.onnx");
    const before = await readdir(folder);
    const source = await fileSource(path);
    try {
      const sink = await fileSink(output);
      const error = await quantizeModel(engine, source, sink, options).then(
        () => undefined,
        (cause: unknown) => cause as Error,
      );
      const added = (await readdir(folder)).filter((name) => !before.includes(name));
      await rm(output, { force: true });
      await rm(`${output}.data`, { force: true });
      return { error, added };
    } finally {
      await source.close();
    }
  }

  it.each<[string, Record<string, string>, RegExp]>([
    ["an absolute path", { location: "/etc/passwd" }, /leads out of the model's folder/],
    ["a path with .. at the start", { location: "../outside.bin" }, /leads out of the model's folder/],
    ["a path with .. within", { location: "below/../../outside.bin" }, /leads out of the model's folder/],
    ["a path with .. that stays within", { location: "below/../w.bin" }, /leads out of the model's folder/],
    ["a path with \\..\\", { location: "below\\..\\..\\outside.bin" }, /leads out of the model's folder/],
    ["a path on drive C", { location: "C:\\outside.bin" }, /leads out of the model's folder/],
    ["a path on another machine", { location: "\\\\server\\share\\w.bin" }, /leads out of the model's folder/],
    ["a path with a zero byte", { location: "w.bin\0.txt" }, /leads out of the model's folder/],
    ["a link to the outside", { location: "link.bin" }, /link out of the model's folder/],
    ["a relative link to the outside", { location: "relative.bin" }, /link out of the model's folder/],
    ["a folder that is a link to the outside", { location: "up/outside.bin" }, /link out of the model's folder/],
    ["a link to nowhere", { location: "dangling.bin" }, /no such file/],
    ["a link to itself", { location: "round.bin" }, /cannot be/],
    ["a file that is missing", { location: "missing.bin" }, /no such file/],
    ["a file in a folder that is missing", { location: "missing/w.bin" }, /no such file/],
    ["a file as a folder", { location: "w.bin/w.bin" }, /no such file/],
    ["a folder", { location: "below" }, /folder/],
    ["a pipe", { location: "pipe.bin" }, /not a file/],
    ["no location", { offset: "0" }, /not named/],
    ["an empty location", { location: "" }, /not named/],
    ["a location of 5000 letters", { location: "x".repeat(5000) }, /too long/],
    ["a file too short", { location: "short.bin" }, /claims \[64, 24\].* 1000 are there/],
    ["an empty file", { location: "empty.bin" }, /claims .* 0 are there/],
    ["an offset too far", { location: "w.bin", offset: "8" }, /claims .* from byte 8/],
    ["an offset beyond the end", { location: "w.bin", offset: "999999" }, /claims .* 0 are there from byte 999999/],
    ["a negative offset", { location: "w.bin", offset: "-8" }, /offset "-8"/],
    ["an offset that is no number", { location: "w.bin", offset: "zero" }, /offset "zero"/],
    ["an offset in hexadecimal", { location: "w.bin", offset: "0x0" }, /offset "0x0"/],
    ["an offset of 30 digits", { location: "w.bin", offset: "9".repeat(30) }, /offset "9+"/],
    ["a length too short", { location: "w.bin", length: "100" }, /claims .*100/],
    ["a length too long", { location: "w.bin", length: "4000000000" }, /claims /],
    ["a negative length", { location: "w.bin", length: "-6144" }, /length "-6144"/],
    ["the model itself, too short", { location: "model.onnx" }, /claims /],
  ])("%s", async (_, entries, says) => {
    const { error, added } = await tryFile(modelOf({ initializers: [external(entries)] }));
    expect(isWasmQuantError(error, "format"), error?.stack).toBe(true);
    expect(error!.message).toMatch(/model\.onnx: tensor "W": /);
    expect(error!.message).toMatch(says);
    expect(error!.message).not.toMatch(/[\n\r]/);
    expect(added).toEqual([]);
  });

  it.each([
    ["a link within the folder", { location: "inner.bin" }],
    ["a folder below", { location: "below/w.bin", offset: "0", length: whole }],
    ["an empty offset and an empty length", { location: "w.bin", offset: "", length: "" }],
    ["a checksum, which no one holds it against", { location: "w.bin", checksum: "0".repeat(40) }],
    ["a key yet to come", { location: "w.bin", future: "?" }],
  ])("%s is fine", async (_, entries) => {
    const { error, added } = await tryFile(modelOf({ initializers: [external(entries)] }));
    expect(error).toBeUndefined();
    expect(added.sort()).toEqual(["out.onnx", "out.onnx.data"]);
  });

  it("in a Constant node, in a graph within", async () => {
    const inner = graph({
      name: "inner",
      nodes: [
        node("Constant", "", "k", { value: { tensor: external({ location: "../w.bin" }, "") } }),
        node("MatMul", "x k", "i"),
      ],
      outputs: [value("i", "float32")],
    });
    const nodes = [matMul, node("If", "x", "z", { then_branch: { graph: inner }, else_branch: { graph: inner } })];
    const { error, added } = await tryFile(modelOf({ nodes }));
    expect(isWasmQuantError(error, "format"), error?.stack).toBe(true);
    expect(error!.message).toMatch(/leads out of the model's folder/);
    expect(added).toEqual([]);
  });

  it("a model that would be refused for another reason leaves no file beside it either", async () => {
    const holed = long.slice();
    holed[5] = Number.NEGATIVE_INFINITY;
    await writeFile(join(folder, "model", "holed.bin"), bytesOf(holed));
    const { error, added } = await tryFile(modelOf({ initializers: [external({ location: "holed.bin" })] }));
    expect(error!.message).toMatch(/model\.onnx: tensor "W": holds -Infinity at flat index 5/);
    expect(added).toEqual([]);
  });

  it("a data file that is there already is not overwritten", async () => {
    await writeFile(join(folder, "out.onnx.data"), "mine");
    const path = join(folder, "model", "model.onnx");
    await writeFile(path, modelOf({ initializers: [external({ location: "w.bin" })] }));
    const source = await fileSource(path);
    const sink = await fileSink(join(folder, "out.onnx"));
    await expect(quantizeModel(engine, source, sink)).rejects.toThrow(/out\.onnx\.data: exists already/);
    await source.close();
    expect(await readFile(join(folder, "out.onnx.data"), "utf8")).toBe("mine");
    expect((await readdir(folder)).sort()).toEqual(["model", "out.onnx.data", "outside.bin"]);
    await rm(join(folder, "out.onnx.data"));
  });

  it("a source that has no other files, or not this one", async () => {
    const bytes = modelOf({ initializers: [external({ location: "w.bin" })] });
    const { sibling: _, ...alone } = bytesSource(bytes, "model.onnx");
    await expectRefused(alone, /tensor "W": .*"w\.bin".*only the model was given/);
    const others = bytesSource(bytes, "model.onnx", { "other.bin": bytesOf(long) });
    await expectRefused(others, /tensor "W": its data cannot be had: w\.bin: is not among the files given$/);
    expect((await attempt(bytesSource(bytes, "model.onnx", { "w.bin": bytesOf(long) }))).error).toBeUndefined();
  });

  it("a sink that has no place for them", async () => {
    const source: ByteSource = {
      ...bytesSource(modelOf({ initializers: [external({ location: "w.bin" })] }), "model.onnx"),
      sibling: async () => bytesSource(new Uint8Array(bytesOf(long)), "w.bin"),
    };
    const { sink, told } = spySink();
    const { companion: _, ...without } = sink;
    const error = await quantizeModel(engine, source, without).catch((cause: unknown) => cause);
    expectRefusal({ error, told }, /^sink: /, "argument");
  });

  it("gigabytes claimed of a small file", async () => {
    const claim = tensor("W", "float32", [2 ** 15, 2 ** 15], [], {
      store: { kind: "external", entries: { location: "w.bin", length: String(2 ** 32) } },
    });
    const before = process.memoryUsage().rss;
    const { error } = await tryFile(modelOf({ initializers: [claim] }));
    expect(error!.message).toMatch(/tensor "W": claims \[32768, 32768\]/);
    expect(process.memoryUsage().rss - before).toBeLessThan(1 << 26);
  });
});
