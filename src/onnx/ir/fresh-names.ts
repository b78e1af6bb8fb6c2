import { graphsOf, type Model } from "./graph.ts";

/** Names that are not taken, in any graph of a model. */
export class FreshNames {
  readonly #taken = new Set<string>();
  /** The last number given to each base: many graphs may use one name. */
  readonly #numbers = new Map<string, number>();

  constructor(model: Model) {
    for (const graph of graphsOf(model.graph)) {
      for (const { name } of [...graph.initializers, ...graph.inputs, ...graph.outputs, ...graph.valueInfos])
        this.#taken.add(name);
      for (const { name } of graph.sparse) this.#taken.add(name);
      for (const { name, inputs, outputs } of graph.nodes) {
        for (const taken of [name, ...inputs, ...outputs]) this.#taken.add(taken);
      }
    }
  }

  /** `base`, with a number behind it where that is taken; taken from now on. */
  fresh(base: string): string {
    let name = base;
    let i = this.#numbers.get(base) ?? 0;
    while (this.#taken.has(name)) name = `${base}_${++i}`;
    this.#numbers.set(base, i);
    this.#taken.add(name);
    return name;
  }
}
