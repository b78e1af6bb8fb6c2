import type { FloatDType } from "../../dtypes.ts";
import { floatNames } from "../../engine/tensors/check-tensors.ts";
import type { Job } from "../codecs/codec.ts";
import type { Graph, Node, Tensor } from "../ir/graph.ts";
import type { NodeSite, Scope } from "../ir/scopes.ts";
import { type ValueUser, ValueUsers } from "../ir/value-users.ts";
import { isViewOp, orderOf } from "../ir/views.ts";
import type { FloatConstant, Use } from "../weights/find-weights.ts";
import type { Selection } from "../weights/select-weights.ts";
import type { GraphEdits } from "./graph-edits.ts";
import type { Decision } from "./pass-result.ts";

interface UsageContext {
  readonly users: ValueUsers;
  readonly scopes: ReadonlyMap<Graph, Scope>;
  /** Whether nodes are to have their weights as they are stored, and not behind views. */
  readonly direct: boolean;
}

/** What nodes that are rewritten take of a constant, and what others leave of it. */
export class WeightUsage {
  readonly jobs: Job[] = [];
  readonly tensors: Tensor[] = [];
  readonly reasons = new Set<string>();
  /** Whether a node of the new graph gives the constant's name, for those who want it as it was. */
  isRestored = false;
  readonly #taken = new Map<Node, Set<number>>();

  constructor(
    readonly constant: FloatConstant,
    private readonly context: UsageContext,
  ) {}

  /** Notes that a node does without the constant from now on. */
  take(node: Node, input: number): void {
    this.#taken.set(node, (this.#taken.get(node) ?? new Set()).add(input));
  }

  /** Uses of the constant as it is. */
  get left(): readonly Use[] {
    return this.constant.uses.filter(({ node, input }) => !this.#taken.get(node)?.has(input));
  }

  /** Whether anyone wants the constant as it is, still, or a view of it. */
  get isLeft(): boolean {
    return this.#isWanted(this.#home, this.constant.name, this.#wantedViews);
  }

  /** The views of it that nobody wants any more. */
  get idleViews(): readonly NodeSite[] {
    const wanted = this.#wantedViews;
    return this.#views.filter(({ node }) => !wanted.has(node));
  }

  get #home(): Scope {
    return this.context.scopes.get(this.constant.graph)!;
  }

  /** Nodes that show it otherwise, and those that show these, each behind what it takes. */
  get #views(): readonly NodeSite[] {
    const viewersOf = (scope: Scope, name = "") =>
      this.context.users.of(scope, name).filter((user) => this.#isViewer(user));
    const views = viewersOf(this.#home, this.constant.name);
    for (const { node, scope } of views) views.push(...viewersOf(scope, node.outputs[0]));
    return views;
  }

  get #wantedViews(): ReadonlySet<Node> {
    const wanted = new Set<Node>();
    for (const { node, scope } of [...this.#views].reverse()) {
      if (this.#isWanted(scope, node.outputs[0] ?? "", wanted)) wanted.add(node);
    }
    return wanted;
  }

  #isWanted(scope: Scope, name: string, views: ReadonlySet<Node>): boolean {
    const { users } = this.context;
    const wants = (user: ValueUser) =>
      this.#isViewer(user) ? views.has(user.node) : !this.#taken.get(user.node)?.has(user.input);
    return users.isOutput(scope, name) || users.of(scope, name).some(wants);
  }

  /** Whether a node takes a value to show it otherwise. */
  #isViewer({ node, input }: ValueUser): boolean {
    return !this.context.direct && input === 0 && isViewOp(node);
  }
}

/** A weight as a node takes it. */
export interface SeenWeight {
  readonly usage: WeightUsage;
  /** The weight, in the shape in which its numbers lie: that of the node's input, or with the last two axes swapped. */
  readonly constant: FloatConstant;
  readonly isSwapped: boolean;
  /** What the node takes them as. */
  readonly type: FloatDType;
}

