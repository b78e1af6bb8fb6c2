import { InferenceSession } from "onnxruntime-node";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeOptions } from "../../src/engine/tensors/quantize-options.ts";
import { bytesOf, type FloatTensor } from "../../src/engine/tensors/tensor.ts";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import {
  attribute,
  type Cut,
  concat,
  cut,
  double,
  entryOf,
  field,
  float,
  functionOf,
  graph,
  graphIn,
  graphsIn,
  integer,
  model,
  node,
  numbers,
  opsetOf,
  padded,
  paddedField,
  payloads,
  readGraph,
  type Storage,
  sparseTensor,
  tensor,
  texts,
  unknownFields,
  value,
} from "../helpers/onnx-build.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { halvesOf } from "../helpers/sessions.ts";

// What no pass changes comes out as the bytes it came in as, whatever an exporter has put there and however it was
// encoded; and what is quantized restores to what the engine says, to the bit.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const rows = 96;
const columns = 24;
const values = normals(randomOf(7), rows * columns);
const long = (text: string, length = 5000) => text.repeat(Math.ceil(length / text.length));

/** Everything that a model may hold beside its weights, at every level; `size` says how long documentation is. */
function richModel({ weights = true, size = 20 } = {}): Uint8Array {
  const doc = long("words ", size);
  const small = tensor("bias", "float32", [columns], values.slice(0, columns), {
    doc: `bias ${doc}`,
    extra: unknownFields("tensor"),
  });
  const body = (name: string) =>
    graph({
      name,
      doc,
      nodes: [
        node("Identity", "y0", `${name}_y`, { strange: attribute("strange", 5, unknownFields("inner attribute")) }),
      ],
      outputs: [value(`${name}_y`, "float32[2,n]")],
      extra: unknownFields(`${name} graph`),
    });
  const main = graph({
    doc,
    nodes: [
      node("MatMul", weights ? "x W" : "x z", "y0", {}, { doc, extra: unknownFields("node") }),
      node("Add", "y0 bias", "y1", {}, { name: "" }),
      node("If", "flag", "y2", {
        then_branch: attribute("then_branch", { graph: body("then") }, unknownFields("attribute")),
        else_branch: { graph: body("else") },
      }),
      node("Softmax", "y1", "y3", { axis: -1, unused: { strings: ["a", doc] }, more: { floats: [1, 2.5] } }),
      node("Shrink", "y3", "y", { bias: { float: 0.25 }, lambd: attribute("lambd", { float: 0.5 }, float(99, 2)) }),
      node("twice", "y", "y4", { of: doc, lists: [1, 2, 3] }, { domain: "local", extra: integer(88, 4) }),
    ],
    initializers: [
      small,
      ...(weights ? [tensor("W", "float32", [rows, columns], values)] : []),
      tensor("text", "string", [2], new Uint8Array(0), { extra: concat([field(6, "one"), field(6, doc)]) }),
      tensor("future", "int4", [3], Uint8Array.of(0x21, 0x03)),
    ],
    inputs: [value("x", `float32[2,${rows}]`), value("z", "float32"), value("flag", "bool[]")],
    outputs: [value("y", "float32[batch,?]", { doc }), value("y2", "float32"), value("y4", "float32")],
    values: [value("y1", "float32[2,n]", { extra: unknownFields("value info") })],
    sparse: [
      sparseTensor(
        tensor("sparse", "float32", [2], [1, 2], { doc, extra: unknownFields("sparse") }),
        tensor("", "int64", [2], [0, 7]),
        [columns],
      ),
    ],
    annotations: [concat([field(1, "y1"), field(2, entryOf(["SCALE_TENSOR", "bias"])), unknownFields("annotation")])],
    extra: unknownFields("graph"),
  });
  return model({
    ir: 8,
    opsets: { "": 13, local: 1, "com.example": 3 },
    graph: main,
    doc,
    metadata: { author: "nobody", license: doc },
    functions: [
      functionOf({
        ...{ name: "twice", domain: "local", inputs: ["a"], outputs: ["b"], opsets: { "": 13 } },
        nodes: [
          node("Constant", "", "two", { value: { tensor: tensor("two", "float32", [rows, columns], values) } }),
          node("Add", "a a", "b", {}, { doc, extra: unknownFields("function node") }),
        ],
        extra: unknownFields("function"),
      }),
    ],
    trainingInfo: [
      concat([
        field(1, graph({ name: "initialization", nodes: [], outputs: [], initializers: [small] })),
        field(2, graph({ name: "algorithm", doc, nodes: [node("Add", "bias bias", "next")], outputs: [] })),
        field(3, entryOf(["bias", "next"])),
        unknownFields("training"),
      ]),
    ],
    extra: unknownFields("model"),
  });
}

