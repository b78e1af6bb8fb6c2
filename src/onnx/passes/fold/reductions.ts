import { attributeOf, type Node } from "../../ir/graph.ts";
import { type ConstantValue, integersOf, NotComputed, newValue } from "./constant-value.ts";
import { indicesFor } from "./elementwise.ts";
import { isFloat } from "./float-types.ts";
import { axisOf } from "./movement.ts";

/** How elements are gathered, in float64, and what becomes of that. */
interface Reduction {
  readonly start: number;
  readonly add: (sum: number, x: number) => number;
  readonly end?: (sum: number, count: number) => number;
}

const sum = (sum: number, x: number) => sum + x;
const squares = (sum: number, x: number) => sum + x * x;

const reductions: Readonly<Record<string, Reduction>> = {
  ReduceL1: { start: 0, add: (sum, x) => sum + Math.abs(x) },
  ReduceL2: { start: 0, add: squares, end: Math.sqrt },
  ReduceLogSum: { start: 0, add: sum, end: Math.log },
  ReduceMax: { start: Number.NEGATIVE_INFINITY, add: Math.max },
  ReduceMean: { start: 0, add: sum, end: (total, count) => total / count },
  ReduceMin: { start: Number.POSITIVE_INFINITY, add: Math.min },
  ReduceProd: { start: 1, add: (product, x) => product * x },
  ReduceSum: { start: 0, add: sum },
  ReduceSumSquare: { start: 0, add: squares },
};

export const reductionOps: ReadonlySet<string> = new Set(Object.keys(reductions));

const differsFromNone = new Set(["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare"]);

const ofIntegers = new Set(["ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"]);

/** @throws NotComputed */
export function reduce(node: Node, [value, axesInput]: readonly (ConstantValue | undefined)[]): ConstantValue {
  const { start, add, end } = reductions[node.opType]!;
  if (!value) throw new NotComputed("an input is missing");
  const { type, shape, data } = value;
  if (!isFloat(type) && !ofIntegers.has(node.opType)) throw new NotComputed(`${node.opType} of ${type}`);
  const given = attributeOf(node, "axes", "ints") ?? integersOf(axesInput);
  if (!given && axesInput) throw new NotComputed("axes that are not known");
  if (!given?.length && attributeOf(node, "noop_with_empty_axes", "int") === 1) {
    // The standard gives x itself, ONNX Runtime the norm of each element.
    if (differsFromNone.has(node.opType)) throw new NotComputed("a norm along no axis");
    return value;
  }
  const axes = new Set((given?.length ? given : shape.map((_, i) => i)).map((axis) => axisOf(axis, shape.length)));
  const kept = shape.map((dimension, axis) => (axes.has(axis) ? 1 : dimension));
  const sums = new Float64Array(newValue(type, kept).data.length).fill(start);
  const index = indicesFor(kept, shape);
  for (let i = 0; i < data.length; i++) sums[index(i)] = add(sums[index(i)]!, data[i]!);
  const count = data.length / sums.length;
  const keeps = (attributeOf(node, "keepdims", "int") ?? 1) !== 0;
  const result = newValue(type, keeps ? kept : shape.filter((_, axis) => !axes.has(axis)));
  sums.forEach((total, i) => {
    result.data[i] = end ? end(total, count) : total;
  });
  return result;
}
