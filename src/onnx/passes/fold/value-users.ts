import type { Node } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";

/** Who takes a value: nodes of its graph and of those within, and whether a graph gives it. */
interface Users {
  readonly nodes: Set<Node>;
  isOutput: boolean;
}

/** The users of all values of a model, by the graph they are defined in. */
export class ValueUsers {
  readonly #users = new Map<Scope, Map<string, Users>>();

  constructor(root: Scope) {
    for (const scope of root.all()) {
      for (const node of scope.graph.nodes) {
        for (const name of node.inputs) if (name !== "") this.#of(scope, name)?.nodes.add(node);
      }
      for (const { name } of scope.graph.outputs) {
        const users = this.#of(scope, name);
        if (users) users.isOutput = true;
      }
    }
  }

  /** Whether nobody takes a value but these nodes. */
  areOnly(scope: Scope, name: string, nodes: ReadonlySet<Node>): boolean {
    const home = scope.home(name);
    const users = home && this.#users.get(home)?.get(name);
    return !users || (!users.isOutput && [...users.nodes].every((node) => nodes.has(node)));
  }

  isOutput(scope: Scope, name: string): boolean {
    const home = scope.home(name);
    return (home && this.#users.get(home)?.get(name)?.isOutput) ?? false;
  }

  #of(scope: Scope, name: string): Users | undefined {
    const home = scope.home(name);
    if (!home) return undefined;
    const names = this.#users.get(home) ?? new Map<string, Users>();
    this.#users.set(home, names);
    const users = names.get(name) ?? { nodes: new Set<Node>(), isOutput: false };
    names.set(name, users);
    return users;
  }
}
