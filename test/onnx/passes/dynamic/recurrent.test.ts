import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { graphIn, readGraph } from "../../../helpers/onnx-read.ts";
import { eightBits, integerTypes, rewriterOf } from "../../../helpers/rewritten.ts";
import { floats, indices, initializersIn, type Sketch } from "../../../helpers/sketch.ts";
import { typeCodes } from "../../../helpers/wire-fields.ts";

// LSTM as DynamicQuantizeLSTM and Attention as QAttention, each run beside the float model in both runtimes.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear, expectFloat } = rewriterOf(() => engine, { mode: "dynamic", opTypes: integerTypes });

/** dB: what errors do to gates and to softmax. */
const NEAR = 22;

const [HIDDEN, INPUTS] = [8, 6];
const x = floats([5, 2, INPUTS]);

describe("LSTM", () => {
  interface Parts {
    readonly inputs?: string;
    readonly directions?: 1 | 2;
    readonly attributes?: Parameters<typeof node>[3];
    readonly type?: "float32" | "float16";
    readonly feeds?: Sketch["feeds"];
  }

  function lstm({ inputs = "x W R B", directions = 1, attributes, type = "float32", feeds }: Parts): Sketch {
    const direction = directions === 2 ? "bidirectional" : "forward";
    const rows = 4 * HIDDEN;
    const drawn = (shape: readonly number[]) => ({ shape, type });
    const all = {
      W: drawn([directions, rows, INPUTS]),
      R: drawn([directions, rows, HIDDEN]),
      B: drawn([directions, 2 * rows]),
      P: drawn([directions, 3 * HIDDEN]),
    };
    const used = Object.entries(all).filter(([name]) => inputs.split(" ").includes(name));
    return {
      type,
      nodes: [node("LSTM", inputs, "Y Yh Yc", { hidden_size: HIDDEN, direction, ...attributes })],
      weights: Object.fromEntries(used),
      feeds: { x, ...feeds },
      outputs: ["Y", "Yh", "Yc"],
    };
  }

  const lengths = { dims: [2], data: Int32Array.of(5, 3) };
  const states = (directions: number) => ({
    h0: floats([directions, 2, HIDDEN], 3, 0.3),
    c0: floats([directions, 2, HIDDEN], 4, 0.3),
  });

  it.each<{ what: string; parts: Parts }>([
    { what: "one direction", parts: {} },
    { what: "both", parts: { directions: 2 } },
    { what: "without B", parts: { inputs: "x W R" } },
    { what: "lengths alone", parts: { inputs: "x W R B s", feeds: { s: lengths } } },
    {
      what: "lengths, states and peepholes",
      parts: { directions: 2, inputs: "x W R B s h0 c0 P", feeds: { s: lengths, ...states(2) } },
    },
    { what: "states and no lengths", parts: { inputs: "x W R - - h0 c0", feeds: states(1) } },
    {
      what: "clip, and activations of its own",
      parts: { attributes: { clip: { float: 1.5 }, activations: { strings: ["Sigmoid", "Tanh", "Relu"] } } },
    },
  ])("with $what", async ({ parts }) => {
    for (const options of eightBits) {
      expect(await expectNear(lstm(parts), options, NEAR)).toEqual({ DynamicQuantizeLSTM: 1 });
    }
  });

  it("has int8 whatever is asked for, its last axes swapped, and scales for each direction or row", async () => {
    for (const { perChannel, dtype } of eightBits) {
      const { bytes } = await rewritten(lstm({ directions: 2 }), { perChannel, dtype });
      const tensors = readGraph(graphIn(bytes)).initializers.filter(({ name }) => name.startsWith("W_"));
      const scales = perChannel ? [2, 4 * HIDDEN] : [2];
      expect(tensors.map(({ name, shape, typeCode }) => ({ name, shape, typeCode }))).toEqual([
        { name: "W_scale", shape: scales, typeCode: typeCodes.float32 },
        { name: "W_zero_point", shape: scales, typeCode: typeCodes.int8 },
        { name: "W_quantized", shape: [2, INPUTS, 4 * HIDDEN], typeCode: typeCodes.int8 },
      ]);
    }
  });

  it("of float16, with states", async () => {
    const model = lstm({ type: "float16", directions: 2, inputs: "x W R B - h0 c0", feeds: states(2) });
    // x, B, two states in; Y, Y_h, Y_c out.
    expect(await expectNear(model, {}, NEAR)).toEqual({ DynamicQuantizeLSTM: 1, Cast: 7 });
  });

  it("shares weights with another, and with itself", async () => {
    const two: Sketch = {
      nodes: [
        node("LSTM", "x W R", "Y", { hidden_size: HIDDEN }),
        node("LSTM", "z W R", "Z", { hidden_size: HIDDEN }, { name: "" }),
      ],
      weights: { W: [1, 4 * HIDDEN, INPUTS], R: [1, 4 * HIDDEN, HIDDEN] },
      feeds: { x, z: floats([5, 2, INPUTS], 9) },
      outputs: ["Y", "Z"],
    };
    expect(await expectNear(two, {}, NEAR)).toEqual({ DynamicQuantizeLSTM: 2 });
    expect(initializersIn((await rewritten(two)).bytes)).toHaveLength(6);
    const square: Sketch = {
      nodes: [node("LSTM", "x W W", "Y", { hidden_size: HIDDEN })],
      weights: { W: [1, 4 * HIDDEN, HIDDEN] },
      feeds: { x: floats([5, 2, HIDDEN]) },
      outputs: ["Y"],
    };
    expect(await expectNear(square, {}, NEAR)).toEqual({ DynamicQuantizeLSTM: 1 });
    expect(initializersIn((await rewritten(square)).bytes)).toHaveLength(3);
  });

  it("is left as it is where that has no such form, and said so", async () => {
    const layout = ["LSTM with layout 1", "LSTM with layout 1"];
    await expectFloat(lstm({ inputs: "x W R", attributes: { layout: 1 } }), layout);
    const feeds = { x, R: floats([1, 4 * HIDDEN, HIDDEN]) };
    const fed: Sketch = { ...lstm({}), nodes: lstm({ inputs: "x W R" }).nodes, weights: { W: [1, 32, INPUTS] }, feeds };
    await expectFloat(fed, ["LSTM has a second weight that is not constant"]);
    const reasons = ["excluded", 'LSTM has a second weight, "W", that is to stay: excluded'];
    await expectFloat(lstm({ inputs: "x W R" }), reasons, { exclude: ["W"] });
  });
});

