import type { TensorFiles } from "../../io/tensor-data.ts";
import { attributeOf, type Node } from "../../ir/graph.ts";
import { type ConstantValue, integersOf, loadValue, NotComputed, newValue, numbersValue } from "./constant-value.ts";
import { elementwise, elementwiseOps } from "./elementwise.ts";
import { isHalf, roundToHalf } from "./float-types.ts";
import { movements } from "./movement.ts";
import { gemm, matMul } from "./products.ts";
import { reduce, reductionOps } from "./reductions.ts";

const others = new Set(["ConstantOfShape", "Gemm", "MatMul", "Range", "Shape", "Size"]);

/** Whether a node can be computed where its inputs are constant. */
export function isComputable({ domain, opType }: Node): boolean {
  const isKnown = elementwiseOps.has(opType) || reductionOps.has(opType) || others.has(opType);
  return domain === "" && (isKnown || Object.hasOwn(movements, opType));
}

/**
 * The outputs of a node, in its types as the standard has it: each operator's result is rounded once, sums are float64.
 *
 * @throws NotComputed for what is not known, too large, or no result
 */
export async function evaluateNode(
  node: Node,
  inputs: readonly (ConstantValue | undefined)[],
  files: TensorFiles,
): Promise<readonly ConstantValue[]> {
  const { opType } = node;
  if (!isComputable(node)) throw new NotComputed(`${opType} is not computed beforehand`);
  const move = Object.hasOwn(movements, opType) ? movements[opType] : undefined;
  if (move) return move(node, inputs);
  if (elementwiseOps.has(opType)) return [settled(elementwise(node, inputs))];
  if (reductionOps.has(opType)) return [settled(reduce(node, inputs))];
  if (opType === "MatMul") return [settled(matMul(inputs))];
  if (opType === "Gemm") return [settled(gemm(node, inputs))];
  if (opType === "ConstantOfShape") return [await filled(node, inputs[0], files)];
  if (opType === "Range") return [range(inputs)];
  const [value] = inputs;
  if (!value) throw new NotComputed("an input is missing");
  if (opType === "Size") return [numbersValue("int64", [], [value.data.length])];
  const rank = value.shape.length;
  const bound = (given: number) => Math.min(Math.max(given < 0 ? given + rank : given, 0), rank);
  const start = bound(attributeOf(node, "start", "int") ?? 0);
  const shape = value.shape.slice(start, bound(attributeOf(node, "end", "int") ?? rank));
  return [numbersValue("int64", [shape.length], shape)];
}

/** A product takes an eighth of the time that other elements take. */
const PRODUCTS = 8;

/** How long a node has taken, in elements that were read or made. */
export function workOf(
  node: Node,
  inputs: readonly (ConstantValue | undefined)[],
  outputs: readonly ConstantValue[],
): number {
  const elements = (values: readonly (ConstantValue | undefined)[]) =>
    values.reduce((sum, value) => sum + (value?.data.length ?? 0), 0);
  const made = elements(outputs);
  const [a] = inputs;
  // Another shape of the same numbers.
  if (outputs.every(({ data }) => data === a?.data)) return 1;
  const isProduct = node.opType === "MatMul" || node.opType === "Gemm";
  const inner = isProduct ? (a?.shape.at(attributeOf(node, "transA", "int") ? 0 : -1) ?? 1) : 0;
  return elements(inputs) + made + (made * inner) / PRODUCTS;
}

/** A result as its type can hold it. @throws NotComputed where integers overflow */
function settled(value: ConstantValue): ConstantValue {
  const { type, data } = value;
  if (isHalf(type)) roundToHalf(data as Float32Array<ArrayBuffer>, type);
  if (type === "int32" || type === "int64") {
    const most = type === "int32" ? 2 ** 31 : 2 ** 53;
    for (let i = 0; i < data.length; i++) {
      const x = data[i]!;
      if (!(x >= -most && x < most)) throw new NotComputed("integers overflow");
      data[i] = x + 0; // There is no -0 among them.
    }
  }
  return value;
}

async function filled(node: Node, shapeInput: ConstantValue | undefined, files: TensorFiles): Promise<ConstantValue> {
  const shape = integersOf(shapeInput);
  if (!shape) throw new NotComputed("a shape that is not known");
  const tensor = attributeOf(node, "value", "tensor");
  const filling = tensor ? await loadValue(tensor, files) : numbersValue("float32", [1], [0]);
  const value = newValue(filling.type, shape);
  value.data.fill(filling.data[0] ?? 0);
  return value;
}

function range(inputs: readonly (ConstantValue | undefined)[]): ConstantValue {
  const [start, limit, delta] = inputs;
  if (!start || !limit || !delta) throw new NotComputed("an input is missing");
  const [from, to, by] = [start, limit, delta].map(({ data }) => data[0] ?? Number.NaN) as [number, number, number];
  const value = newValue(start.type, [Math.max(0, Math.ceil((to - from) / by))]);
  for (let i = 0; i < value.data.length; i++) value.data[i] = from + i * by;
  return value;
}
