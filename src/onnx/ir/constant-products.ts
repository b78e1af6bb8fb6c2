import type { Node, Tensor } from "./graph.ts";
import { opNameOf } from "./operators.ts";
import type { Scope } from "./scopes.ts";
import { isViewOp } from "./views.ts";

/** Constants of products that have nothing but constants on both sides, or rows of them. */
export interface ConstantProducts {
  /** Those on the left, and on the right behind other nodes. */
  readonly awkward: ReadonlySet<Tensor>;
  readonly either: ReadonlySet<Tensor>;
}

/**
 * Finds the MatMuls both of whose sides a model would restore from codes. ONNX Runtime up to 1.30 makes one
 * MatMulIntegerToFloat of such a MatMul and the DequantizeLinear before it, which of unsigned codes takes one scale
 * and zero point on the left, and on the right scales along the wrong axis behind a Transpose.
 */
export function constantProducts(root: Scope): ConstantProducts {
  const awkward = new Set<Tensor>();
  const either = new Set<Tensor>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      if (opNameOf(node) !== "MatMul") continue;
      const [a, b] = node.inputs.map((name) => scope.constantBehind(name, shows));
      if (!a || !b) continue;
      awkward.add(a);
      if (scope.find(node.inputs[1]!)?.kind === "node") awkward.add(b);
      either.add(a).add(b);
    }
  }
  return { awkward, either };
}

/** Whether a node shows a constant otherwise, or rows of it. */
function shows(node: Node): boolean {
  return isViewOp(node) || opNameOf(node) === "Gather";
}

/** What ONNX Runtime 1.30 dies of behind a DequantizeLinear with an axis: a Transpose without perm. */
export function lacksPerm({ opType, attributes }: Node): boolean {
  return opType === "Transpose" && attributes.every(({ name }) => name !== "perm");
}
