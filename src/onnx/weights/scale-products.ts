import type { Node, Tensor } from "../ir/graph.ts";
import type { Scope } from "../ir/scopes.ts";

/**
 * The scale of a weight that an integer product takes: a constant factor of what is multiplied with the product.
 *
 *   product -> Cast -> Mul <- [Mul <- scale of the activation] <- scale of the weight
 */
export function scaleBehind(product: Node, scope: Scope): Tensor | undefined {
  const cast = onlyUser(scope, product.outputs[0], "Cast");
  const scaled = cast && onlyUser(scope, cast.outputs[0], "Mul");
  const factor = scaled?.inputs.find((name) => name !== cast?.outputs[0]);
  const definition = factor === undefined ? undefined : scope.find(factor);
  if (definition?.kind === "constant") return definition.constant.tensor;
  if (definition?.kind !== "node" || definition.node.opType !== "Mul") return undefined;
  // Of an activation that is made of a table's codes both are constants; the weight's is the second.
  const factors = definition.node.inputs.map((name) => definition.scope.find(name));
  const constant = factors.findLast((each) => each?.kind === "constant");
  return constant?.kind === "constant" ? constant.constant.tensor : undefined;
}

const users = new WeakMap<Scope, ReadonlyMap<string, readonly Node[]>>();

function onlyUser(scope: Scope, name: string | undefined, opType: string): Node | undefined {
  const [user, ...others] = usersIn(scope).get(name ?? "") ?? [];
  return others.length === 0 && user?.opType === opType ? user : undefined;
}

function usersIn(scope: Scope): ReadonlyMap<string, readonly Node[]> {
  const there = users.get(scope);
  if (there) return there;
  const found = new Map<string, Node[]>();
  for (const node of scope.graph.nodes) {
    for (const name of new Set(node.inputs)) {
      const there = found.get(name);
      if (there) there.push(node);
      else found.set(name, [node]);
    }
  }
  users.set(scope, found);
  return found;
}
