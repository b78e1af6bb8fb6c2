import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { attribute, graph, model, node, opsetOf, value } from "../helpers/onnx-build.ts";
import { type Cut, cut, graphIn, payloads, readGraph, texts } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { quantizerOf } from "../helpers/quantized.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { long, plainInner, richModel } from "../helpers/rich-model.ts";
import { columns, rows, values } from "../helpers/weights-of-types.ts";
import { concat, field, integer, numbers, paddedField, unknownFields } from "../helpers/wire-fields.ts";

// What no pass changes comes out as the bytes it came in as, whatever an exporter has put there and however it was
// encoded; and what is quantized restores to what the engine says, to the bit.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

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
