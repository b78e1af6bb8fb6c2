import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { modelPath } from "../helpers/models.ts";
import { sharedData, skipWithout } from "../helpers/needs.ts";
import {
  attribute,
  graph,
  graphIn,
  graphsIn,
  integers,
  model,
  node,
  numbers,
  payloads,
  type ReadGraph,
  readGraph,
  tensor,
  texts,
  value,
} from "../helpers/onnx-build.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { type Feeds, type Outputs, runtimes, withSession } from "../helpers/sessions.ts";

// What a model is held to besides its weights: nodes stand behind what they take, opsets are said, and initializers are
// constants. Models that are not so come from old exporters and from tools that put nodes where it suits them.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

const W = (name: string, seed: number) => tensor(name, "float32", [32, 32], normals(randomOf(seed), 1024));
const x: Feeds = { x: { dims: [2, 32], data: normals(randomOf(9), 64, 0.2) } };
const outputsOf = (runtime: keyof typeof runtimes, bytes: Uint8Array, feeds: Feeds) =>
  withSession(runtimes[runtime](bytes), (session) => session.run(feeds));

/** How far outputs are apart, over the largest. */
function distance(a: Outputs, b: Outputs): number {
  const [p, q] = [a.y!.data as Float32Array, b.y!.data as Float32Array];
  const largest = p.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  return p.reduce((most, each, i) => Math.max(most, Math.abs(each - q[i]!)), 0) / largest;
}

async function expectSame(before: Uint8Array, after: Uint8Array, feeds: Feeds): Promise<void> {
  for (const runtime of ["node", "web"] as const) {
    expect(distance(await outputsOf(runtime, before, feeds), await outputsOf(runtime, after, feeds))).toBeLessThan(
      0.03,
    );
  }
}

/** Nodes that take what only a later node of their graph makes; `within`: what graphs within them take. */
function tooEarly({ nodes }: ReadGraph): string[] {
  const later = new Set(nodes.flatMap(({ outputs }) => outputs));
  return nodes.flatMap(({ op, inputs, outputs, attributes }) => {
    const within = [...attributes.values()].flatMap((each) =>
      payloads(each, numbers.attribute.g).flatMap((bytes) => readGraph(bytes).nodes.flatMap((inner) => inner.inputs)),
    );
    const early = [...inputs, ...within].some((name) => later.has(name));
    for (const output of outputs) later.delete(output);
    return early ? [op] : [];
  });
}

