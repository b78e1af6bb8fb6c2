import { bytesOf } from "../../core/tensor.ts";
import { attributeOf, type Graph, makeTensor, type Node } from "../graph.ts";
import { opNameOf } from "../ops.ts";
import { type ElementType, elementTypeOf } from "../proto.ts";
import type { Constant, Scope } from "../scopes.ts";
import { isKnown } from "./ops.ts";

/** A node that takes a value, and at which input. */
export interface Taker {
  readonly node: Node;
  readonly input: number;
}

/** What a name stands for, and the type that it has as the model was read. */
export interface Value {
  readonly name: string;
  readonly scope: Scope;
  /** Undefined where it cannot be told, and of what is no tensor. */
  type: ElementType | undefined;
  readonly constant?: Constant | undefined;
  /** The node that makes it, and as which output; none of a graph's input and of a constant. */
  readonly maker?: Node | undefined;
  readonly output: number;
  readonly takers: Taker[];
  /** Whether its graph gives it. */
  isGiven: boolean;
}

/** More rounds than nodes that stand before what they take from need. */
const MOST_ROUNDS = 16;

/** All values of a model's graphs, with their types. */
export class Values {
  readonly all: Value[] = [];
  readonly #byScope = new Map<Scope, Map<string, Value>>();
  readonly #scopes = new Map<Graph, Scope>();
  #learned = false;

  constructor(root: Scope) {
    for (const scope of root.all()) {
      this.#scopes.set(scope.graph, scope);
      this.#collect(scope);
    }
    for (const scope of root.all()) this.#connect(scope);
    for (let round = 0; round < MOST_ROUNDS; round++) {
      this.#learned = false;
      this.#infer(root);
      if (!this.#learned) break;
    }
  }

  find(scope: Scope, name: string): Value | undefined {
    if (name === "") return undefined;
    for (let at: Scope | undefined = scope; at; at = at.outer) {
      const value = this.#byScope.get(at)?.get(name);
      if (value) return value;
    }
    return undefined;
  }

  /** The value of a name that a graph itself defines. */
  within(scope: Scope, name: string): Value | undefined {
    return this.#byScope.get(scope)?.get(name);
  }

  scopeOf(graph: Graph): Scope {
    return this.#scopes.get(graph)!;
  }

  #collect(scope: Scope): void {
    const own = new Map<string, Value>();
    this.#byScope.set(scope, own);
    const add = (name: string, rest: Partial<Value>) => {
      if (name === "") return;
      const value = { name, scope, type: undefined, output: 0, takers: [], isGiven: false, ...rest };
      own.set(name, value);
      this.all.push(value);
    };
    const { graph } = scope;
    for (const tensor of graph.initializers) {
      add(tensor.name, { type: tensor.type, constant: { graph, tensor, name: tensor.name } });
    }
    for (const { name, elementType } of graph.inputs) if (!own.has(name)) add(name, { type: elementType });
    for (const name of graph.sparseNames) if (!own.has(name)) add(name, {});
    for (const node of graph.nodes) {
      node.outputs.forEach((name, output) => {
        const definition = scope.find(name);
        const constant = definition?.kind === "constant" ? definition.constant : floatsIn(graph, node);
        add(name, constant ? { type: constant.tensor.type, constant } : { maker: node, output });
      });
    }
  }

