import type { TensorFiles } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import { type Graph, graphsOf, type Model, type ModelFunction, type Node } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import { sortNodes } from "../../ir/topological-sort.ts";
import { FREE_INITIALIZERS, raiseIr } from "../graph-edits.ts";
import { CallLimits } from "./call-limits.ts";
import { FunctionTable } from "./function-table.ts";
import { inlinedCall, SharedConstants } from "./inlined-call.ts";
import { FactsScope, FoundWeights, type FunctionFacts, follow, type WeightSite } from "./weight-facts.ts";

/** Calls that are inlined: those of functions in which there are weights, or all. */
export type InlinedCalls = "weights" | "all";

export interface Inlining {
  /** Functions of which calls were inlined, by domain and name. */
  readonly inlined: readonly string[];
  /** Functions of which calls were to be, and why they stay. */
  readonly left: ReadonlyMap<string, string>;
  /** Functions that nothing called before either, where all are inlined. */
  readonly removed: readonly string[];
  /** Takes the model back to what it was, if nothing has changed it since. */
  readonly undo: () => void;
}

/**
 * Puts the nodes of functions in the place of the nodes that call them: of functions that hold a weight or are given one,
 * or of all. Large constants are stored once for all calls. Functions that are no longer called are taken out; where all
 * are inlined, so are those that were not called before. A call that cannot be inlined stays, and so does what its
 * function needs.
 *
 * @throws FormatError where nodes cannot be put in order, or a tensor's file cannot be had
 */
export async function inlineFunctions(model: Model, files: TensorFiles, which: InlinedCalls): Promise<Inlining> {
  const undo = restorer(model);
  const inliner = new Inliner(model, which);
  // Calls are looked for in order.
  sortNodes(files.source.name, model);
  while (inliner.inlineOnce());
  const removed = inliner.removeUncalled();
  if (inliner.inlined.size > 0) await files.include(model);
  else if (removed.length === 0) undo();
  return { inlined: [...inliner.inlined].map(nameOf), left: inliner.left, removed: removed.map(nameOf), undo };
}

/** What a function is called in reports: as nodes that call it. */
function nameOf({ domain, name, overload }: ModelFunction): string {
  return `${opNameOf({ domain, opType: name })}${overload === "" ? "" : `:${overload}`}`;
}

function restorer(model: Model): () => void {
  const { functions, irVersion } = model;
  const opsets = [...model.opsets];
  const graphs = Array.from(graphsOf(model.graph), (graph) => [graph, { ...graph }] as const);
  return () => {
    for (const [graph, { nodes, initializers, inputs }] of graphs)
      Object.assign(graph, { nodes, initializers, inputs });
    model.opsets.clear();
    for (const [domain, opset] of opsets) model.opsets.set(domain, opset);
    model.functions = functions;
    model.irVersion = irVersion;
  };
}

class Inliner {
  readonly inlined = new Set<ModelFunction>();
  readonly left = new Map<string, string>();
  readonly #table: FunctionTable;
  readonly #limits: CallLimits;
  readonly #names: FreshNames;
  readonly #constants: SharedConstants;
  readonly #calledBefore: ReadonlySet<ModelFunction>;
  readonly #facts = new Map<ModelFunction, FunctionFacts>();