const plainNodes = [node("Relu", "x", "y")];
const plainGraph = graph({
  nodes: plainNodes,
  inputs: [value("x", "float32[2]")],
  outputs: [value("y", "float32[2]")],
});
const plainInput = paddedField(11, value("x", "float32[2]"), 2);
const opset13 = field(8, opsetOf(["", 13]));

/** Bytes that no encoder of ours would make, and that mean a model all the same. */
const oddities: Readonly<Record<string, Uint8Array>> = {
  "lengths as padded varints": concat([
    Uint8Array.of(0x08),
    padded(8, 3),
    paddedField(7, concat([plainInput, paddedField(1, plainNodes[0]!), paddedField(12, value("y", "float32"), 3)])),
    paddedField(8, opsetOf(["", 13]), 2),
  ]),
  "tags as padded varints": concat([
    concat([padded(0x08, 2), padded(8, 10)]),
    concat([padded(0x3a, 5), padded(plainGraph.length, 5), plainGraph]),
    opset13,
  ]),
  "the graph first, the version last": concat([field(7, plainGraph), opset13, integer(1, 8)]),
  "nodes after outputs": concat([
    integer(1, 8),
    field(7, concat([field(12, value("y", "float32[2]")), field(2, "g"), plainInput, field(1, plainNodes[0]!)])),
    opset13,
  ]),
  "a version said twice": concat([integer(1, 3), integer(1, 8), field(7, plainGraph), opset13]),
  "no version": concat([field(7, plainGraph), opset13]),
  "an opset import for ai.onnx": concat([integer(1, 8), field(7, plainGraph), field(8, opsetOf(["ai.onnx", 13]))]),
  "no opset imports": concat([integer(1, 3), field(7, plainGraph)]),
  "names that are no UTF-8": concat([
    integer(1, 8),
    field(
      7,
      concat([
        field(2, Uint8Array.of(0xff, 0xfe)),
        field(
          1,
          concat([
            field(1, "x"),
            field(2, Uint8Array.of(0x79, 0xc3)),
            field(4, "Relu"),
            field(3, Uint8Array.of(0xed, 0xa0, 0x80)),
          ]),
        ),
        field(11, value("x", "float32[2]")),
        field(12, concat([field(1, Uint8Array.of(0x79, 0xc3))])),
      ]),
    ),
    opset13,
  ]),
  "dims packed and not": concat([
    integer(1, 8),
    field(
      7,
      concat([
        plainGraph,
        field(5, tensor("a", "float32", [2, 3], values.slice(0, 6), { packedDims: true })),
        field(5, tensor("b", "float32", [2, 3], values.slice(0, 6))),
        field(5, concat([tensor("c", "float32", [1], [1]), field(1, Uint8Array.of(1, 1))])),
      ]),
    ),
    opset13,
  ]),
  "an attribute of each kind": concat([
    integer(1, 8),
    field(
      7,
      concat([
        plainGraph,
        field(
          1,
          node(
            "Everything",
            "x",
            "e",
            {
              ...{ i: 1, s: "text", ints: [1, -1], f: { float: 0.1 }, floats: { floats: [1e-40] } },
              ...{ strings: { strings: ["", "x"] }, t: { tensor: tensor("", "float32", [1], [1]) } },
              ...{ tensors: { tensors: [tensor("t", "float32", [2, 2], [1, 2, 3, 4])] } },
              ...{ g: { graph: plainInner("g") }, graphs: { graphs: [plainInner("h"), plainInner("i")] } },
              packed: concat([field(1, "packed"), field(8, Uint8Array.of(1, 2, 3)), integer(20, 7)]),
              empty: concat([field(1, "empty")]),
              future: concat([field(1, "future"), field(77, "?"), integer(20, 99)]),
            },
            { domain: "com.example" },
          ),
        ),
      ]),
    ),
    opset13,
  ]),
  "a tensor type yet to come": concat([
    integer(1, 99),
    field(7, concat([plainGraph, field(5, concat([integer(1, 2 ** 40), integer(2, 99), field(8, "later")]))])),
    opset13,
  ]),
};

