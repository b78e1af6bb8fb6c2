import type { Model } from "./graph.ts";
import { checkInputs, Scope } from "./scopes.ts";
import { checkCircles } from "./topological-sort.ts";

/**
 * The names of a model's graphs, held against what takes them.
 *
 * @throws FormatError naming the node that takes what nothing makes, or what is made of its own output
 */
export function validateGraph(file: string, model: Model): Scope {
  const root = new Scope(file, model.graph);
  checkInputs(root);
  checkCircles(file, model);
  return root;
}
