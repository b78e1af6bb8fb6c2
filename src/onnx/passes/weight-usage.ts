import type { Job } from "../codecs/codec.ts";
import type { Node, Tensor } from "../ir/graph.ts";
import type { Scope } from "../ir/scopes.ts";
import type { FloatConstant, Use } from "../weights/find-weights.ts";
import type { Selection } from "../weights/select-weights.ts";
import type { GraphEdits } from "./graph-edits.ts";
import type { Decision } from "./pass-result.ts";

/** What nodes that are rewritten take of a constant, and what others leave of it. */
export class WeightUsage {
  readonly jobs: Job[] = [];
  readonly tensors: Tensor[] = [];
  readonly reasons = new Set<string>();
  /** Whether a node of the new graph gives the constant's name, for those who want it as it was. */
  isRestored = false;
  readonly #taken = new Map<Node, Set<number>>();

  constructor(readonly constant: FloatConstant) {}

  /** Notes that a node does without the constant from now on. */
  take(node: Node, input: number): void {
    this.#taken.set(node, (this.#taken.get(node) ?? new Set()).add(input));
  }

  /** Uses of the constant as it is. */
  get left(): readonly Use[] {
    return this.constant.uses.filter(({ node, input }) => !this.#taken.get(node)?.has(input));
  }

  /** Whether anyone wants the constant as it is, still. */
  get isLeft(): boolean {
    return this.constant.isShown || this.left.length > 0;
  }
}

/** The usages on a model's constants. */
export class WeightUsages {
  readonly #byTensor = new Map<Tensor, WeightUsage>();

  constructor(
    private readonly constants: readonly FloatConstant[],
    private readonly selection: Selection,
  ) {
    for (const constant of constants) this.#byTensor.set(constant.tensor, new WeightUsage(constant));
  }

  /** The float constant that a name stands for, if it does so directly. */
  find(scope: Scope, name: string | undefined): WeightUsage | undefined {
    const definition = name ? scope.find(name) : undefined;
    return definition?.kind === "constant" ? this.#byTensor.get(definition.constant.tensor) : undefined;
  }

  /** Why a node is not to take a constant in another form; noted for the report. */
  refusal(node: Node, usage: WeightUsage): string | undefined {
    const reason = this.selection.asIs(usage.constant).reason ?? this.selection.reasonAt(node, usage.constant);
    if (reason !== undefined) usage.reasons.add(reason);
    return reason;
  }

  /** Whether a node to which a constant is a weight was left out by name or type: it is to have it as it was. */
  isSpared({ constant, left }: WeightUsage): boolean {
    return left.some(({ node, axes }) => axes && this.selection.reasonAt(node, constant) !== undefined);
  }

  /** Claims with jobs, in the order of the file. */
  get taken(): WeightUsage[] {
    return [...this.#byTensor.values()].filter(({ jobs }) => jobs.length > 0);
  }

  /** Puts the new forms in the constants' place, or beside those that are left. */
  putInto(edits: GraphEdits): void {
    for (const { constant, tensors, jobs, isLeft, isRestored } of this.taken) {
      edits.jobs.push(...jobs);
      if (isLeft && !isRestored) edits.addTensors(constant.graph, tensors);
      else edits.substitute(constant, tensors);
    }
  }

  /** What becomes of each constant; `unknown` says why one stays that no node gave a reason for. */
  decisions(unknown: (constant: FloatConstant) => string): Decision[] {
    return this.constants.map((constant): Decision => {
      const { jobs, reasons } = this.#byTensor.get(constant.tensor)!;
      const candidate = this.selection.asIs(constant);
      if (jobs.length > 0) return { ...candidate, reason: undefined, jobs };
      const reason = candidate.reason ?? ([...reasons].join("; ") || unknown(constant));
      return { ...candidate, reason, jobs };
    });
  }
}
