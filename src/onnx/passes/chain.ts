import type { FreshNames } from "../ir/fresh-names.ts";
import { makeNode, type Node } from "../ir/graph.ts";

/** The names of the tensors that a weight is stored in. */
export interface StoredParts {
  readonly codes: string;
  readonly scale: string;
  readonly zeroPoint: string | undefined;
}

/** Nodes made one after the other, named after the value they lead to. */
export class Chain {
  readonly nodes: Node[] = [];

  constructor(
    private readonly names: FreshNames,
    private readonly output: string,
  ) {}

  /** Adds a node; the name of its output. The last one gives the chain's own. */
  add(
    opType: string,
    inputs: readonly string[],
    attributes: Node["attributes"],
    what: { readonly last: boolean; readonly suffix?: string },
  ): string {
    const output = what.last ? this.output : this.names.fresh(`${this.output}_${what.suffix ?? opType.toLowerCase()}`);
    const name = this.names.fresh(`${this.output}_${what.suffix ?? opType}_node`);
    this.nodes.push(makeNode(opType, inputs, [output], { name, attributes }));
    return output;
  }
}