describe("nodes in another order than they run in", () => {
  const nodes = [
    node("MatMul", "x A", "a"),
    node("Relu", "a", "r"),
    node("MatMul", "r B", "b"),
    node("Add", "b a", "s"),
    node("MatMul", "s C", "y"),
  ];
  const unsorted = (order: readonly number[]) =>
    model({
      opsets: { "": 13 },
      graph: graph({
        nodes: order.map((i) => nodes[i]!),
        initializers: [W("A", 1), W("B", 2), W("C", 3)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
    });
  const orders = [
    [4, 3, 2, 1, 0],
    [1, 0, 2, 3, 4],
    [0, 1, 2, 4, 3],
    [3, 0, 4, 2, 1],
  ];

  it.each(orders.map((order) => [order]))("%j is written sorted, and runs", async (order) => {
    expect(tooEarly(readGraph(graphIn(unsorted(order)))), "the fixture").not.toEqual([]);
    for (const options of [{}, { format: "qdq" }, { blockSize: 8 }, { opset: 21 }] as const) {
      const { bytes, report } = await quantized(unsorted(order), options);
      expect(report.tensors.map(({ to }) => to)).toEqual(["int8", "int8", "int8"]);
      expect(tooEarly(readGraph(graphIn(bytes)))).toEqual([]);
      const made = readGraph(graphIn(bytes)).nodes.filter(({ name }) => /^(MatMul|Relu|Add)_of_[abrsy]$/.test(name));
      expect(made.map(({ outputs }) => outputs[0])).toEqual(["a", "r", "b", "s", "y"]);
      await expectSame(unsorted([0, 1, 2, 3, 4]), bytes, x);
    }
  });

  it("no node is lost or changed on the way", async () => {
    const { bytes } = await quantized(unsorted([4, 3, 2, 1, 0]));
    const kept = readGraph(graphIn(bytes)).nodes.map(({ message }) => Buffer.from(message).toString("latin1"));
    for (const each of nodes)
      expect(kept.filter((one) => one === Buffer.from(each).toString("latin1"))).toHaveLength(1);
    expect(kept).toHaveLength(nodes.length + 6);
  });

  it("a sorted model keeps its order, though another would do as well", async () => {
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        // Depth first, "late" would come right before its user.
        nodes: [
          node("Neg", "x", "late"),
          node("Relu", "x", "r"),
          node("MatMul", "r A", "a"),
          node("Abs", "x", "free"),
          node("Add", "a late", "y"),
        ],
        initializers: [W("A", 1)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]"), value("free", "float32")],
      }),
    });
    const { bytes } = await quantized(before);
    const own = readGraph(graphIn(bytes)).nodes.map(({ outputs }) => outputs[0]!);
    expect(own.filter((name) => !name.startsWith("A"))).toEqual(["late", "r", "a", "free", "y"]);
  });

  it("with nothing to quantize it is left as it is", async () => {
    const before = unsorted([4, 3, 2, 1, 0]);
    const { bytes, report } = await quantized(before, { exclude: ["*"] });
    expect(bytes).toEqual(before);
    expect(remarksOf(report)).toContain("nothing to do: the model is written as it was read");
  });

  it("in a graph within, and where a graph within takes what is made later", async () => {
    const body = (name: string, swap: boolean) => {
      const inner = [node("MatMul", `late ${name}_w`, `${name}_m`), node("Relu", `${name}_m`, `${name}_y`)];
      return graph({
        name,
        nodes: swap ? inner.reverse() : inner,
        initializers: [W(`${name}_w`, 4)],
        outputs: [value(`${name}_y`, "float32")],
      });
    };
    const build = (swap: boolean) => {
      const branches = node("If", "flag", "z", {
        then_branch: attribute("then_branch", { graph: body("then", swap) }),
        else_branch: attribute("else_branch", { graph: body("else", swap) }),
      });
      const outer = [node("MatMul", "x A", "late"), branches, node("Add", "z x", "y")];
      return model({
        opsets: { "": 13 },
        graph: graph({
          nodes: swap ? [outer[1]!, outer[2]!, outer[0]!] : outer,
          initializers: [W("A", 1)],
          inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
          outputs: [value("y", "float32[2,32]")],
        }),
      });
    };
    const { bytes } = await quantized(build(true));
    for (const each of graphsIn(build(true))) expect(tooEarly(each), "the fixture").not.toEqual([]);
    expect(graphsIn(bytes)).toHaveLength(3);
    for (const each of graphsIn(bytes)) expect(tooEarly(each)).toEqual([]);
    const flag = { dims: [], data: Uint8Array.of(1) };
    await expectSame(build(false), bytes, { ...x, flag });
    await expectSame(build(false), bytes, { ...x, flag: { ...flag, data: Uint8Array.of(0) } });
  });

  // ONNX forbids one name for two things only where both can be seen; runtimes find the inner one.
  it("a name within that a later node outside has as well is no circle", async () => {
    const body = (name: string) =>
      graph({
        name,
        nodes: [node("MatMul", "x A", "t"), node("Relu", "t", `${name}_y`)],
        outputs: [value(`${name}_y`, "float32")],
      });
    const before = model({
      opsets: { "": 13 },
      graph: graph({
        nodes: [
          node("If", "flag", "z", { then_branch: { graph: body("then") }, else_branch: { graph: body("else") } }),
          node("MatMul", "z B", "t"),
          node("Neg", "t", "y"),
        ],
        initializers: [W("A", 1), W("B", 2)],
        inputs: [value("x", "float32[2,32]"), value("flag", "bool[]")],
        outputs: [value("y", "float32[2,32]")],
      }),
    });
    const { bytes } = await quantized(before);
    await expectSame(before, bytes, { ...x, flag: { dims: [], data: Uint8Array.of(1) } });
  });
});