/** The usages on a model's constants. */
export class WeightUsages {
  readonly #byTensor = new Map<Tensor, WeightUsage>();
  readonly #byNode = new Map<Node, Map<number, { readonly usage: WeightUsage; readonly use: Use }>>();
  readonly #context: UsageContext;

  /** @param direct whether nodes are to have their weights as they are stored, and not behind views */
  constructor(
    root: Scope,
    private readonly constants: readonly FloatConstant[],
    private readonly selection: Selection,
    direct: boolean,
  ) {
    const scopes = new Map(Array.from(root.all(), (scope) => [scope.graph, scope]));
    this.#context = { users: new ValueUsers(root), scopes, direct };
    for (const constant of constants) {
      const usage = new WeightUsage(constant, this.#context);
      this.#byTensor.set(constant.tensor, usage);
      for (const use of constant.uses) {
        const inputs = this.#byNode.get(use.node) ?? new Map();
        this.#byNode.set(use.node, inputs.set(use.input, { usage, use }));
      }
    }
  }

  /** The float constant that a name stands for, if it does so directly. */
  find(scope: Scope, name: string | undefined): WeightUsage | undefined {
    const definition = name ? scope.find(name) : undefined;
    return definition?.kind === "constant" ? this.#byTensor.get(definition.constant.tensor) : undefined;
  }

  /** The constant that a node takes, as it is stored or behind views where these are followed. */
  at(node: Node, input: number): WeightUsage | undefined {
    return this.#used(node, input)?.usage;
  }

  #used(node: Node, input: number) {
    const used = this.#byNode.get(node)?.get(input);
    return used && (used.use.direct || !this.#context.direct) ? used : undefined;
  }

  /** The weight that a node takes, as it is stored or through views that at most swap its last two axes. */
  weightAt(node: Node, input: number): SeenWeight | undefined {
    const used = this.#used(node, input);
    if (!used) return undefined;
    const { usage, use } = used;
    const type = floatNames.find((name) => name === use.view.type);
    const order = orderOf(use.view);
    if (order === undefined || type === undefined) return undefined;
    const isSwapped = order === "swapped";
    return {
      usage,
      constant: shapedAs(usage.constant, isSwapped ? lastSwapped(use.view.shape) : use.view.shape),
      isSwapped,
      type,
    };
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

  /** Puts the new forms in the constants' place, or beside those that are left; views that nobody takes go. */
  putInto(edits: GraphEdits): void {
    const idle = new Map<Node, Scope>();
    for (const { constant, tensors, jobs, isLeft, isRestored, idleViews } of this.taken) {
      edits.jobs.push(...jobs);
      if (isLeft && !isRestored) edits.addTensors(constant.graph, tensors);
      else edits.substitute(constant, tensors);
      for (const { node, scope } of idleViews) idle.set(node, scope);
    }
    const nodes = new Set(idle.keys());
    for (const [node, scope] of idle) {
      edits.replace(node, []);
      for (const name of node.inputs.slice(1)) this.#removeIdle(scope, name, nodes, edits);
    }
  }

  /** Removes what says the shape or the axes of views, if nobody else takes it. */
  #removeIdle(scope: Scope, name: string, idle: ReadonlySet<Node>, edits: GraphEdits): void {
    const definition = name === "" ? undefined : scope.find(name);
    if (!definition || !this.#context.users.areOnly(scope, name, idle)) return;
    if (definition.kind === "constant") edits.substitute(definition.constant, []);
    else if (definition.kind === "node" && definition.node.opType === "Constant") edits.replace(definition.node, []);
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

function lastSwapped(shape: readonly number[]): readonly number[] {
  return [...shape.slice(0, -2), ...shape.slice(-2).reverse()];
}

/** A constant under another shape of as many elements; itself where that is its own. */
function shapedAs(constant: FloatConstant, shape: readonly number[]): FloatConstant {
  const { tensor } = constant;
  return tensor.shape.join() === shape.join() ? constant : { ...constant, tensor: { ...tensor, shape } };
}
