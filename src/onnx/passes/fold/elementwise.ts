import { roundHalfToEven } from "../../../kernels/rounding.ts";
import { attributeOf, type Node } from "../../ir/graph.ts";
import { elementTypeOf } from "../../proto/schema.ts";
import { type ConstantValue, isValueType, NotComputed, newValue, type ValueType } from "./constant-value.ts";
import { isFloat } from "./float-types.ts";

/** Operators on one element of each input; results of floats are rounded to their type once. */
const unary: Readonly<Record<string, (x: number) => number>> = {
  Abs: Math.abs,
  Ceil: Math.ceil,
  Cos: Math.cos,
  Exp: Math.exp,
  Floor: Math.floor,
  Log: Math.log,
  Neg: (x) => -x,
  Reciprocal: (x) => 1 / x,
  Relu: (x) => (x < 0 ? 0 : x),
  Round: (x) => (Math.abs(x) < 2 ** 51 ? roundHalfToEven(x) : x),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Sign: Math.sign,
  Sin: Math.sin,
  Softplus: (x) => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x))),
  Sqrt: Math.sqrt,
  Tanh: Math.tanh,
};

const add = (a: number, b: number) => a + b;

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: add,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Min: (a, b) => Math.min(a, b),
  Max: (a, b) => Math.max(a, b),
};

const logical: Readonly<Record<string, (a: number, b: number) => number>> = {
  And: (a, b) => a & b,
  Or: (a, b) => a | b,
  Xor: (a, b) => a ^ b,
};

const comparisons: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  Equal: (a, b) => a === b,
  Greater: (a, b) => a > b,
  GreaterOrEqual: (a, b) => a >= b,
  Less: (a, b) => a < b,
  LessOrEqual: (a, b) => a <= b,
};

export const elementwiseOps: ReadonlySet<string> = new Set([
  ...[...Object.keys(unary), ...Object.keys(binary), ...Object.keys(comparisons)],
  ...[...Object.keys(logical), "Cast", "Clip", "Mean", "Mod", "Not", "Sum", "Where"],
]);

/** Those that take one input or several; others take two. */
const ofAny = new Set(["Max", "Mean", "Min", "Sum"]);

/** @throws NotComputed */
export function elementwise(node: Node, inputs: readonly (ConstantValue | undefined)[]): ConstantValue {
  const { opType } = node;
  const [a, b, c] = inputs;
  if (!a) throw new NotComputed("an input is missing");
  if (inputs.some(isBeyond)) throw new NotComputed("integers beyond 2^53");
  if (opType === "Cast") return cast(a, elementTypeOf(attributeOf(node, "to", "int") ?? 0));
  if (opType === "Not") return map(a, "bool", (x) => (x ? 0 : 1));
  if (opType === "Where") return where(a, b, c);
  if (opType === "Clip") return clip(node, a, b, c);
  const one = unary[opType];
  if (one) return map(a, a.type, one);
  const compare = comparisons[opType];
  if (compare) return pair(a, needed(b), "bool", (x, y) => (compare(x, y) ? 1 : 0));
  if (opType === "Mod") return modulo(node, a, needed(b));
  const two = opType === "Sum" || opType === "Mean" ? add : (binary[opType] ?? logical[opType]!);
  // Of older opsets: how the second input is laid along the first.
  if (node.attributes.some(({ name }) => name === "axis" || name === "broadcast")) throw new NotComputed("broadcast");
  if (!ofAny.has(opType)) needed(b);
  const all = inputs.slice(1).reduce((sum: ConstantValue, next) => arithmetic(opType, two, sum, needed(next)), a);
  return opType === "Mean" ? map(all, all.type, (x) => x / inputs.length) : all;
}

function isBeyond(value: ConstantValue | undefined): boolean {
  return value?.type === "int64" && !value.data.every(Number.isSafeInteger);
}

function needed(value: ConstantValue | undefined): ConstantValue {
  if (!value) throw new NotComputed("an input is missing");
  return value;
}

function arithmetic(op: string, two: (a: number, b: number) => number, a: ConstantValue, b: ConstantValue) {
  if (op !== "Pow" && a.type !== b.type) throw new NotComputed(`${a.type} and ${b.type}`);
  const isInteger = a.type === "int64" || a.type === "int32";
  if (a.type === "bool" && !Object.hasOwn(logical, op)) throw new NotComputed(`${op} of bool`);
  if (isInteger && op === "Div" && b.data.includes(0)) throw new NotComputed("an integer is divided by 0");
  return pair(a, b, a.type, isInteger ? (x, y) => Math.trunc(two(x, y)) : two);
}