const imported = (opset: number) => `opset ${opset} of ONNX imported`;
const leave = (initializers: string) => `${initializers} listed among the graph's inputs, as old models do: no longer`;

describe("a model that does not import ONNX's own operators", () => {
  const fused = (opsets: Readonly<Record<string, number>>, ir = 10) =>
    model({
      ir,
      opsets,
      graph: graph({
        nodes: [node("FusedMatMul", "x W", "y", {}, { domain: "com.microsoft" })],
        initializers: [W("W", 1)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("y", "float32[2,32]")],
      }),
    });
  const opsetsIn = (bytes: Uint8Array) =>
    payloads(bytes, numbers.model.opsetImport).map((each) => [texts(each, 1)[0] ?? "", integers(each, 2)[0]]);

  it.each<[string, QuantizeModelOptions, number]>([
    ["cast", {}, 13],
    ["qdq", { format: "qdq" }, 13],
    ["qdq per tensor", { format: "qdq", perChannel: false }, 13],
    ["qdq in blocks", { format: "qdq", blockSize: 16 }, 21],
    ["qdq int4", { format: "qdq", dtype: "int4" }, 21],
  ])("%s: gets an opset that has it all, says so, and runs", async (_, options, opset) => {
    const { bytes, report } = await quantized(fused({ "com.microsoft": 1 }), options);
    expect(opsetsIn(bytes)).toEqual([
      ["com.microsoft", 1],
      ["", opset],
    ]);
    expect(remarksOf(report)).toContain(imported(opset));
    if (options.dtype === undefined) await expectSame(fused({ "com.microsoft": 1 }), bytes, x);
  });

  it("gets none when nothing is done, and no second one where there is one", async () => {
    const before = fused({ "com.microsoft": 1 });
    const { bytes, report } = await quantized(before, { exclude: ["*"] });
    expect(bytes).toEqual(before);
    expect(remarksOf(report).join("\n")).not.toMatch(/imported/);
    const other = await quantized(fused({ "": 14, "com.microsoft": 1 }));
    expect(opsetsIn(other.bytes)).toEqual([
      ["", 14],
      ["com.microsoft", 1],
    ]);
    expect(remarksOf(other.report).join("\n")).not.toMatch(/imported/);
  });

  it("of before IR 3, which could not import any, is of opset 1: too old to be raised", async () => {
    await expect(quantized(fused({}, 1))).rejects.toThrow(/^model\.onnx: is of IR version 1, from before ONNX 1\.0; /);
  });
});