function plainInner(name: string): Uint8Array {
  return graph({ name, nodes: [node("Relu", "x", `${name}_y`)], outputs: [value(`${name}_y`, "float32")] });
}

describe("a model with nothing to quantize comes out as it went in", () => {
  it.each([20, 5000, 20_000, 70_000])("with all that may be in a model, documentation of %i bytes", async (size) => {
    const bytes = richModel({ weights: false, size });
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });

  it("with its weights excluded", async () => {
    const bytes = richModel();
    const result = await quantized(bytes, { exclude: ["*"] });
    expect(result.bytes).toEqual(bytes);
    expect(result.report).toMatchObject({ bytesBefore: bytes.length, bytesAfter: bytes.length });
  });

  it("at the opset that is asked for", async () => {
    const bytes = richModel();
    expect((await quantized(bytes, { exclude: ["*"], opset: 13 })).bytes).toEqual(bytes);
  });

  it.each(Object.keys(oddities))("%s", async (name) => {
    const bytes = oddities[name]!;
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });

  it("a sparse initializer of many values", async () => {
    const bytes = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: plainNodes,
        inputs: [value("x", "float32[2]")],
        outputs: [value("y", "float32[2]")],
        sparse: [
          sparseTensor(
            tensor("S", "float32", [4000], new Float32Array(4000)),
            tensor(
              "",
              "int64",
              [1200],
              Array.from({ length: 1200 }, (_, i) => i),
            ),
            [5000],
          ),
        ],
      }),
    });
    expect((await quantized(bytes)).bytes).toEqual(bytes);
  });
});

/** What `after` has that `before` had not, and the other way round; what both have is in the same order in both. */
function differences(before: Uint8Array, after: Uint8Array): { gone: Cut[]; added: Cut[] } {
  const [a, b] = [cut(before), cut(after)];
  const left = countsOf(b);
  const gone = a.filter((each) => !takeOne(left, each));
  const right = countsOf(a);
  const added = b.filter((each) => !takeOne(right, each));
  for (const number of new Set(a.map((each) => each.number))) {
    const kept = (cuts: Cut[], without: Cut[]) =>
      cuts.filter((each) => each.number === number && !without.includes(each)).map(keyOf);
    expect(kept(b, added)).toEqual(kept(a, gone));
  }
  return { gone, added };
}

function keyOf({ bytes }: Cut): string {
  return Buffer.from(bytes).toString("latin1");
}

function countsOf(cuts: readonly Cut[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const each of cuts) counts.set(keyOf(each), (counts.get(keyOf(each)) ?? 0) + 1);
  return counts;
}

function takeOne(counts: Map<string, number>, each: Cut): boolean {
  const left = counts.get(keyOf(each)) ?? 0;
  counts.set(keyOf(each), left - 1);
  return left > 0;
}

function namesOf(cuts: readonly Cut[]): string[] {
  const { node: n, tensor: t, graph: g } = numbers;
  return cuts.map(({ number, payload }) =>
    number === g.node
      ? `${texts(payload, n.opType)[0]} ${texts(payload, n.output)[0]}`
      : number === g.initializer
        ? texts(payload, t.name)[0]!
        : `field ${number}`,
  );
}

