import { attributeOf, type Node } from "../ir/graph.ts";

/** Why a Gemm cannot be a MatMul and an Add, which have no factors and transpose nothing that comes in. */
export function unfitGemm(node: Node): string | undefined {
  const [, , c] = node.inputs;
  for (const factor of c ? ["alpha", "beta"] : ["alpha"]) {
    const value = attributeOf(node, factor, "float") ?? 1;
    if (value !== 1) return `Gemm with ${factor} ${value}`;
  }
  return attributeOf(node, "transA", "int") === 1 ? "Gemm with transA" : undefined;
}
