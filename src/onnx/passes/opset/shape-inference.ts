import { attributeOf, type Node } from "../../ir/graph.ts";
import { outputRule } from "../../ir/types/type-rules.ts";
import type { ElementType } from "../../proto/schema.ts";
import type { DeclaredValue } from "./declared-values.ts";

/**
 * What is known of a value without running anything: from what the file declares, from tensors, and for most operators
 * from their inputs.
 */

/** Dimensions that are not a number are not known. */
export type Shape = readonly (number | undefined)[];

/** Nodes in a row that are looked through; deeper ones are not asked. */
const DEEPEST = 1000;

const memories = {
  shape: new WeakMap<DeclaredValue, Shape | null>(),
  type: new WeakMap<DeclaredValue, ElementType | null>(),
};

/** A value's shape, or undefined where not even the rank is known. */
export function shapeOf(value: DeclaredValue | undefined, depth = 0): Shape | undefined {
  if (!value || depth > DEEPEST) return undefined;
  const known = memories.shape.get(value);
  if (known !== undefined) return known ?? undefined;
  const shape = value.tensor?.shape ?? declared(value) ?? inferredShape(value, depth + 1);
  memories.shape.set(value, shape ?? null);
  return shape;
}

export function typeOf(value: DeclaredValue | undefined, depth = 0): ElementType | undefined {
  if (!value || depth > DEEPEST) return undefined;
  const known = memories.type.get(value);
  if (known !== undefined) return known ?? undefined;
  const type = value.tensor?.type ?? value.info?.elementType ?? inferredType(value, depth + 1);
  memories.type.set(value, type ?? null);
  return type;
}

function declared({ info }: DeclaredValue): Shape | undefined {
  return info?.shape?.map((dimension) => (typeof dimension === "number" && dimension >= 0 ? dimension : undefined));
}

/** What a rule has to go on. */
interface Asked {
  readonly node: Node;
  readonly index: number;
  /** The shape of the node's input of that number. */
  shape(input: number): Shape | undefined;
}

type ShapeRule = (asked: Asked) => Shape | undefined;

function inferredShape({ producer, index = 0, find }: DeclaredValue, depth: number): Shape | undefined {
  if (producer?.domain !== "") return undefined;
  const shape = (input: number) => {
    const name = producer.inputs[input];
    return name ? shapeOf(find(name), depth) : undefined;
  };
  return shapeRules.get(producer.opType)?.({ node: producer, index, shape });
}

const same: ShapeRule = ({ shape }) => shape(0);
const sameRank: ShapeRule = ({ shape }) => shape(0)?.map(() => undefined);
const rank = (n: number): Shape => Array.from({ length: n }, () => undefined);

const pooled: ShapeRule = ({ shape }) => shape(0)?.map((dimension, axis) => (axis < 2 ? dimension : undefined));
const global: ShapeRule = ({ shape }) => shape(0)?.map((dimension, axis) => (axis < 2 ? dimension : 1));

const broadcast: ShapeRule = ({ node, shape }) => {
  const shapes = node.inputs.map((_, input) => shape(input));
  if (shapes.includes(undefined)) return undefined;
  const longest = Math.max(...shapes.map((dims) => dims!.length));
  return Array.from({ length: longest }, (_, axis) => {
    const dims = shapes.map((each) => each!.at(axis - longest)).filter((_, i) => axis >= longest - shapes[i]!.length);
    const wide = dims.filter((dimension) => dimension !== 1);
    return wide.length === 0 ? 1 : (wide.find((dimension) => dimension !== undefined) ?? undefined);
  });
};

const convolved: ShapeRule = ({ shape }) => {
  const [x, w] = [shape(0), shape(1)];
  const dims = x ?? (w && rank(w.length));
  return dims?.map((dimension, axis) => (axis === 0 ? dimension : axis === 1 ? w?.[0] : undefined));
};

const transposed: ShapeRule = ({ node, shape }) => {
  const x = shape(0);
  const order = attributeOf(node, "perm", "ints");
  return x && (order ? order.map((axis) => x[axis]) : x.toReversed());
};

const multiplied: ShapeRule = ({ shape }) => {
  const [a, b] = [shape(0), shape(1)];
  if (!a || !b) return undefined;
  const whole = rank(Math.max(a.length, b.length, 2));
  const [rows, columns] = [a.length > 1, b.length > 1];
  return whole.slice((rows ? 0 : 1) + (columns ? 0 : 1));
};

/** As many dimensions as a list of them in another input has elements. */
const listed =
  (input: number): ShapeRule =>
  ({ shape }) => {
    const list = shape(input);
    return list?.length === 1 && list[0] !== undefined ? rank(list[0]) : undefined;
  };

