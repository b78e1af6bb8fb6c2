import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { isWasmQuantError } from "../../src/errors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { inspectModel, type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { type Attempt, expectRefusal, matMul, modelOf, spySink, values, w, xy } from "../helpers/bad-models.ts";
import { functionOf, type GraphParts, graph, model, node, value } from "../helpers/onnx-build.ts";
import { sparseTensor, tensor } from "../helpers/onnx-tensors.ts";
import { concat, field, headOf, numbers } from "../helpers/wire-fields.ts";

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