/** The remainder: of integers with the sign of the divisor, with `fmod` that of the dividend. */
function modulo(node: Node, a: ConstantValue, b: ConstantValue): ConstantValue {
  if (a.type !== b.type) throw new NotComputed(`${a.type} and ${b.type}`);
  if (!isFloat(a.type) && b.data.includes(0)) throw new NotComputed("an integer is divided by 0");
  if (attributeOf(node, "fmod", "int") === 1) return pair(a, b, a.type, (x, y) => x % y);
  return pair(a, b, a.type, (x, y) => x - Math.floor(x / y) * y);
}

function cast(value: ConstantValue, to: string | undefined): ConstantValue {
  if (!isValueType(to)) throw new NotComputed(`Cast to ${to ?? "an unknown type"}`);
  if (to === value.type) return value;
  if (to === "bool") return map(value, to, (x) => (x === 0 ? 0 : 1));
  return map(value, to, isFloat(to) ? (x) => x : Math.trunc);
}

/** Of float32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

function clip(node: Node, value: ConstantValue, low?: ConstantValue, high?: ConstantValue): ConstantValue {
  // Without a bound the type's own is one: infinities are held to it.
  const limit = value.type === "float32" ? LARGEST : Number.POSITIVE_INFINITY;
  const least = low?.data[0] ?? attributeOf(node, "min", "float") ?? -limit;
  const most = high?.data[0] ?? attributeOf(node, "max", "float") ?? limit;
  return map(value, value.type, (x) => Math.min(Math.max(x, least), most));
}

function where(condition: ConstantValue, yes?: ConstantValue, no?: ConstantValue): ConstantValue {
  const [a, b] = [needed(yes), needed(no)];
  if (a.type !== b.type) throw new NotComputed(`${a.type} and ${b.type}`);
  const shape = broadcastShape(broadcastShape(condition.shape, a.shape), b.shape);
  const result = newValue(a.type, shape);
  const [c, x, y] = [condition, a, b].map((value) => indicesFor(value.shape, shape));
  for (let i = 0; i < result.data.length; i++) {
    result.data[i] = condition.data[c!(i)] ? a.data[x!(i)]! : b.data[y!(i)]!;
  }
  return result;
}

function map({ shape, data }: ConstantValue, type: ValueType, op: (x: number) => number): ConstantValue {
  const result = newValue(type, shape);
  for (let i = 0; i < data.length; i++) result.data[i] = op(data[i]!);
  return result;
}

function pair(a: ConstantValue, b: ConstantValue, type: ValueType, op: (x: number, y: number) => number) {
  const shape = broadcastShape(a.shape, b.shape);
  const result = newValue(type, shape);
  const [x, y] = [indicesFor(a.shape, shape), indicesFor(b.shape, shape)];
  for (let i = 0; i < result.data.length; i++) result.data[i] = op(a.data[x(i)]!, b.data[y(i)]!);
  return result;
}

/** An operation on two floats of one type. @throws NotComputed */
export function combined(a: ConstantValue, b: ConstantValue, op: (x: number, y: number) => number): ConstantValue {
  return arithmetic("", op, a, b);
}

/**
 * The shape two operands are broadcast to (ONNX, Multidirectional Broadcasting).
 *
 * @throws NotComputed
 */
export function broadcastShape(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) throw new NotComputed("shapes that do not go together");
    return x === 1 ? y : x;
  });
}

/** Where the element of a broadcast result, by its flat index, lies in an operand. */
export function indicesFor(own: readonly number[], shape: readonly number[]): (index: number) => number {
  const lead = shape.length - own.length;
  // Axes that are run along in one go, from the last one on: length in the result, stride in the operand.
  const runs: { length: number; stride: number }[] = [];
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const dimension = own[axis - lead] ?? 1;
    const length = shape[axis]!;
    if (length === 1) continue;
    const step = dimension === 1 ? 0 : stride;
    const last = runs.at(-1);
    if (last && last.stride * last.length === step && (step > 0 || last.stride === 0)) last.length *= length;
    else runs.push({ length, stride: step });
    stride *= dimension;
  }
  if (runs.length === 0) return () => 0;
  const [first] = runs;
  if (runs.length === 1) return first!.stride === 0 ? () => 0 : (index) => index * first!.stride;
  return (index) => {
    let at = 0;
    let rest = index;
    for (const { length, stride } of runs) {
      at += (rest % length) * stride;
      rest = Math.floor(rest / length);
    }
    return at;
  };
}
