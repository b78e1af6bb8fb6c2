import { attribute, entryOf, functionOf, graph, model, node, value } from "./onnx-build.ts";
import { sparseTensor, tensor } from "./onnx-tensors.ts";
import { columns, rows, values } from "./weights-of-types.ts";
import { concat, field, float, integer, unknownFields } from "./wire-fields.ts";

export const long = (text: string, length = 5000) => text.repeat(Math.ceil(length / text.length));

/** Everything that a model may hold beside its weights, at every level; `size` says how long documentation is. */
export function richModel({ weights = true, size = 20 } = {}): Uint8Array {
  const doc = long("words ", size);
  const small = tensor("bias", "float32", [columns], values.slice(0, columns), {
    doc: `bias ${doc}`,
    extra: unknownFields("tensor"),
  });
  return model({
    ir: 8,
    opsets: { "": 13, local: 1, "com.example": 3 },
    graph: richGraph(doc, small, weights),
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

function richGraph(doc: string, small: Uint8Array, weights: boolean): Uint8Array {
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
  return graph({
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
}

export function plainInner(name: string): Uint8Array {
  return graph({ name, nodes: [node("Relu", "x", `${name}_y`)], outputs: [value(`${name}_y`, "float32")] });
}
