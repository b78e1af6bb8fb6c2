import { describe, expect, it } from "vitest";
import { bytesSource } from "../../../src/formats/byte-source.ts";
import { readModel } from "../../../src/onnx/io/decode.ts";
import { Scope } from "../../../src/onnx/ir/scopes.ts";
import { type InferenceOptions, Values } from "../../../src/onnx/ir/types/type-inference.ts";
import { type GraphParts, graph, model, node, value } from "../../helpers/onnx-build.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { field } from "../../helpers/wire-fields.ts";

const ms = { domain: "com.microsoft" };

/** The types of all values by name, as far as they can be told. */
async function typesIn(
  parts: Omit<GraphParts, "outputs">,
  options?: InferenceOptions,
): Promise<Record<string, string | undefined>> {
  const opsets = { "": 23, "com.microsoft": 1, own: 1 };
  const bytes = model({ ir: 11, opsets, graph: graph({ ...parts, outputs: [] }) });
  const { graph: read } = await readModel(bytesSource(bytes, "m.onnx"));
  const { all } = new Values(new Scope("m.onnx", read), options);
  return Object.fromEntries(all.map(({ name, type }) => [name, type]));
}

const half = (name: string) => tensor(name, "float16", [4], new Uint16Array(4));
const inputs = [value("x", "float32[4]"), value("n", "int64"), value("go", "bool")];

describe("types of values", () => {
  it("are those of the first input, of another one, or fixed", async () => {
    const nodes = [
      node("Relu", "x", "relu"),
      node("TopK", "x n", "top places"),
      node("Where", "go h h", "where"),
      node("Less", "x x", "less"),
      node("Split", "h", "one two"),
      node("Shape", "h", "shape"),
      node("Attention", "x x h", "attended keys kept"),
    ];
    expect(await typesIn({ nodes, inputs, initializers: [half("h")] })).toMatchObject({
      ...{ h: "float16", relu: "float32", top: "float32", places: "int64", where: "float16", less: "bool" },
      ...{ one: "float16", two: "float16", shape: "int64", attended: "float32", keys: "float32", kept: "float16" },
    });
  });

  it("are those that attributes name", async () => {
    const nodes = [
      node("Cast", "x", "cast", { to: 16 }),
      node("RandomNormal", "", "random", { shape: [2] }),
      node("RandomNormal", "", "doubles", { shape: [2], dtype: 11 }),
      node("ConstantOfShape", "n", "zeros"),
      node("ConstantOfShape", "n", "ones", { value: { tensor: tensor("", "int32", [1], [1]) } }),
      node("Constant", "", "float", { value_float: { float: 1 } }),
      node("Constant", "", "ints", { value_ints: [1, 2] }),
      node("Constant", "", "texts", { value_strings: { strings: ["a"] } }),
      node("LayerNormalization", "h h", "norm mean deviation", { stash_type: 16 }),
    ];
    expect(await typesIn({ nodes, inputs, initializers: [half("h")] })).toMatchObject({
      ...{ cast: "bfloat16", random: "float32", doubles: "float64", zeros: "float32", ones: "int32" },
      ...{ float: "float32", ints: "int64", texts: "string" },
      ...{ norm: "float16", mean: "bfloat16", deviation: "bfloat16" },
    });
  });

  it("of codes follow zero points, scales and what is said", async () => {
    const initializers = [tensor("s", "float16", [], new Uint16Array(1)), tensor("z", "int8", [], [0])];
    const nodes = [
      node("QuantizeLinear", "x s z", "signed"),
      node("QuantizeLinear", "x s", "plain"),
      node("QuantizeLinear", "x s", "wide", { output_dtype: 4 }),
      node("DequantizeLinear", "signed s z", "restored"),
      node("DequantizeLinear", "signed s z", "widened", { output_dtype: 1 }),
      node("DynamicQuantizeLinear", "x", "codes scale zero"),
      node("MatMulInteger", "codes signed", "sums"),
      node("QGemm", "codes s z codes s z - s z", "coded", {}, ms),
      node("QGemm", "codes s z codes s z", "floats", {}, ms),
      node("GatherBlockQuantized", "codes n s", "rows", {}, ms),
    ];
    expect(await typesIn({ nodes, inputs, initializers })).toMatchObject({
      ...{ signed: "int8", plain: "uint8", wide: "uint16", restored: "float16", widened: "float32" },
      ...{ codes: "uint8", scale: "float32", zero: "uint8", sums: "int32" },
      ...{ coded: "int8", floats: "float32", rows: "float16" },
    });
  });

  it("pass into graphs of If, Loop and Scan, and out of them", async () => {
    const branch = (name: string) => ({
      graph: graph({ nodes: [node("Neg", "x", name)], outputs: [value(name, "float32")] }),
    });
    // Of these the file says no type.
    const untyped = (name: string) => field(1, name);
    const body = graph({
      nodes: [node("Identity", "on", "on_too"), node("Add", "state h", "next"), node("Shape", "next", "scanned")],
      inputs: ["i", "on", "state"].map(untyped),
      outputs: ["on_too", "next", "scanned"].map(untyped),
    });
    const step = graph({
      nodes: [node("Mul", "sum row", "sum_next"), node("Cast", "row", "row_out", { to: 7 })],
      inputs: ["sum", "row"].map(untyped),
      outputs: ["sum_next", "row_out"].map(untyped),
    });
    const nodes = [
      node("If", "go", "either", { then_branch: branch("a"), else_branch: branch("b") }),
      node("Loop", "n go h", "last shapes", { body: { graph: body } }),
      node("Scan", "h h", "total rows", { body: { graph: step }, num_scan_inputs: 1 }),
    ];
    expect(await typesIn({ nodes, inputs, initializers: [half("h")] })).toMatchObject({
      ...{ either: "float32", a: "float32" },
      ...{ i: "int64", on: "bool", state: "float16", next: "float16", last: "float16", shapes: "int64" },
      ...{ sum: "float16", row: "float16", total: "float16", rows: "int64" },
    });
  });

  it("are found for nodes that stand before what they take from, and for what an op of one type takes", async () => {
    const nodes = [node("Relu", "late", "r"), node("Own", "x", "o", {}, { domain: "own" }), node("Add", "o h", "late")];
    const isPlain: InferenceOptions["isPlain"] = ({ domain }) => domain === "";
    expect(await typesIn({ nodes, inputs, initializers: [half("h")] }, { isPlain })).toMatchObject({
      o: "float16",
      late: "float16",
      r: "float16",
    });
  });

  it("of ops that nothing is known of are what the file says, or what is likely", async () => {
    const own = (name: string) => node("Own", "x", name, {}, { domain: "own" });
    const parts = { nodes: [own("a"), own("b")], inputs, values: [value("a", "int32")] };
    expect(await typesIn(parts)).toMatchObject({ a: "int32", b: "float32" });
    expect(await typesIn(parts, { isPlain: () => false })).toMatchObject({ a: "int32", b: undefined });
  });

  it("are none of sequences, and of tensors out of them", async () => {
    const nodes = [node("SplitToSequence", "x", "list"), node("SequenceAt", "list n", "part")];
    expect(await typesIn({ nodes, inputs })).toMatchObject({ list: undefined, part: undefined });
  });
});