/** How many axes a node names, by attribute or input; undefined where it names none. */
function axesOf({ node, shape }: Asked): { readonly count: number | undefined } | undefined {
  const axes = attributeOf(node, "axes", "ints");
  if (axes) return { count: axes.length };
  return node.inputs[1] ? { count: shape(1)?.[0] } : undefined;
}

const squeezed: ShapeRule = (asked) => {
  const [x, count] = [asked.shape(0), axesOf(asked)?.count];
  return x && count !== undefined ? rank(x.length - count) : undefined;
};

const unsqueezed: ShapeRule = (asked) => {
  const [x, count] = [asked.shape(0), axesOf(asked)?.count];
  return x && count !== undefined ? rank(x.length + count) : undefined;
};

const reduced: ShapeRule = (asked) => {
  const { node, shape } = asked;
  const x = shape(0);
  if (attributeOf(node, "keepdims", "int") !== 0) return x && rank(x.length);
  const axes = axesOf(asked);
  if (!axes) return attributeOf(node, "noop_with_empty_axes", "int") ? x : [];
  return x && axes.count !== undefined ? rank(x.length - axes.count) : undefined;
};

const argument: ShapeRule = ({ node, shape }) => {
  const x = shape(0);
  return x && rank(attributeOf(node, "keepdims", "int") === 0 ? x.length - 1 : x.length);
};

const gathered: ShapeRule = ({ shape }) => {
  const [x, indices] = [shape(0), shape(1)];
  return x && indices && rank(x.length - 1 + indices.length);
};

const constant: ShapeRule = ({ node }) => {
  const list = attributeOf(node, "value_floats", "floats") ?? attributeOf(node, "value_ints", "ints");
  return list
    ? [list.length]
    : node.attributes.some(({ name }) => /^value_(float|int|string)$/.test(name))
      ? []
      : undefined;
};

const elementwise = `Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Bernoulli BitShift BitwiseNot Ceil Celu Clip Cos
  Cosh CumSum Dropout Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity
  InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish
  Neg PRelu RMSNormalization Reciprocal Relu ReverseSequence RotaryEmbedding Round Scatter ScatterElements ScatterND
  Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu`;
const arithmetic = "Add Sub Mul Div Pow Mod Max Min Mean Sum BitwiseAnd BitwiseOr BitwiseXor";
const tests = "And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual";
const reductions = `ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
  ReduceSumSquare`;
const pools = "AveragePool LpPool MaxPool MaxRoiPool RoiAlign";
const globals = "GlobalAveragePool GlobalLpPool GlobalMaxPool";
const movers = "Slice Pad Tile Resize Upsample Concat Split TopK DepthToSpace SpaceToDepth Compress GridSample";

const each = <T>(names: string, rule: T) => names.split(/\s+/).map((name) => [name, rule] as const);

const shapeRules: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ...each(elementwise, same),
  ...each("Cast CastLike IsInf IsNaN Not QuantizeLinear DequantizeLinear", same),
  ...each(`${arithmetic} ${tests} Where`, broadcast),
  ...each(reductions, reduced),
  ...each("ArgMax ArgMin", argument),
  ...each(pools, pooled),
  ...each(globals, global),
  ...each(movers, sameRank),
  ["Conv", convolved],
  ["ConvTranspose", sameRank],
  ["Flatten", () => rank(2)],
  ["Gemm", () => rank(2)],
  ["MatMul", multiplied],
  ["Transpose", transposed],
  ["Reshape", ({ node, ...asked }) => shapeListed(node) ?? listed(1)({ node, ...asked })],
  ["Expand", listed(1)],
  ["ConstantOfShape", listed(0)],
  ["Squeeze", squeezed],
  ["Unsqueeze", unsqueezed],
  ["Gather", gathered],
  ["Shape", ({ node, shape }) => [node.attributes.length === 0 ? shape(0)?.length : undefined]],
  ["Size", () => []],
  ["Constant", constant],
  ...each("LSTM GRU RNN", ({ index }: Asked) => rank(index === 0 ? 4 : 3)),
]);

/** Of Reshape before opset 5. */
function shapeListed(node: Node): Shape | undefined {
  const dims = attributeOf(node, "shape", "ints");
  return dims && rank(dims.length);
}

function inferredType({ producer, index = 0, find }: DeclaredValue, depth: number): ElementType | undefined {
  if (producer?.domain !== "") return undefined;
  const type = (input: number) => {
    const name = producer.inputs[input];
    return name ? typeOf(find(name), depth) : undefined;
  };
  const rule = outputRule(producer, index);
  return rule ? rule(type) : type(0);
}
