import { attributeOf, type Node } from "../graph.ts";
import { opNameOf } from "../ops.ts";
import { type ElementType, elementTypeOf } from "../proto.ts";
import type { Scope } from "../scopes.ts";

/** Types of the values of a model's graphs, as far as the file says them or they follow from the nodes. */
export class ElementTypes {
  readonly #of = new Map<Scope, Map<string, ElementType | undefined>>();

  constructor(root: Scope) {
    // Graphs within come after those around them, nodes after those they take from: one pass knows what can be known.
    for (const scope of root.all()) {
      const types = new Map<string, ElementType | undefined>();
      this.#of.set(scope, types);
      const { initializers, inputs, outputs, valueInfos, nodes } = scope.graph;
      for (const { name, elementType } of [...valueInfos, ...outputs, ...inputs]) types.set(name, elementType);
      for (const { name, type } of initializers) types.set(name, type);
      for (const node of nodes) {
        node.outputs.forEach((name, i) => {
          if (types.get(name) === undefined)
            types.set(
              name,
              resultOf(node, i, (input) => this.ofInput(node, input, scope)),
            );
        });
      }
    }
  }

  /** The type of a node's input; undefined where it is not known, or left out. */
  ofInput(node: Node, input: number, scope: Scope): ElementType | undefined {
    const name = node.inputs[input];
    if (!name) return undefined;
    for (let at: Scope | undefined = scope; at; at = at.outer) {
      const types = this.#of.get(at);
      if (types?.has(name)) return types.get(name);
    }
    return undefined;
  }
}

type Inputs = (input: number) => ElementType | undefined;
type Rule = ElementType | number | ((node: Node, inputs: Inputs) => ElementType | undefined);

/** Of ops whose outputs are not all of their first input's type: a type, or the input that has it, for each output. */
const rules: Readonly<Record<string, readonly Rule[]>> = {
  ...among(["Shape", "Size", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression"], "int64"),
  ...among(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor"], "bool"),
  ...among(["IsNaN", "IsInf"], "bool"),
  Cast: [(node) => elementTypeOf(attributeOf(node, "to", "int") ?? 0)],
  CastLike: [1],
  Where: [1],
  Constant: [(node) => attributeOf(node, "value", "tensor")?.type],
  ConstantOfShape: [(node) => attributeOf(node, "value", "tensor")?.type ?? "float32"],
  OneHot: [2],
  TopK: [0, "int64"],
  MaxPool: [0, "int64"],
  Dropout: [0, "bool"],
  LayerNormalization: [0, "float32", "float32"],
  DequantizeLinear: [1],
  "com.microsoft.DequantizeLinear": [1],
  QuantizeLinear: [(_, inputs) => inputs(2) ?? "uint8"],
  "com.microsoft.QuantizeLinear": [(_, inputs) => inputs(2) ?? "uint8"],
  DynamicQuantizeLinear: ["uint8", "float32", "uint8"],
  MatMulInteger: ["int32"],
  ConvInteger: ["int32"],
  QLinearConv: [7],
  QLinearMatMul: [7],
  "com.microsoft.MatMulIntegerToFloat": [2],
  "com.microsoft.GatherBlockQuantized": [2],
  "com.microsoft.EmbedLayerNormalization": [2, "int32", 2],
  If: [unknown],
  Loop: [unknown],
  Scan: [unknown],
};

function among(ops: readonly string[], type: ElementType): Record<string, readonly Rule[]> {
  return Object.fromEntries(ops.map((op) => [op, [type]]));
}

function unknown(): undefined {}

function resultOf(node: Node, output: number, inputs: Inputs): ElementType | undefined {
  const known = rules[opNameOf(node)];
  const rule: Rule | undefined = known ? (known[output] ?? known[0]) : 0;
  if (typeof rule === "function") return rule(node, inputs);
  return typeof rule === "number" ? inputs(rule) : rule;
}