  #connect(scope: Scope): void {
    for (const node of scope.graph.nodes) {
      node.inputs.forEach((name, input) => {
        this.find(scope, name)?.takers.push({ node, input });
      });
    }
    for (const { name } of scope.graph.outputs) {
      const value = this.find(scope, name);
      if (value) value.isGiven = true;
    }
  }

  #learn(value: Value | undefined, type: ElementType | undefined): void {
    if (!value || value.type !== undefined || type === undefined) return;
    value.type = type;
    this.#learned = true;
  }

  #infer(scope: Scope): void {
    const { graph } = scope;
    for (const node of graph.nodes) {
      const inputs = node.inputs.map((name) => this.find(scope, name));
      const outputs = node.outputs.map((name) => this.within(scope, name));
      for (const { name, graphs } of node.attributes) for (const inner of graphs) this.#enter(node, name, inner, scope);
      if (node.domain === "" && alike.has(node.opType)) {
        const type = inputs.find((value) => value?.type !== undefined)?.type;
        for (const value of inputs) this.#learn(value, type);
      }
      // A table that was quantized just now is of another type than what it stands for.
      const was = (value: Value | undefined) =>
        value?.constant?.tensor.data.kind === "pending" ? "float32" : value?.type;
      const isTable = opNameOf(node) === "com.microsoft.GatherBlockQuantized";
      outputs.forEach((value, i) => {
        this.#learn(
          value,
          outputType(node, i, (input) => (isTable ? was(inputs[input]) : inputs[input]?.type)),
        );
      });
    }
    // What the file says counts where nothing else tells.
    for (const { name, elementType } of [...graph.outputs, ...graph.valueInfos]) {
      this.#learn(this.within(scope, name), elementType);
    }
  }

  /** Types pass into a node's graph and out of it. */
  #enter(node: Node, attribute: string, inner: Graph, scope: Scope): void {
    const within = this.scopeOf(inner);
    const outer = (name: string | undefined) => (name ? this.find(scope, name) : undefined);
    const pairs = node.domain === "" ? crossings(node, inner) : [];
    const exchange = () => {
      for (const { outside, inside } of pairs) {
        const values = [...outside.map(outer), ...inside.map((name) => this.find(within, name))];
        const type = values.find((value) => value?.type !== undefined)?.type;
        for (const value of values) this.#learn(value, type);
      }
    };
    if (node.opType === "Loop" && attribute === "body") {
      this.#learn(this.within(within, inner.inputs[0]?.name ?? ""), "int64");
      this.#learn(this.within(within, inner.inputs[1]?.name ?? ""), "bool");
    }
    exchange();
    this.#infer(within);
    exchange();
  }
}

/** A Constant node's floats that are no tensor. */
function floatsIn(graph: Graph, node: Node): Constant | undefined {
  if (opNameOf(node) !== "Constant") return undefined;
  const one = attributeOf(node, "value_float", "float");
  const list = one === undefined ? attributeOf(node, "value_floats", "floats") : [one];
  if (!list) return undefined;
  const shape = one === undefined ? [list.length] : [];
  const name = node.outputs[0] ?? "";
  return { graph, name, node, tensor: makeTensor(name, "float32", shape, bytesOf(Float32Array.from(list))) };
}

/** Values that are of one type, being one value outside a graph and within it. */
function crossings(node: Node, inner: Graph) {
  const pair = (outside: (string | undefined)[], inside: (string | undefined)[]) => ({
    outside: outside.filter((name) => name !== undefined),
    inside: inside.filter((name) => name !== undefined),
  });
  const { inputs, outputs } = node;
  const [given, made] = [inner.inputs.map(({ name }) => name), inner.outputs.map(({ name }) => name)];
  if (node.opType === "If") return made.map((name, i) => pair([outputs[i]], [name]));
  if (node.opType === "Loop") {
    const carried = given.slice(2).map((name, i) => pair([inputs[i + 2], outputs[i]], [name, made[i + 1]]));
    const scanned = made.slice(given.length - 1).map((name, i) => pair([outputs[given.length - 2 + i]], [name]));
    return [...carried, ...scanned];
  }
  if (node.opType !== "Scan") return [];
  // Before opset 9 the lengths of sequences came first.
  const first = inputs.length - given.length;
  const states = given.length - (attributeOf(node, "num_scan_inputs", "int") ?? given.length);
  return [
    ...given.map((name, i) => pair([inputs[first + i], ...(i < states ? [outputs[i]] : [])], [name])),
    ...made.map((name, i) => pair([outputs[i]], [name])),
  ];
}

