import { graphsOf, type Model } from "./graph.ts";

/** Names that are not taken, in any graph of a model. */
export class Names {
  readonly #taken = new Set<string>();

  constructor(model: Model) {
    for (const graph of graphsOf(model.graph)) {
      for (const { name } of [...graph.initializers, ...graph.inputs, ...graph.outputs, ...graph.valueInfos])
        this.#taken.add(name);
      for (const name of graph.sparseNames) this.#taken.add(name);
      for (const { name, outputs } of graph.nodes) for (const taken of [name, ...outputs]) this.#taken.add(taken);
    }
  }

  /** `base`, with a number behind it where that is taken; taken from now on. */
  fresh(base: string): string {
    let name = base;
    for (let i = 1; this.#taken.has(name); i++) name = `${base}_${i}`;
    this.#taken.add(name);
    return name;
  }
}