describe("around a weight that is quantized all stays as it was", () => {
  it.each([20, 5000, 20_000, 70_000])("with all that may be in a model, documentation of %i bytes", async (size) => {
    const before = richModel({ size });
    const { bytes: after } = await quantized(before);
    const inModel = differences(before, after);
    expect(inModel.gone.map(({ number }) => number)).toEqual([numbers.model.graph]);
    expect(inModel.added.map(({ number }) => number)).toEqual([numbers.model.graph]);

    const { gone, added } = differences(graphIn(before), graphIn(after));
    expect(namesOf(gone)).toEqual(["W"]);
    expect(namesOf(added)).toEqual(["Cast W_cast", "Mul W", "W_quantized", "W_scale"]);
  });

  it("in a Gather that takes codes: its name, documentation, attributes and what is unknown", async () => {
    const gather = node(
      "Gather",
      "T i",
      "y",
      { axis: attribute("axis", 0, unknownFields("attribute")) },
      { doc: long("table "), extra: unknownFields("node") },
    );
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [gather],
        initializers: [tensor("T", "float32", [rows, columns], values)],
        inputs: [value("i", "int64[2]")],
        outputs: [value("y", `float32[2,${columns}]`)],
      }),
    });
    const { bytes: after } = await quantized(before);
    const changed = readGraph(graphIn(after)).nodes.find(({ name }) => name === "Gather_of_y")!;
    const { gone, added } = differences(gather, changed.message);
    expect(gone.map(({ number, payload }) => [number, String(Buffer.from(payload))])).toEqual([
      [numbers.node.input, "T"],
      [numbers.node.output, "y"],
    ]);
    expect(added.map(({ number, payload }) => [number, String(Buffer.from(payload))])).toEqual([
      [numbers.node.input, "T_quantized"],
      [numbers.node.output, "y_codes"],
    ]);
  });

  it("in the nodes, attributes and graphs around it", async () => {
    const inner = graph({
      name: "then",
      doc: long("inner "),
      nodes: [node("MatMul", "x W", "then_y", {}, { doc: "kept" })],
      initializers: [tensor("W", "float32", [rows, columns], values), tensor("b", "float32", [1], [1])],
      outputs: [value("then_y", "float32")],
      values: [value("W", `float32[${rows},${columns}]`)],
      extra: unknownFields("graph"),
    });
    const branch = node(
      "If",
      "flag",
      "y",
      {
        then_branch: attribute("then_branch", { graph: inner }, unknownFields("attribute")),
        else_branch: attribute("else_branch", { graph: plainInner("else") }, unknownFields("other")),
      },
      { doc: "kept", extra: unknownFields("node") },
    );
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("Relu", "x", "r"), branch, node("Relu", "y", "z")],
        inputs: [value("x", `float32[2,${rows}]`), value("flag", "bool[]")],
        outputs: [value("z", "float32")],
      }),
    });
    const { bytes: after } = await quantized(before);

    const inMain = differences(graphIn(before), graphIn(after));
    expect(namesOf(inMain.gone)).toEqual(["If y"]);
    expect(namesOf(inMain.added)).toEqual(["If y"]);
    const inNode = differences(branch, inMain.added[0]!.payload);
    expect(inNode.gone.map(({ payload }) => texts(payload, 1)[0])).toEqual(["then_branch"]);
    const inAttribute = differences(inNode.gone[0]!.payload, inNode.added[0]!.payload);
    expect(inAttribute.gone.map(({ number }) => number)).toEqual([numbers.attribute.g]);
    expect(inAttribute.added.map(({ number }) => number)).toEqual([numbers.attribute.g]);
    const inGraph = differences(inner, inAttribute.added[0]!.payload);
    expect(namesOf(inGraph.gone)).toEqual(["W"]);
    expect(namesOf(inGraph.added)).toEqual(["Cast W_cast", "Mul W", "W_quantized", "W_scale"]);
  });

  it("in a list of graphs, in those that have no weights", async () => {
    const lists = (weights: boolean) =>
      ["g", "h", "i"].map((name) =>
        weights && name === "h"
          ? graph({
              name,
              nodes: [node("MatMul", "x W", "h_y")],
              initializers: [tensor("W", "float32", [rows, columns], values)],
              outputs: [value("h_y", "float32")],
            })
          : plainInner(name),
      );
    const before = model({
      opsets: { "": 13, "com.example": 1 },
      graph: graph({
        nodes: [node("Many", "x", "y", { bodies: { graphs: lists(true) } }, { domain: "com.example" })],
        inputs: [value("x", `float32[2,${rows}]`)],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes: after } = await quantized(before);
    const bodies = readGraph(graphIn(after)).nodes[0]!.attributes.get("bodies")!;
    const graphs = payloads(bodies, numbers.attribute.graphs);
    expect(graphs.map((each) => texts(each, 2)[0])).toEqual(["g", "h", "i"]);
    expect([graphs[0], graphs[2]]).toEqual([lists(true)[0], lists(true)[2]]);
    expect(readGraph(graphs[1]!).initializers.map(({ name }) => name)).toEqual(["W_quantized", "W_scale"]);
  });

  it("whatever order its fields are in, and however their lengths are written", async () => {
    const w = tensor("W", "float32", [rows, columns], values);
    const parts = [
      paddedField(12, value("y", "float32"), 2),
      paddedField(5, w, 4),
      field(13, value("t", "float32")),
      paddedField(1, node("MatMul", "x W", "t"), 3),
      field(950, "between"),
      paddedField(11, value("x", `float32[2,${rows}]`), 5),
      paddedField(1, node("Relu", "t", "y"), 5),
    ];
    const before = concat([paddedField(8, opsetOf(["", 13]), 3), paddedField(7, concat(parts), 5), integer(1, 8)]);
    const { bytes: after } = await quantized(before);
    const got = cut(graphIn(after));
    // Nodes that were not touched keep their payload; the lengths before them are written anew.
    const payloadsOf = (cuts: readonly Cut[]) => cuts.map(({ payload }) => Buffer.from(payload).toString("latin1"));
    for (const part of parts.filter((each) => each !== parts[1])) {
      expect(payloadsOf(got)).toContain(payloadsOf(cut(part))[0]);
    }
    expect(cut(after).map(({ number }) => number)).toEqual([8, 7, 1]);
  });

  it("names that are no UTF-8", async () => {
    const name = Uint8Array.of(0x57, 0xff, 0xc3);
    const other = Uint8Array.of(0x57, 0xfe, 0xc3);
    const w = (bytes: Uint8Array, seed: number) =>
      concat([
        tensor("", "float32", [rows, columns], normals(randomOf(seed), rows * columns)),
        field(numbers.tensor.name, bytes),
      ]);
    const matMul = (bytes: Uint8Array, output: string) =>
      concat([field(1, "x"), field(1, bytes), field(2, output), field(4, "MatMul")]);
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [matMul(name, "y"), matMul(other, "z")],
        initializers: [w(name, 1), w(other, 2)],
        inputs: [value("x", `float32[2,${rows}]`)],
        outputs: [value("y", "float32"), value("z", "float32")],
      }),
    });
    const { bytes: after, report } = await quantized(before);
    expect(report.tensors.map(({ to }) => to)).toEqual(["int8", "int8"]);
    const { gone, added } = differences(graphIn(before), graphIn(after));
    expect(gone.map(({ number }) => number)).toEqual([5, 5]);
    const outputs = added
      .filter(({ number }) => number === numbers.graph.node)
      .map(({ payload }) => Buffer.from(payloads(payload, numbers.node.output)[0]!));
    expect(outputs.filter((each) => each.equals(name) || each.equals(other))).toHaveLength(2);
    expect(texts(added.find(({ number }) => number === 5)!.payload, 8)[0]).toMatch(/_quantized$/);
  });
});