describe("a model of IR 3, whose initializers are inputs as well", () => {
  const sizes = {
    w1: [16, 3, 3, 3],
    b1: [16],
    w2: [8, 16, 1, 1],
    b2: [8],
    scale: [8],
    shift: [8],
    mean: [8],
    var: [8],
  };
  const floats = Object.entries(sizes).map(([name, dims], i) =>
    tensor(
      name,
      "float32",
      dims,
      normals(
        randomOf(i + 1),
        dims.reduce((a, b) => a * b, 1),
        0.3,
      ).map((each) => (name === "var" ? each * each + 1 : each)),
    ),
  );
  const listed = [...Object.entries(sizes).map(([name, dims]) => value(name, `float32[${dims}]`))];

  /** As squeezenet: convolutions, their biases, parameters of a normalization, the shape of a Reshape. */
  const old = (ir: number, inputs = [...listed, value("shape", "int64[2]")]) =>
    model({
      ir,
      opsets: { "": 8 },
      graph: graph({
        nodes: [
          node("Conv", "x w1 b1", "c1"),
          node("Relu", "c1", "r1"),
          node("Conv", "r1 w2 b2", "c2"),
          node("BatchNormalization", "c2 scale shift mean var", "n"),
          node("GlobalAveragePool", "n", "p"),
          node("Reshape", "p shape", "y"),
        ],
        initializers: [...floats, tensor("shape", "int64", [2], [1, 8])],
        inputs: [...inputs.slice(0, 1), value("x", "float32[1,3,8,8]"), ...inputs.slice(1)],
        outputs: [value("y", "float32[1,8]")],
      }),
    });
  const picture: Feeds = { x: { dims: [1, 3, 8, 8], data: normals(randomOf(20), 192) } };

  it.each<[string, QuantizeModelOptions, number]>([
    ["cast", {}, 4],
    ["cast, one weight of two", { include: ["w2"], perChannel: false }, 4],
    ["qdq, raised to opset 13", { format: "qdq", opset: 13 }, 7],
  ])("%s: none is left among the inputs, and it runs", async (_, options, ir) => {
    const { bytes, report } = await quantized(old(3), options);
    expect(report.tensors.some(({ to }) => to === "int8")).toBe(true);
    const { inputs, initializers } = readGraph(graphIn(bytes));
    expect(inputs).toEqual(["x"]);
    // They are all there, as constants.
    expect(initializers.map(({ name }) => name)).toEqual(expect.arrayContaining(["b1", "b2", "mean", "var", "shape"]));
    expect(integers(bytes, 1)).toEqual([ir]);
    expect(remarksOf(report)).toEqual(
      expect.arrayContaining([`IR version 3 raised to ${ir}`, leave("9 initializers")]),
    );
    await expectSame(old(4, []), bytes, picture);
  });

  it("one that lists some of them keeps no trace of those", async () => {
    const { bytes, report } = await quantized(old(3, [listed[1]!, listed[0]!]));
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x"]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
  });

  it("of IR 4 and later only quantized weights leave: others may be set by who calls", async () => {
    const { bytes, report } = await quantized(old(4));
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["x", "b1", "b2", "scale", "shift", "mean", "var", "shape"]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
    expect(remarksOf(report).join("\n")).not.toMatch(/IR version/);
  });

  it("with nothing to quantize they stay inputs, as IR 3 wants them", async () => {
    const { bytes, report } = await quantized(old(3), { exclude: ["*"] });
    expect(bytes).toEqual(old(3));
    expect(remarksOf(report).join("\n")).not.toMatch(/no longer|IR version/);
  });

  it("in a loop's body too", async () => {
    const body = graph({
      name: "body",
      nodes: [node("Identity", "go", "on"), node("MatMul", "s0 A", "m"), node("Add", "m c", "s1")],
      initializers: [W("A", 1), tensor("c", "float32", [32], new Float32Array(32))],
      inputs: [
        value("trip", "int64[]"),
        value("go", "bool[]"),
        value("s0", "float32[2,32]"),
        value("c", "float32[32]"),
      ],
      outputs: [value("on", "bool[]"), value("s1", "float32[2,32]")],
    });
    const before = model({
      ir: 3,
      opsets: { "": 8 },
      graph: graph({
        nodes: [node("Loop", "trips - x", "y", { body: { graph: body } })],
        initializers: [tensor("trips", "int64", [], [2])],
        inputs: [value("x", "float32[2,32]"), value("trips", "int64[]")],
        outputs: [value("y", "float32[2,32]")],
      }),
    });
    const { bytes, report } = await quantized(before);
    expect(graphsIn(bytes).map(({ inputs }) => inputs)).toEqual([["x"], ["trip", "go", "s0"]]);
    expect(remarksOf(report)).toContain(leave("2 initializers"));
  });

  it("squeezenet itself", async (context) => {
    skipWithout(context, sharedData.models);
    const before = readFileSync(modelPath("squeezenet_fp32"));
    const was = readGraph(graphIn(before));
    expect([integers(before, 1), was.inputs.length]).toEqual([[3], was.initializers.length + 1]);
    const { bytes, report } = await quantized(before);
    expect(readGraph(graphIn(bytes)).inputs).toEqual(["data_0"]);
    expect(remarksOf(report)).toEqual(
      expect.arrayContaining(["IR version 3 raised to 4", leave(`${was.initializers.length} initializers`)]),
    );
  });
});
