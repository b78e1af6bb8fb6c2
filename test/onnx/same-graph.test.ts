import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { type AttributeSpec, attribute, graph, model, node, value } from "../helpers/onnx-build.ts";
import { type Storage, tensor } from "../helpers/onnx-tensors.ts";
import { graphDifferences, nameDifferences } from "../helpers/same-graph.ts";
import { field, numbers } from "../helpers/wire-fields.ts";

// The comparison that golden files are held against: it has to see what differs, and nothing else.

interface Specimen {
  readonly ir?: number;
  readonly opsets?: Readonly<Record<string, number>>;
  readonly doc?: string;
  readonly store?: Storage["kind"];
  /** Lists initializers among the inputs. */
  readonly listed?: boolean;
  readonly reordered?: boolean;
  readonly nodeName?: string;
  readonly hidden?: string;
  readonly weight?: readonly number[];
  readonly weightShape?: readonly number[];
  readonly weightName?: string;
  readonly codes?: readonly number[];
  readonly more?: readonly Uint8Array[];
  readonly add?: string;
  readonly domain?: string;
  readonly alpha?: Readonly<Record<string, AttributeSpec | Uint8Array>>;
  readonly dropout?: string;
  readonly inner?: string;
  readonly innerBias?: number;
  readonly innerOp?: string;
  readonly innerInput?: string;
  readonly input?: string;
  readonly outputs?: readonly string[];
  readonly relus?: string;
}

const alpha = { alpha: { float: 0.5 }, axes: [1, 2], mode: "edge" };

/** Two layers and an If with a graph of its own; what a test says is otherwise. */
function specimen({
  ir = 8,
  opsets = { "": 11, "com.microsoft": 1 },
  doc = "",
  store = "raw",
  listed = false,
  reordered = false,
  nodeName = "layer",
  hidden = "h",
  weight = [1, 2, 3, -0],
  weightShape = [2, 2],
  weightName = "w",
  codes = [1, -2, 3],
  more = [],
  add = `${hidden} b`,
  domain = "com.microsoft",
  alpha: attributes = alpha,
  dropout = `${hidden}2`,
  inner = "t",
  innerBias = 0.25,
  innerOp = "Mul",
  innerInput = `${hidden}3`,
  input = "float32[2,2]",
  outputs = ["y", "z"],
  relus = `${hidden}3`,
}: Specimen = {}): Uint8Array {
  const branch = (op: string) =>
    graph({
      nodes: [node(op, `${innerInput} inner`, inner, {}, { name: "" })],
      initializers: [tensor("inner", "float32", [1], [innerBias])],
      outputs: [value(inner, "float32")],
    });
  const custom = node("Custom", "x codes", `${hidden}9`, attributes, { name: "", domain });
  const pair = [node("MatMul", `x ${weightName}`, hidden, {}, { name: nodeName, doc }), custom];
  return model({
    ir,
    opsets,
    doc,
    graph: graph({
      nodes: [
        ...(reordered ? pair.reverse() : pair),
        node("Add", add, `${hidden}1`, {}, { name: nodeName && "add" }),
        node("Dropout", `${hidden}1`, dropout),
        node("Sub", `${hidden}2 ${hidden}9`, `${hidden}3`),
        node("If", "flag", "y", { then_branch: { graph: branch(innerOp) }, else_branch: { graph: branch("Add") } }),
        node("Relu", relus, "z"),
      ],
      initializers: [
        tensor(weightName, "float32", weightShape, weight, { store }),
        tensor("b", "float32", [2], [0.5, 1], { store }),
        tensor("codes", "int8", [3], codes, { store }),
        ...more,
      ],
      inputs: [value("x", input), value("flag", "bool[]"), ...(listed ? [value("b", "float32[2]")] : [])],
      outputs: outputs.map((name) => value(name, "float32")),
      values: doc ? [value(hidden, "float32[2,2]")] : [],
    }),
  });
}

const sourceOf = (changes: Specimen) => bytesSource(specimen(changes), "model.onnx");
const differences = (changes: Specimen) => graphDifferences(sourceOf(changes), sourceOf({}));