  constructor(
    private readonly model: Model,
    private readonly which: InlinedCalls,
  ) {
    this.#table = new FunctionTable(model);
    this.#limits = new CallLimits(model, this.#table);
    this.#names = new FreshNames(model);
    this.#constants = new SharedConstants(model.graph, this.#names);
    this.#calledBefore = this.#table.reachable();
    for (const [each, why] of this.#table.unclear()) this.#leave(each, why);
    for (const each of this.#calledBefore) if (this.#table.circular.has(each)) this.#leave(each);
    if (which === "weights") this.#learn();
  }

  /** Inlines the calls that there are; those within what was put in their place are for the next time. */
  inlineOnce(): boolean {
    const wanted = this.which === "all" ? undefined : this.#callsWithWeights();
    if (wanted?.size === 0) return false;
    let any = false;
    const visit = (graph: Graph, depth: number) => {
      for (const node of graph.nodes) {
        for (const { graphs } of node.attributes) for (const inner of graphs) visit(inner, depth + 1);
      }
      const nodes = graph.nodes.flatMap((node) => {
        const instead = !wanted || wanted.has(node) ? this.#inlined(node, depth) : undefined;
        any ||= instead !== undefined;
        return instead ?? [node];
      });
      if (nodes.some((node, i) => node !== graph.nodes[i])) graph.nodes = nodes;
    };
    visit(this.model.graph, 0);
    return any;
  }

  /** Takes out functions that are not called, and returns those that were not called before. */
  removeUncalled(): readonly ModelFunction[] {
    const { model } = this;
    if (this.#constants.any) raiseIr(model, FREE_INITIALIZERS);
    // How a model is trained may call them, too.
    if (model.isTrainable) return [];
    const uncalled = model.functions.filter((each) => !this.#calledBefore.has(each));
    const kept = this.which === "all" && this.#table.unclear().size === 0 ? [] : uncalled;
    const needed = new Set([...this.#table.reachable(), ...this.#table.reachable(kept)]);
    const all = model.functions;
    if (all.some((each) => !needed.has(each))) model.functions = all.filter((each) => needed.has(each));
    return uncalled.filter((each) => !needed.has(each));
  }

  /** What stands in a call's place; undefined where the node calls nothing, or stays. */
  #inlined(node: Node, depth: number): readonly Node[] | undefined {
    const called = this.#table.find(node);
    if (!called) return undefined;
    const obstacle = this.#table.faultOf(called) ?? this.#limits.take(node, called, depth);
    if (obstacle !== undefined) {
      this.#leave(called, obstacle);
      return undefined;
    }
    this.inlined.add(called);
    const body = this.#table.bodyOf(called)!;
    const instead = inlinedCall({ node, called, body }, this.#names, this.#constants);
    this.#limits.count(instead);
    return instead;
  }

  #leave(called: ModelFunction, why = this.#table.faultOf(called)!): void {
    const name = nameOf(called);
    if (!this.left.has(name)) this.left.set(name, why);
  }

  /** What there is to know of each function, those first that others call. */
  #learn(): void {
    for (const each of this.#table.sorted) {
      const body = this.#table.bodyOf(each);
      if (!body) continue;
      const scope = new FactsScope();
      body.inputs.forEach((name, i) => {
        scope.set(name, { from: new Set([i]), holds: false });
      });
      const weights = new FoundWeights();
      follow(body.nodes, scope, this.#factsOf, ({ facts }) => weights.add(facts));
      this.#facts.set(each, { outputs: body.outputs.map((name) => scope.find(name)), weights: weights.all });
    }
  }

  readonly #factsOf = (node: Node): FunctionFacts | "unknown" | undefined => {
    const called = this.#table.find(node);
    return called && (this.#facts.get(called) ?? "unknown");
  };

  /** Calls of functions in which there are weights, and those that make what becomes a weight. */
  #callsWithWeights(): ReadonlySet<Node> {
    const wanted = new Set<Node>();
    const seen = new Set<Node>();
    const sites: WeightSite[] = [];
    const root = FactsScope.of(this.model.graph);
    follow(this.model.graph.nodes, root, this.#factsOf, (site) => {
      if (site.facts.holds) sites.push(site);
    });
    for (const { node, scope, inputs, isCall } of sites) {
      if (isCall) wanted.add(node);
      const open = Array.from(inputs, (i) => ({ name: node.inputs[i] ?? "", scope }));
      for (let next = open.pop(); next; next = open.pop()) {
        const maker = next.scope.makerOf(next.name);
        if (!maker || seen.has(maker.node)) continue;
        seen.add(maker.node);
        if (this.#factsOf(maker.node)) wanted.add(maker.node);
        for (const name of maker.node.inputs) open.push({ name, scope: maker.scope });
      }
    }
    return wanted;
  }
}
