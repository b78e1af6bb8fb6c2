import { graphIn, integers, payloads, type ReadGraph, type ReadNode, type ReadTensor, readGraph } from "./onnx-read.ts";
import { halvesWidened } from "./onnx-values.ts";
import { halfToEven } from "./reference.ts";
import { numbers } from "./wire-fields.ts";

// Runs a graph as the standard has it: every node gives numbers of its type, so that a float16 beyond 65504 is infinite.
// Runtimes on CPUs compute float16 in float32 and hide that. Knows what norms and masks are written with.

type NumberType = "float32" | "float16" | "int64" | "bool";

export interface Interpreted {
  readonly type: NumberType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

const types: Readonly<Record<number, NumberType>> = { 1: "float32", 7: "int64", 9: "bool", 10: "float16" };

/** The outputs of a model by name. Inputs are of the types that the model has for them. */
export function interpret(
  model: Uint8Array,
  feeds: Readonly<Record<string, Interpreted>>,
): Record<string, Interpreted> {
  const graph = readGraph(graphIn(model));
  const values = run(graph, new Map(Object.entries(feeds)));
  return Object.fromEntries(graph.outputs.map((name) => [name, values.get(name)!]));
}

function run(graph: ReadGraph, outer: ReadonlyMap<string, Interpreted>): Map<string, Interpreted> {
  const values = new Map(graph.initializers.map((each) => [each.name, tensorOf(each)]));
  for (const [name, given] of outer) values.set(name, given);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => values.get(name)!);
    const made = node.op === "If" ? branchOf(node, inputs[0]!, values) : evaluate(node, inputs);
    values.set(node.outputs[0]!, made);
  }
  return values;
}

function branchOf(node: ReadNode, which: Interpreted, values: ReadonlyMap<string, Interpreted>): Interpreted {
  const attribute = node.attributes.get(which.data[0] ? "then_branch" : "else_branch")!;
  const graph = readGraph(payloads(attribute, numbers.attribute.g)[0]!);
  return run(graph, values).get(graph.outputs[0]!)!;
}

function tensorOf({ name, typeCode, shape, raw }: ReadTensor): Interpreted {
  const type = types[typeCode];
  const { buffer } = Uint8Array.from(raw);
  if (type === "float32") return { type, shape, data: Float64Array.from(new Float32Array(buffer)) };
  if (type === "float16") return { type, shape, data: Float64Array.from(halvesWidened(new Uint16Array(buffer))) };
  if (type === "int64") return { type, shape, data: Float64Array.from(new BigInt64Array(buffer), Number) };
  throw new Error(`${name} is of type ${typeCode}`);
}

function rounded(type: NumberType, x: number): number {
  if (type === "float32") return Math.fround(x);
  return type === "float16" ? half(x) : x;
}

/** The nearest float16, ties to even. */
function half(x: number): number {
  const size = Math.abs(x);
  if (!(size < 65520)) return x * (size >= 65520 ? Number.POSITIVE_INFINITY : 1);
  if (size === 0) return x;
  const exponent = Math.floor(Math.log2(size));
  const step = 2 ** (Math.max(2 ** exponent > size ? exponent - 1 : exponent, -14) - 10);
  return halfToEven(x / step) * step;
}

const unary: Readonly<Record<string, (x: number) => number>> = {
  Abs: Math.abs,
  Exp: Math.exp,
  Identity: (x) => x,
  Log: Math.log,
  Neg: (x) => -x,
  Reciprocal: (x) => 1 / x,
  Sqrt: Math.sqrt,
  Tanh: Math.tanh,
};

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Div: (a, b) => a / b,
  Max: Math.max,
  Min: Math.min,
  Mul: (a, b) => a * b,
  Pow: (a, b) => a ** b,
  Sub: (a, b) => a - b,
};

