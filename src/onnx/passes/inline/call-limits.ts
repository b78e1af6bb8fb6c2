import type { FunctionBody } from "../../io/decode-functions.ts";
import { attributeOf, type Graph, type Model, type ModelFunction, type Node } from "../../ir/graph.ts";
import type { Message } from "../../proto/wire-format.ts";
import { histories } from "../opset/operator-versions.ts";
import { namesShown } from "./body-names.ts";
import type { FunctionTable } from "./function-table.ts";
import { isConstant, isShared } from "./inlined-call.ts";

/** Nodes and bytes that a model may grow by. */
export const MOST_NODES = 100_000;
const MOST_BYTES = 1 << 26;

/** Functions call functions that call functions; models nest them as their modules, ten deep or twenty. */
const MOST_CALLS = 64;

/** Graphs within graphs: files with more of them are not read back. */
const DEEPEST = 48;

/** What a call comes to once all calls within it are inlined, too. */
interface Size {
  readonly nodes: number;
  readonly bytes: number;
  /** Graphs within graphs. */
  readonly depth: number;
  /** Functions within functions. */
  readonly calls: number;
}

/** What stands against inlining a call in its place. */
export class CallLimits {
  readonly #sizes = new Map<ModelFunction, Size>();
  readonly #shown = new Map<FunctionBody, ReadonlySet<string>>();
  /** What `#whyOtherOpset` said of bodies while the model imported as many domains. */
  readonly #verdicts = new Map<FunctionBody, { readonly domains: number; readonly why: string | undefined }>();
  /** Calls within what was put in a call's place: they count already. */
  readonly #counted = new WeakSet<Node>();
  #nodes = 0;
  #bytes = 0;

  constructor(
    private readonly model: Model,
    private readonly table: FunctionTable,
  ) {
    for (const each of table.sorted) this.#sizes.set(each, this.#sizeOf(table.bodyOf(each)?.nodes ?? []));
  }

  /** Why a call is to stay; undefined for one that is inlined, which counts from now on with all that it calls. */
  take(call: Node, called: ModelFunction, depth: number): string | undefined {
    const body = this.table.bodyOf(called)!;
    const fault = this.#whyUnfit(call, body) ?? this.#verdictOn(body);
    if (fault !== undefined) return fault;
    if (!this.#counted.has(call)) {
      const size = this.#sizes.get(called)!;
      const { nodes, bytes } = size;
      if (size.calls > MOST_CALLS) return `it calls functions more than ${MOST_CALLS} deep`;
      if (depth + size.depth > DEEPEST) return `its graphs would be nested more than ${DEEPEST} deep`;
      if (this.#nodes + nodes > MOST_NODES) return `the model would grow by more than ${MOST_NODES} nodes`;
      if (this.#bytes + bytes > MOST_BYTES) return `the model would grow by more than ${MOST_BYTES} bytes`;
      this.#nodes += nodes;
      this.#bytes += bytes;
    }
    for (const [domain, opset] of body.opsets) if (!this.model.opsets.has(domain)) this.model.opsets.set(domain, opset);
    return undefined;
  }

  /** Notes what stands in a call's place from now on. */
  count(nodes: readonly Node[]): void {
    for (const node of nodesOf(nodes)) this.#counted.add(node);
  }

  #whyUnfit(call: Node, body: FunctionBody): string | undefined {
    if (call.inputs.length > body.inputs.length || call.outputs.length > body.outputs.length) {
      return "a node calls it with more inputs or outputs than it has";
    }
    let shown = this.#shown.get(body);
    if (!shown) {
      shown = new Set([...body.outputs, ...namesShown(body.nodes)]);
      this.#shown.set(body, shown);
    }
    const isMissing = body.inputs.some((name, i) => !call.inputs[i] && shown.has(name));
    return isMissing ? "it gives an input that a node leaves out" : undefined;
  }

  /** Functions may be called thousands of times. */
  #verdictOn(body: FunctionBody): string | undefined {
    const domains = this.model.opsets.size;
    const known = this.#verdicts.get(body);
    if (known?.domains === domains) return known.why;
    const why = this.#whyOtherOpset(body);
    this.#verdicts.set(body, { domains, why });
    return why;
  }

  /** A function names the opsets of its own nodes; what they mean in another the model cannot say. */
  #whyOtherOpset(body: FunctionBody): string | undefined {
    for (const node of nodesOf(body.nodes)) {
      if (this.table.find(node)) continue;
      const { domain, opType } = node;
      const own = body.opsets.get(domain);
      const models = this.model.opsets.get(domain) ?? own;
      if (own === undefined && models !== undefined) continue;
      if (own !== undefined && (own === models || (domain === "" && isSame(opType, own, models!)))) continue;
      const name = domain === "" ? "ONNX" : domain;
      if (own === undefined) return `nothing says which opset of ${name} it is of`;
      return `it is of opset ${own} of ${name}, the model of ${models}`;
    }
    return undefined;
  }

  #sizeOf(nodes: readonly Node[]): Size {
    const own = nodes.reduce((sum, { origin }) => sum + lengthOf(origin?.message), 0) - sharedIn(nodes);
    let size: Size = { nodes: 0, bytes: own, depth: 0, calls: 0 };
    for (const [node, depth] of withDepths(nodes, 0)) {
      const called = this.table.find(node);
      const inner = called && this.#sizes.get(called);
      size = {
        nodes: size.nodes + (inner?.nodes ?? 1),
        bytes: size.bytes + (inner?.bytes ?? 0),
        depth: Math.max(size.depth, depth + (inner?.depth ?? 0)),
        calls: Math.max(size.calls, 1 + (inner?.calls ?? 0)),
      };
    }
    return size;
  }
}

/** Whether an operator of one opset means the same in another. */
function isSame(opType: string, from: number, to: number): boolean {
  const history = histories.get(opType);
  if (!history || history.since > Math.min(from, to)) return false;
  // Nodes of an older opset mean there what they meant unless they have to be rewritten, of a newer one if nothing is new.
  if (from < to) return ![...history.rewritten].some((opset) => opset > from && opset <= to);
  return !history.changed.some((opset) => opset > to && opset <= from);
}

function* nodesOf(nodes: readonly Node[]): Generator<Node> {
  for (const [node] of withDepths(nodes, 0)) yield node;
}

/** Nodes, those in graphs of nodes among them, and how many graphs each is in. */
function* withDepths(nodes: readonly Node[], depth: number): Generator<readonly [node: Node, depth: number]> {
  for (const node of nodes) {
    yield [node, depth];
    for (const { graphs } of node.attributes) for (const graph of graphs) yield* withDepths(graph.nodes, depth + 1);
  }
}

/** Bytes of constants of which all calls share one copy. */
function sharedIn(nodes: readonly Node[], graph?: Graph): number {
  const own = graph?.initializers.filter((tensor) => isShared(tensor, graph)) ?? [];
  let bytes = own.reduce((sum, { message }) => sum + lengthOf(message), 0);
  for (const node of nodes) {
    const tensor = isConstant(node) ? attributeOf(node, "value", "tensor") : undefined;
    if (tensor && isShared({ ...tensor, name: node.outputs[0] ?? "" }, graph)) bytes += lengthOf(tensor.message);
    for (const { graphs } of node.attributes) for (const inner of graphs) bytes += sharedIn(inner.nodes, inner);
  }
  return bytes;
}

function lengthOf(message: Message | undefined): number {
  return message ? message.end - message.start : 0;
}