describe("Attention", () => {
  const drawn = (type: "float32" | "float16") => ({ w: { shape: [8, 24], type }, b: { shape: [24], type } });
  const hidden = floats([2, 3, 8], 1, 0.5);

  function attention(
    inputs: string,
    {
      type = "float32",
      attributes = {},
      feeds = {},
      outputs = "y",
    }: {
      type?: "float32" | "float16";
      attributes?: Parameters<typeof node>[3];
      feeds?: Sketch["feeds"];
      outputs?: string;
    } = {},
  ): Sketch {
    return {
      type,
      opsets: { "com.microsoft": 1 },
      nodes: [node("Attention", inputs, outputs, { num_heads: 2, ...attributes }, { domain: "com.microsoft" })],
      weights: drawn(type),
      feeds: { x: hidden, ...feeds },
      outputs: outputs.split(" "),
    };
  }

  const ends = { dims: [2], data: Int32Array.of(3, 2) };
  const mask = { dims: [2, 3], data: Int32Array.of(1, 1, 1, 1, 1, 0) };
  const past = floats([2, 2, 2, 4, 4], 7, 0.5);

  it.each([
    { what: "nothing else", model: attention("x w b") },
    { what: "unidirectional", model: attention("x w b", { attributes: { unidirectional: 1 } }) },
    { what: "ends of sequences", model: attention("x w b m", { feeds: { m: ends } }) },
    { what: "a mask", model: attention("x w b m", { feeds: { m: mask } }) },
    {
      what: "its own mask value",
      model: attention("x w b m", { feeds: { m: ends }, attributes: { mask_filter_value: { float: -5 } } }),
    },
    { what: "its own scale", model: attention("x w b", { attributes: { scale: { float: 0.3 } } }) },
    {
      what: "a past",
      model: attention("x w b - p", { feeds: { p: past }, outputs: "y present", attributes: { unidirectional: 1 } }),
    },
  ])("with $what", async ({ model }) => {
    for (const options of eightBits) {
      expect(await expectNear(model, options, NEAR)).toEqual({ DynamicQuantizeLinear: 1, QAttention: 1 });
    }
  });

  it("of float16, with a past", async () => {
    const model = attention("x w b - p", { type: "float16", feeds: { p: past }, outputs: "y present" });
    expect(await expectNear(model, {}, NEAR)).toEqual({ DynamicQuantizeLinear: 1, QAttention: 1, Cast: 5 });
  });

  it("takes codes of a table", async () => {
    const model = attention("x w b");
    const ids = indices([1, 2, 3, 4, 5, 6], [2, 3]);
    const looked: Sketch = {
      ...model,
      nodes: [node("Gather", "t ids", "x"), ...model.nodes],
      weights: { ...model.weights, t: { shape: [30, 8], deviation: 0.5 } },
      feeds: { ids },
    };
    expect(await expectNear(looked, {}, NEAR)).toEqual({ Gather: 1, QAttention: 1 });
  });

  it.each([
    { what: "qkv_hidden_sizes", inputs: "x w b", attributes: { qkv_hidden_sizes: [8, 8, 8] } },
    { what: "do_rotary", inputs: "x w b", attributes: { do_rotary: 1 } },
    { what: "rotary_embedding_dim", inputs: "x w b", attributes: { rotary_embedding_dim: 32 } },
  ])("with $what is left as it is", async ({ what, inputs, attributes }) => {
    await expectFloat(attention(inputs, { attributes }), [`Attention with ${what}, which QAttention has not`]);
  });

  it("without a bias, or with inputs that QAttention has not, is left as it is", async () => {
    const { b: _, ...weights } = drawn("float32");
    await expectFloat({ ...attention("x w"), weights }, ["Attention without a bias, which QAttention wants"]);
    const bias = { a: floats([2, 2, 3, 3]) };
    const inputs = "Attention with more inputs than QAttention has";
    await expectFloat(attention("x w b - - a", { feeds: bias }), [inputs]);
  });
});