function evaluate(node: ReadNode, inputs: readonly Interpreted[]): Interpreted {
  const [a, b, c] = inputs;
  const { op } = node;
  if (op === "Constant") return tensorOf(tensorIn(node, "value"));
  if (op === "Cast") return filled(types[intOf(node, "to")]!, a!.shape, (i) => a!.data[i]!);
  if (op === "Reshape") return { ...a!, shape: [...b!.data] };
  if (op === "MatMul") return product(a!, b!);
  if (op === "Clip") {
    const [low, high] = [b?.data[0] ?? Number.NEGATIVE_INFINITY, c?.data[0] ?? Number.POSITIVE_INFINITY];
    return filled(a!.type, a!.shape, (i) => Math.min(Math.max(a!.data[i]!, low), high));
  }
  if (op.startsWith("Reduce")) return reduced(node, a!, b);
  if (unary[op]) return filled(a!.type, a!.shape, (i) => unary[op]!(a!.data[i]!));
  if (!binary[op]) throw new Error(`${op} is not known`);
  if (op !== "Pow" && a!.type !== b!.type) throw new Error(`${node.name} takes ${a!.type} and ${b!.type}`);
  return broadcast(a!, b!, binary[op]);
}

function filled(type: NumberType, shape: readonly number[], at: (i: number) => number): Interpreted {
  const length = shape.reduce((x, y) => x * y, 1);
  return { type, shape, data: Float64Array.from({ length }, (_, i) => rounded(type, at(i))) };
}

function broadcast(a: Interpreted, b: Interpreted, combine: (a: number, b: number) => number): Interpreted {
  const rank = Math.max(a.shape.length, b.shape.length);
  const padded = ({ shape }: Interpreted) => [...Array(rank - shape.length).fill(1), ...shape] as number[];
  const [as, bs] = [padded(a), padded(b)];
  const shape = as.map((size, i) => Math.max(size, bs[i]!));
  const offset = (own: readonly number[], i: number) => {
    let [rest, at, stride] = [i, 0, 1];
    for (let axis = rank - 1; axis >= 0; axis--) {
      at += (own[axis] === 1 ? 0 : rest % shape[axis]!) * stride;
      rest = Math.floor(rest / shape[axis]!);
      stride *= own[axis]!;
    }
    return at;
  };
  return filled(a.type, shape, (i) => combine(a.data[offset(as, i)]!, b.data[offset(bs, i)]!));
}

/** Over the last axis, kept. What a sum is made of is of its type; it is rounded once. */
function reduced({ op, attributes }: ReadNode, a: Interpreted, axesInput: Interpreted | undefined): Interpreted {
  const axes = axesInput ? [...axesInput.data] : integers(attributes.get("axes")!, numbers.attribute.ints);
  const last = a.shape.length - 1;
  if (axes.length !== 1 || (axes[0] !== -1 && axes[0] !== last)) throw new Error(`${op} is not over the last axis`);
  const size = a.shape[last]!;
  const squares = op === "ReduceL2" || op === "ReduceSumSquare";
  return filled(a.type, [...a.shape.slice(0, -1), 1], (row) => {
    const values = a.data.subarray(row * size, (row + 1) * size);
    const sum = values.reduce((total, x) => total + (squares ? rounded(a.type, x * x) : x), 0);
    if (op === "ReduceMean") return sum / size;
    return op === "ReduceL2" ? Math.sqrt(rounded(a.type, sum)) : sum;
  });
}

function product(a: Interpreted, b: Interpreted): Interpreted {
  const [depth, columns] = b.shape as [number, number];
  return filled(a.type, [...a.shape.slice(0, -1), columns], (i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += a.data[row * depth + k]! * b.data[k * columns + column]!;
    return sum;
  });
}

function intOf({ attributes }: ReadNode, name: string): number {
  return integers(attributes.get(name)!, numbers.attribute.i)[0]!;
}

function tensorIn({ attributes }: ReadNode, name: string): ReadTensor {
  const message = payloads(attributes.get(name)!, numbers.attribute.t)[0]!;
  const t = numbers.tensor;
  return {
    name,
    typeCode: integers(message, t.dataType)[0]!,
    shape: integers(message, t.dims),
    raw: payloads(message, t.rawData)[0]!,
    message,
  };
}