const words = (text: string) => text.split(/\s+/);

/** Ops all of whose inputs are of one type. */
const alike = new Set(
  words(
    "Add BatchNormalization Concat Conv ConvTranspose Div Gemm LayerNormalization MatMul Max Mean Min Mul PRelu Sub Sum",
  ),
);

type Rule =
  | number
  | ElementType
  | ((node: Node, input: (index: number) => ElementType | undefined) => ElementType | undefined);

const named =
  (attribute: string, otherwise?: number | ElementType): Rule =>
  (node, input) => {
    const code = attributeOf(node, attribute, "int");
    if (code) return elementTypeOf(code);
    return typeof otherwise === "number" ? input(otherwise) : otherwise;
  };

const each = (names: string, ...rules: Rule[]) => words(names).map((name) => [name, rules] as const);

/**
 * The types of an op's outputs, the last for all that follow: that of an input, one that is fixed, or what a rule finds.
 * Of other ops that are known all outputs are as the first input.
 */
const rules: ReadonlyMap<string, readonly Rule[]> = new Map<string, readonly Rule[]>([
  ...each("And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN OptionalHasElement", "bool"),
  ...each("ArgMax ArgMin Shape Size NonZero NonMaxSuppression", "int64"),
  ...each("MatMulInteger ConvInteger", "int32"),
  ...each("Where CastLike DequantizeLinear com.microsoft.DequantizeLinear", 1),
  ...each("OneHot com.microsoft.GatherBlockQuantized com.microsoft.MatMulIntegerToFloat", 2),
  ...each("com.microsoft.QAttention", 3),
  ...each("com.microsoft.DynamicQuantizeLSTM com.microsoft.DynamicQuantizeMatMul", 0),
  ...each("QLinearConv QLinearMatMul", 7),
  ...each("QuantizeLinear com.microsoft.QuantizeLinear", (node, input) =>
    node.inputs[2] ? input(2) : elementTypeOf(attributeOf(node, "output_dtype", "int") ?? 2),
  ),
  ...each("DynamicQuantizeLinear", "uint8", "float32", "uint8"),
  ...each("MaxPool TopK Unique com.microsoft.Unique", 0, "int64"),
  ...each("LayerNormalization", 0, named("stash_type", "float32")),
  ...each("SimplifiedLayerNormalization", 0, "float32"),
  ...each(
    "com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization",
    0,
    "float32",
    "float32",
    0,
  ),
  ...each("com.microsoft.EmbedLayerNormalization", 2, "int32", 2),
  ...each("Cast BitCast", named("to")),
  ...each("EyeLike RandomNormalLike RandomUniformLike Bernoulli", named("dtype", 0)),
  ...each("RandomNormal RandomUniform", named("dtype", "float32")),
  ...each("Multinomial", named("dtype", "int32")),
  ...each("HannWindow HammingWindow BlackmanWindow MelWeightMatrix", named("output_datatype", "float32")),
  ...each("ConstantOfShape", (node) => {
    const value = attributeOf(node, "value", "tensor");
    return value ? value.type : "float32";
  }),
  ...each("TfIdfVectorizer", "float32"),
  ...each("Constant", ({ attributes }) => {
    return attributes.some(({ name }) => name.startsWith("value_int")) ? "int64" : undefined;
  }),
  // A mask, which was no bool before opset 10: whoever takes it tells.
  ...each("Dropout", 0, () => undefined),
  ...each("If Loop Scan", () => undefined),
]);

function outputType(
  node: Node,
  output: number,
  input: (index: number) => ElementType | undefined,
): ElementType | undefined {
  const op = opNameOf(node);
  const own = rules.get(op);
  const rule = own ? (own[output] ?? own.at(-1)) : isKnown(node) ? 0 : undefined;
  if (typeof rule === "number") return input(rule);
  return typeof rule === "function" ? rule(node, input) : rule;
}
