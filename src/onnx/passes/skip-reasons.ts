import { type Remark, remark } from "../../pipeline/model-report.ts";
import { listNames } from "../../pipeline/phrases.ts";
import type { Node } from "../ir/graph.ts";
import { opNameOf } from "../ir/operators.ts";
import type { Scope } from "../ir/scopes.ts";
import { type FloatConstant, usersOf } from "../weights/find-weights.ts";

/** Ops that show a constant otherwise than it is stored, if all nodes that use it take it from them. */
function viewersOf({ uses, viewers }: FloatConstant): string | undefined {
  const isBehind = uses.length > 0 && uses.every(({ direct }) => !direct);
  return isBehind ? [...new Set(viewers.map(opNameOf))].join(", ") : undefined;
}

/** Why a constant stays that no node gave a reason for; `unfit` says so of the types of the nodes that use it. */
export function whyLeft(constant: FloatConstant, unfit: (users: string) => string): string {
  const users = usersOf(constant).join(", ");
  const viewers = viewersOf(constant);
  return viewers === undefined ? unfit(users) : `${users} takes it from ${viewers}, not as it is stored`;
}

/** A line on products of two values that only a run tells, if there are any: nothing of them is a weight. */
export function withoutWeights(root: Scope, constants: readonly FloatConstant[]): Remark[] {
  const users = new Set(constants.flatMap(({ uses }) => uses.map(({ node }) => node)));
  const nodes: Node[] = [];
  for (const scope of root.all()) {
    const { graph } = scope;
    const isBare = (node: Node) => opNameOf(node) === "MatMul" && !users.has(node);
    nodes.push(
      ...graph.nodes.filter(
        (node) => isBare(node) && !node.inputs.some((name) => scope.constantBehind(name, isRestoring)),
      ),
    );
  }
  if (nodes.length === 0) return [];
  const names = nodes.map(({ name, outputs: [output = ""] }) => name || output);
  const many = nodes.length === 1 ? "1 MatMul has" : `${nodes.length} MatMul have`;
  return [remark("no-weights", `${many} no constant to multiply with, so no weight: ${listNames(names)}`)];
}

/** What a weight that is quantized already goes through on its way to a product. */
const restoring = new Set(["DequantizeLinear", "Mul", "Sub", "Cast", "Transpose", "Reshape"]);
const isRestoring = ({ opType }: Node) => restoring.has(opType);
