import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { attribute, graph, model, node, value } from "../helpers/onnx-build.ts";
import { graphIn, graphsIn, integers, payloads, type ReadGraph, readGraph, texts } from "../helpers/onnx-read.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { remarksOf } from "../helpers/remarks.ts";
import { expectSame, W, x } from "../helpers/same-outputs.ts";
import { numbers } from "../helpers/wire-fields.ts";

// What a model is held to besides its weights: nodes stand behind what they take, opsets are said, and initializers are
// constants. Models that are not so come from old exporters and from tools that put nodes where it suits them.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

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