type HalfType = "float16" | "bfloat16";

function bfloat16sOf(floats: Float32Array): Uint16Array {
  return Uint16Array.from(new Uint32Array(floats.slice().buffer), (bits) => bits >>> 16);
}

const halves: Readonly<Record<HalfType, Uint16Array>> = { float16: halvesOf(values), bfloat16: bfloat16sOf(values) };

function weightOf(type: "float32" | HalfType): FloatTensor {
  const shape = [rows, columns];
  return type === "float32" ? { shape, data: values } : { dtype: type, shape, data: halves[type] };
}

/** A MatMul with W as its weight, and W a second output. */
function withOutput(type: "float32" | HalfType, opset = 21, ir = 10, store?: Storage | Storage["kind"]): Uint8Array {
  const elements = type === "float32" ? values : halves[type];
  const narrow = type === "bfloat16";
  const w = tensor("W", type, [rows, columns], elements, store === undefined ? {} : { store });
  return model({
    ir,
    opsets: { "": opset },
    graph: graph({
      nodes: [
        node("Cast", "W", "Wf", { to: 1 }),
        node("MatMul", "x Wf", "y"),
        // JavaScript has no bfloat16: what is inside one shows in float32.
        ...(narrow ? [node("Cast", "W", "shown", { to: 1 })] : []),
      ],
      initializers: [w],
      inputs: [value("x", `float32[2,${rows}]`)],
      outputs: [
        value("y", `float32[2,${columns}]`),
        narrow ? value("shown", `float32[${rows},${columns}]`) : value("W", `${type}[${rows},${columns}]`),
      ],
    }),
  });
}