describe("the same", () => {
  it.each<[string, Specimen]>([
    ["itself", {}],
    ["IR version and documentation", { ir: 4, doc: "said" }],
    ["numbers in typed fields", { store: "packed" }],
    ["numbers in typed fields, one by one", { store: "unpacked" }],
    ["initializers among the inputs", { ir: 3, listed: true }],
    ["nodes in another order", { reordered: true }],
    ["nodes without names", { nodeName: "" }],
    ["other names of inner values", { hidden: "other", inner: "u" }],
    ["a mask that nobody takes", { dropout: "h2 mask" }],
    ["attributes in another order", { alpha: { mode: "edge", axes: [1, 2], alpha: { float: 0.5 } } }],
    [
      "an attribute with documentation",
      { alpha: { ...alpha, mode: attribute("mode", "edge", field(numbers.attribute.doc, "said")) } },
    ],
  ])("%s", async (_, changes) => {
    expect(await differences(changes)).toEqual([]);
  });
});

describe("different", () => {
  const custom = 'com.microsoft.Custom(x, codes) -> h9, alpha=0.5, axes=[1, 2], mode="edge"';
  const matmul = 'MatMul "layer"(x, w) -> h';

  it.each<[string, Specimen, readonly string[]]>([
    [
      "a value",
      { weight: [1, 2, 3.5, -0] },
      ["initializer w: byte 10 is 96, 64 wanted (element 2 is 3.5, 3 wanted); 1 of 16 bytes differ"],
    ],
    [
      "the sign of a zero",
      { weight: [1, 2, 3, 0] },
      ["initializer w: byte 15 is 0, 128 wanted (element 3 is 0, -0 wanted); 1 of 16 bytes differ"],
    ],
    [
      "a code",
      { codes: [1, 2, 3] },
      ["initializer codes: byte 1 is 2, 254 wanted (element 1 is 2, -2 wanted); 1 of 3 bytes differ"],
    ],
    ["a shape", { weightShape: [4] }, ["initializer w: float32 [4], float32 [2,2] wanted"]],
    ["an initializer more", { more: [tensor("spare", "int8", [1], [0])] }, ["initializer spare: not wanted"]],
    [
      "an initializer's name",
      { weightName: "v" },
      [
        "initializer w: missing",
        "initializer v: not wanted",
        'node not wanted: MatMul "layer"(x, v) -> h',
        "nodes not wanted: 7 more, all behind these",
        `node missing: ${matmul}`,
        "nodes missing: 7 more, all behind these",
      ],
    ],
    [
      "operands in another order",
      { add: "b h", outputs: ["z"], relus: "h" },
      expect.arrayContaining(['node not wanted: Add "add"(b, h) -> h1', 'node missing: Add "add"(h, b) -> h1']),
    ],
    [
      "a domain",
      { domain: "org.example" },
      expect.arrayContaining([
        `node not wanted: ${custom.replace("com.microsoft", "org.example")}`,
        `node missing: ${custom}`,
      ]),
    ],
    [
      "a number of an attribute",
      { alpha: { ...alpha, axes: [1, 3] } },
      expect.arrayContaining([`node not wanted: ${custom.replace("1, 2", "1, 3")}`, `node missing: ${custom}`]),
    ],
    [
      "an attribute less",
      { alpha: { axes: [1, 2], mode: "edge" } },
      expect.arrayContaining([`node not wanted: ${custom.replace(" alpha=0.5,", "")}`, `node missing: ${custom}`]),
    ],
    [
      "the kind of an attribute",
      { alpha: { ...alpha, alpha: { floats: [0.5] } } },
      expect.arrayContaining([`node missing: ${custom}`]),
    ],
    [
      "words of an attribute",
      { alpha: { ...alpha, mode: { strings: ["edge"] } } },
      expect.arrayContaining([`node missing: ${custom}`]),
    ],
    [
      "a number within a graph",
      { innerBias: 0.5 },
      ["then_branch", "else_branch"].map(
        (branch) =>
          `initializer ${branch}/inner: byte 2 is 0, 128 wanted (element 0 is 0.5, 0.25 wanted); 2 of 4 bytes differ`,
      ),
    ],
    [
      "a node within a graph",
      { innerOp: "Div" },
      [
        "node not wanted: then_branch/Div(h3, inner) -> t",
        "nodes not wanted: 1 more, all behind these",
        "node missing: then_branch/Mul(h3, inner) -> t",
        "nodes missing: 1 more, all behind these",
      ],
    ],
    [
      "what a graph takes from outside",
      { innerInput: "h2" },
      expect.arrayContaining(["node not wanted: then_branch/Mul(h2, inner) -> t"]),
    ],
    [
      "a mask that is an output",
      { dropout: "h2 mask", outputs: ["y", "z", "mask"] },
      expect.arrayContaining([
        'node not wanted: Dropout "Dropout_of_h2"(h1) -> h2, mask',
        'node missing: Dropout "Dropout_of_h2"(h1) -> h2',
      ]),
    ],
    ["an opset", { opsets: { "": 12 } }, ["opset of com.microsoft: missing", 'opset of "": 12, 11 wanted']],
    ["an input's type", { input: "float16[2,2]" }, ["input x: float16, float32 wanted"]],
    ["an output less", { outputs: ["y"] }, ["output z: missing"]],
    [
      "what a node takes",
      { relus: "h2" },
      ['node not wanted: Relu "Relu_of_z"(h2) -> z', 'node missing: Relu "Relu_of_z"(h3) -> z'],
    ],
  ])("%s", async (_, changes, lines) => {
    expect(await differences(changes)).toEqual(lines);
  });

  it("two outputs that changed places", async () => {
    const twins = (first: string, second: string) =>
      bytesSource(
        model({
          opsets: { "": 11 },
          graph: graph({
            nodes: [node("Relu", "x", first, {}, { name: "" }), node("Neg", "x", second, {}, { name: "" })],
            inputs: [value("x", "float32")],
            outputs: [value("a", "float32"), value("b", "float32")],
          }),
        }),
      );
    expect(await graphDifferences(twins("b", "a"), twins("a", "b"))).toEqual([
      "output a: is output 0 of Neg(x) -> a, and should be output 0 of Relu(x) -> b",
      "output b: is output 0 of Relu(x) -> b, and should be output 0 of Neg(x) -> a",
    ]);
  });

  it("nodes that are there twice", async () => {
    const twice = bytesSource(
      model({
        opsets: { "": 11 },
        graph: graph({
          nodes: [node("Relu", "x", "y"), node("Relu", "x", "y2")],
          inputs: [value("x", "float32")],
          outputs: [value("y", "float32")],
        }),
      }),
    );
    const once = bytesSource(
      model({
        opsets: { "": 11 },
        graph: graph({
          nodes: [node("Relu", "x", "y")],
          inputs: [value("x", "float32")],
          outputs: [value("y", "float32")],
        }),
      }),
    );
    expect(await graphDifferences(twice, once)).toEqual(['node not wanted: Relu "Relu_of_y2"(x) -> y2']);
    expect(await graphDifferences(once, twice)).toEqual(['node missing: Relu "Relu_of_y2"(x) -> y2']);
  });
});

it("initializers may be excepted, but not be missing", async () => {
  const changed = sourceOf({ weight: [9, 9, 9], weightShape: [3] });
  expect(await graphDifferences(changed, sourceOf({}), { except: (name) => name === "w" })).toEqual([]);
  expect(await graphDifferences(sourceOf({ weightName: "v" }), sourceOf({}), { except: () => true })).toContain(
    "initializer w: missing",
  );
});

it("names of inner values are compared by themselves", async () => {
  expect(await nameDifferences(sourceOf({ nodeName: "", reordered: true }), sourceOf({}))).toEqual([]);
  const renamed = await nameDifferences(sourceOf({ hidden: "g" }), sourceOf({}));
  expect(renamed).toHaveLength(5);
  expect(renamed[0]).toBe('value g: h wanted; given by output 0 of MatMul "layer"(x, w) -> g');
});
