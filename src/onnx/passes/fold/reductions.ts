import { attributeOf, type Node } from "../../ir/graph.ts";
import { type ConstantValue, integersOf, NotComputed, newValue } from "./constant-value.ts";
import { broadcastShape, indicesFor } from "./elementwise.ts";
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
  ReduceMax: { start: Number.NEGATIVE_INFINITY, add: Math.max },
  ReduceMean: { start: 0, add: sum, end: (total, count) => total / count },
  ReduceMin: { start: Number.POSITIVE_INFINITY, add: Math.min },
  ReduceProd: { start: 1, add: (product, x) => product * x },
  ReduceSum: { start: 0, add: sum },
  ReduceSumSquare: { start: 0, add: squares },
};

export const reductionOps: ReadonlySet<string> = new Set(Object.keys(reductions));

const differsFromNone = new Set(["ReduceL1", "ReduceL2", "ReduceSumSquare"]);

/** @throws NotComputed */
export function reduce(node: Node, [value, axesInput]: readonly (ConstantValue | undefined)[]): ConstantValue {
  const { start, add, end } = reductions[node.opType]!;
  if (value?.type !== "float32") throw new NotComputed("sums of integers");
  const { shape, data } = value;
  const given = attributeOf(node, "axes", "ints") ?? integersOf(axesInput);
  if (!given && axesInput) throw new NotComputed("axes that are not known");
  if (!given?.length && attributeOf(node, "noop_with_empty_axes", "int") === 1) {
    // The standard gives x itself, ONNX Runtime the norm of each element.
    if (differsFromNone.has(node.opType)) throw new NotComputed("a norm along no axis");
    return value;
  }
  const axes = new Set((given?.length ? given : shape.map((_, i) => i)).map((axis) => axisOf(axis, shape.length)));
  const kept = shape.map((dimension, axis) => (axes.has(axis) ? 1 : dimension));
  const sums = new Float64Array(newValue("float32", kept).data.length).fill(start);
  const index = indicesFor(kept, shape);
  for (let i = 0; i < data.length; i++) sums[index(i)] = add(sums[index(i)]!, data[i]!);
  const count = data.length / sums.length;
  const keeps = (attributeOf(node, "keepdims", "int") ?? 1) !== 0;
  const result = newValue("float32", keeps ? kept : shape.filter((_, axis) => !axes.has(axis)));
  sums.forEach((total, i) => {
    result.data[i] = end ? end(total, count) : total;
  });
  return result;
}

/** Most products of a MatMul: about a second. */
const MOST_PRODUCTS = 2 ** 30;

/** A matrix product, sums in float64. @throws NotComputed */
export function matMul([a, b]: readonly (ConstantValue | undefined)[]): ConstantValue {
  if (a?.type !== "float32" || b?.type !== "float32") throw new NotComputed("products of integers");
  if (a.shape.length < 2 || b.shape.length < 2) throw new NotComputed("products of vectors");
  const [m, k] = a.shape.slice(-2) as [number, number];
  const [inner, n] = b.shape.slice(-2) as [number, number];
  if (inner !== k) throw new NotComputed("shapes that do not go together");
  const [left, right] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcastShape(left, right);
  const result = newValue("float32", [...batch, m, n]);
  if (result.data.length * k > MOST_PRODUCTS) throw new NotComputed(`more than ${MOST_PRODUCTS} products`);
  const [x, y] = [indicesFor(left, batch), indicesFor(right, batch)];
  const row = new Float64Array(n);
  for (let matrix = 0; matrix * m * n < result.data.length; matrix++) {
    const [from, other] = [x(matrix) * m * k, y(matrix) * k * n];
    for (let i = 0; i < m; i++) {
      row.fill(0);
      for (let j = 0; j < k; j++) {
        const factor = a.data[from + i * k + j]!;
        for (let c = 0; c < n; c++) row[c]! += factor * b.data[other + j * n + c]!;
      }
      result.data.set(row, (matrix * m + i) * n);
    }
  }
  return result;
}