describe("storage", () => {
  const stores: readonly (Storage | Storage["kind"])[] = [
    "raw",
    "packed",
    "unpacked",
    { kind: "pieces", pieces: 1 },
    { kind: "pieces", pieces: 7 },
  ];
  const cases = (["float32", "float16", "bfloat16"] as const).flatMap((type) =>
    stores.map((store) => ({ type, store, title: `${type} ${JSON.stringify(store)}` })),
  );

  it.each(cases)("$title gives the codes of the engine", async ({ type, store }) => {
    const { bytes } = await quantized(withOutput(type, 13, 8, store));
    const { initializers } = readGraph(graphIn(bytes));
    const want = engine.quantize(weightOf(type), { dtype: "int8", axis: 1 });
    expect(initializers.map(({ name }) => name)).toEqual(["W_quantized", "W_scale"]);
    expect(initializers[0]!.raw).toEqual(bytesOf(want.data));
    expect(initializers[1]!.raw).toEqual(bytesOf(want.scale));
  });

  it("typed fields among others, and pieces of both kinds", async () => {
    const t = numbers.tensor;
    const some = (from: number, to: number) => bytesOf(values.slice(from, to));
    const w = concat([
      field(t.floatData, some(0, 100)),
      field(t.name, "W"),
      concat(Array.from(values.slice(100, 110), (x) => float(t.floatData, x))),
      integer(t.dims, rows),
      field(t.floatData, some(110, rows * columns)),
      double(777, 1),
      integer(t.dataType, 1),
      integer(t.dims, columns),
    ]);
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y")],
        initializers: [w],
        inputs: [value("x", "float32")],
        outputs: [value("y", "float32")],
      }),
    });
    const { bytes } = await quantized(before);
    const want = engine.quantize(weightOf("float32"), { dtype: "int8", axis: 1 });
    expect(readGraph(graphIn(bytes)).initializers[0]!.raw).toEqual(bytesOf(want.data));
  });

  it("Buffers, wherever in them a model starts", async () => {
    const bytes = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("Reshape", "W s", "V"), node("MatMul", "x V", "y")],
        initializers: [
          tensor("W", "float32", [8, rows / 8, columns], values),
          tensor("s", "int64", [2], [rows, columns]),
        ],
        inputs: [value("x", "float32")],
        outputs: [value("y", "float32")],
      }),
    });
    const want = await quantized(bytes);
    expect(want.report.tensors).toMatchObject([{ name: "W", to: "int8" }]);
    for (const offset of [0, 1, 2, 4]) {
      const buffer = Buffer.concat([Buffer.alloc(offset), bytes]).subarray(offset);
      expect((await quantized(buffer)).bytes).toEqual(want.bytes);
    }
  });

  it("float64 stays", async () => {
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [node("MatMul", "x W", "y")],
        initializers: [tensor("W", "float64", [rows, columns], values)],
        inputs: [value("x", "float64")],
        outputs: [value("y", "float64")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(bytes).toEqual(before);
    expect(report.tensors).toMatchObject([{ name: "W", to: "float64", reason: "float64" }]);
  });
});

interface Restoring {
  readonly title: string;
  readonly options: QuantizeModelOptions;
  readonly how: QuantizeOptions;
}

const restorings: readonly Restoring[] = (["int8", "uint8", "int16", "uint16", "int4", "uint4"] as const).flatMap(
  (dtype) =>
    (["symmetric", "asymmetric"] as const).flatMap((scheme) =>
      (["cast", "qdq"] as const)
        .filter((format) => format === "qdq" || !dtype.endsWith("4"))
        .flatMap((format) =>
          [
            { title: "per tensor", options: { perChannel: false }, how: {} },
            { title: "per channel", options: {}, how: { axis: 1 } },
            { title: "in blocks of 16", options: { blockSize: 16 }, how: { axis: 0, blockSize: 16 } },
            { title: "in blocks with a tail", options: { blockSize: 12 }, how: { axis: 0, blockSize: 12 } },
            { title: "leaving half of the codes", options: { reduceRange: true }, how: { axis: 1, reduceRange: true } },
          ].map(({ title, options, how }) => ({
            title: `${format} ${dtype} ${scheme} ${title}`,
            options: { dtype, scheme, format, ...options },
            how: { dtype, scheme, narrowRange: scheme === "symmetric" && /^uint(8|16)$/.test(dtype), ...how },
          })),
        ),
    ),
);

