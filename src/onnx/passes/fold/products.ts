import { attributeOf, type Node } from "../../ir/graph.ts";
import { type ConstantValue, NotComputed, newValue, numbersValue } from "./constant-value.ts";
import { broadcastShape, combined, indicesFor } from "./elementwise.ts";
import { isFloat } from "./float-types.ts";
import { transposed } from "./movement.ts";

/** Most products of a MatMul: about a second. */
const MOST_PRODUCTS = 2 ** 30;

/** A matrix product, sums in float64; a vector on the left is a row, one on the right a column. @throws NotComputed */
export function matMul([a, b]: readonly (ConstantValue | undefined)[]): ConstantValue {
  if (!a || !b || a.type !== b.type || !isFloat(a.type)) throw new NotComputed("products of integers");
  if (a.shape.length === 0 || b.shape.length === 0) throw new NotComputed("shapes that do not go together");
  const [m, k] = (a.shape.length === 1 ? [1, ...a.shape] : a.shape.slice(-2)) as [number, number];
  const [inner, n] = (b.shape.length === 1 ? [...b.shape, 1] : b.shape.slice(-2)) as [number, number];
  if (inner !== k) throw new NotComputed("shapes that do not go together");
  const [left, right] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcastShape(left, right);
  const outer = [...(a.shape.length > 1 ? [m] : []), ...(b.shape.length > 1 ? [n] : [])];
  const result = newValue(a.type, [...batch, ...outer]);
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

/** alpha * A * B + beta * C, each step in the type or in float32. @throws NotComputed */
export function gemm(node: Node, [a, b, c]: readonly (ConstantValue | undefined)[]): ConstantValue {
  if (a?.shape.length !== 2 || b?.shape.length !== 2) throw new NotComputed("shapes that do not go together");
  // Of older opsets: whether C is broadcast.
  if (attributeOf(node, "broadcast", "int") !== undefined) throw new NotComputed("broadcast");
  const turned = (x: ConstantValue, flag: string) => (attributeOf(node, flag, "int") ? transposed(x, [1, 0]) : x);
  const scaled = (x: ConstantValue, by: string) => {
    const factor = attributeOf(node, by, "float") ?? 1;
    return factor === 1 ? x : combined(x, numbersValue(x.type, [], [factor]), (p, q) => p * q);
  };
  const product = scaled(matMul([turned(a, "transA"), turned(b, "transB")]), "alpha");
  if (!c) return product;
  const sum = combined(product, scaled(c, "beta"), (p, q) => p + q);
  if (sum.shape.join() !== product.shape.join()) throw new NotComputed("shapes that do not go together");
  return sum;
}
