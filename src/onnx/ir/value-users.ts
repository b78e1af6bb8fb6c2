import type { Node } from "./graph.ts";
import type { NodeSite, Scope } from "./scopes.ts";

/** A node that takes a value, as its input of that number. */
export interface ValueUser extends NodeSite {
  readonly input: number;
}

interface Users {
  readonly nodes: ValueUser[];
  isOutput: boolean;
}

/** Who takes each value of a model: nodes of its graph and of those within, and whether a graph gives it out. */
export class ValueUsers {
  readonly #users = new Map<Scope, Map<string, Users>>();

  constructor(root: Scope) {
    for (const scope of root.all()) {
      for (const node of scope.graph.nodes) {
        for (const [input, name] of node.inputs.entries()) {
          if (name !== "") this.#made(scope, name)?.nodes.push({ node, scope, input });
        }
      }
      for (const { name } of scope.graph.outputs) {
        const users = this.#made(scope, name);
        if (users) users.isOutput = true;
      }
    }
  }

  /** The nodes that take what a name stands for in a scope, a node once for each of its inputs. */
  of(scope: Scope, name: string): readonly ValueUser[] {
    return this.#find(scope, name)?.nodes ?? [];
  }

  isOutput(scope: Scope, name: string): boolean {
    return this.#find(scope, name)?.isOutput ?? false;
  }

  /** Whether nobody takes a value but these nodes. */
  areOnly(scope: Scope, name: string, nodes: ReadonlySet<Node>): boolean {
    return !this.isOutput(scope, name) && this.of(scope, name).every(({ node }) => nodes.has(node));
  }

  #find(scope: Scope, name: string): Users | undefined {
    const home = scope.home(name);
    return home && this.#users.get(home)?.get(name);
  }

  #made(scope: Scope, name: string): Users | undefined {
    const home = scope.home(name);
    if (!home) return undefined;
    const names = this.#users.get(home) ?? new Map<string, Users>();
    this.#users.set(home, names);
    const users = names.get(name) ?? { nodes: [], isOutput: false };
    names.set(name, users);
    return users;
  }
}