/** As the file has it: no optimization folds or fuses a node. */
async function valuesOf(bytes: Uint8Array, output: string): Promise<Uint8Array> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const { Tensor } = await import("onnxruntime-node");
    const x = new Tensor("float32", new Float32Array(2 * rows), [2, rows]);
    const results = await session.run({ x });
    return bytesOf(results[output]!.data as Float32Array).slice();
  } finally {
    await session.release();
  }
}

describe("a weight restored in ONNX Runtime is what the engine restores, to the bit", () => {
  it.each(restorings)("float32, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("float32"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", to: options.dtype });
    const q = engine.quantize(weightOf("float32"), how);
    expect(await valuesOf(bytes, "W")).toEqual(bytesOf(engine.dequantize(q).data));
    const { sqnr, maxAbs } = engine.error(weightOf("float32"), q);
    expect(report.tensors[0]).toMatchObject({ sqnr, maxAbs });
  });

  // 16-bit codes of a 16-bit weight would not make it smaller.
  const narrower = restorings.filter(({ options }) => !options.dtype!.endsWith("16"));

  it.each(narrower)("float16, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("float16"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", from: "float16", to: options.dtype });
    const q = engine.quantize(weightOf("float16"), how);
    expect(await valuesOf(bytes, "W")).toEqual(bytesOf(engine.dequantize(q, { dtype: "float16" }).data));
  });

  it.each(narrower)("bfloat16, $title", async ({ options, how }) => {
    const { bytes, report } = await quantized(withOutput("bfloat16"), options);
    expect(report.tensors[0]).toMatchObject({ name: "W", from: "bfloat16", to: options.dtype });
    const q = engine.quantize(weightOf("bfloat16"), how);
    const restored = engine.dequantize(q, { dtype: "bfloat16" }).data;
    const widened = Uint32Array.from(restored, (bits) => bits << 16);
    expect(await valuesOf(bytes, "shown")).toEqual(bytesOf(widened));
  });
});

/** A source that counts the bytes that are read of it. */
function counting(bytes: Uint8Array): ByteSource & { read: () => number } {
  let read = 0;
  const source = bytesSource(bytes, "large.onnx");
  const slice = (start: number, end: number) => {
    read += end - start;
    return source.slice(start, end);
  };
  return { name: source.name, byteLength: bytes.length, slice, read: () => read } as never;
}

describe("the structure of a large file is read without its weights", () => {
  const megabytes = new Float32Array(1 << 20);
  const large = (name: string, store?: Storage["kind"]) =>
    tensor(name, "float32", [1024, 1024], store === "packed" ? megabytes : bytesOf(megabytes), store ? { store } : {});
  const around = (nodes: readonly Uint8Array[], initializers: readonly Uint8Array[]) =>
    model({
      opsets: { "": 13 },
      graph: graph({ nodes, initializers, inputs: [value("x", "float32")], outputs: [value("y", "float32")] }),
    });
  const body = graph({
    nodes: [node("MatMul", "x W2", "inner")],
    initializers: [large("W2")],
    outputs: [value("inner", "float32")],
  });

  it.each([
    ["raw_data", around([node("MatMul", "x W", "y")], [large("W")]), 1],
    ["float_data", around([node("MatMul", "x W", "y")], [large("W", "packed")]), 1],
    [
      "a Constant node",
      around([node("Constant", "", "W", { value: { tensor: large("") } }), node("MatMul", "x W", "y")], []),
      1,
    ],
    [
      "graphs within graphs",
      around(
        [node("If", "x", "y", { then_branch: { graph: body }, else_branch: { graph: body } })],
        [large("W"), large("V")],
      ),
      4,
    ],
  ] as const)("%s", async (_, bytes, weights) => {
    const source = counting(bytes);
    const read = await readModel(source);
    expect(read.graph.nodes.length).toBeGreaterThan(0);
    // A window of 64 KiB at the start and behind each weight.
    expect(source.read()).toBeLessThanOrEqual((weights + 1) * (1 << 16));
    expect(graphsIn(bytes).length).toBeGreaterThan(0);
  });
});
