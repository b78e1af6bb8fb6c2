import { ArgumentError, FormatError } from "../../../errors.ts";
import { option, type Words, words } from "../../../messages.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import { type Graph, graphsOf, type Model, type Node } from "../../ir/graph.ts";
import { Scope } from "../../ir/scopes.ts";
import { functionField, opsetField } from "../../proto/schema.ts";
import { fieldsOf, type Message, messagesOf, textAt } from "../../proto/wire-format.ts";
import { raiseIr } from "../graph-edits.ts";
import { DeclaredValues } from "./declared-values.ts";
import { nodeError } from "./number-tensors.ts";
import { histories, irVersionOf, NEWEST_OPSET, runtimeOps } from "./operator-versions.ts";
import { Step, type Surroundings } from "./opset-step.ts";
import { rewriteOf } from "./rewrites/rewrite-table.ts";

export interface RaiseReport {
  readonly from: number;
  readonly to: number;
  /** A line for each node that is written in another way: its operator, its name and what was done. */
  readonly rewritten: readonly string[];
}

/**
 * Takes a model to a later opset of ONNX's own operators, in place: it means there what it meant before. Nodes that need
 * no change are left as they are. A model of which this throws is of no more use.
 *
 * @param cure what to do about a node that cannot be taken there; by default to take a lower opset
 * @throws FormatError naming the node that cannot be taken there
 */
export async function raiseOpset(
  model: Model,
  files: TensorFiles,
  target: number,
  file: string,
  cure?: string | Words,
): Promise<RaiseReport> {
  if (!Number.isInteger(target) || target < 1 || target > NEWEST_OPSET) {
    throw new ArgumentError("opset", `${target} given; a whole number up to ${NEWEST_OPSET} is allowed`);
  }
  const from = model.opsets.get("") ?? 1;
  if (target === from) return { from, to: target, rewritten: [] };
  checkModel(model, from, target, file, cure);
  const usedBefore = usedNames(model);
  const names = new FreshNames(model);
  const report = new Map<Node, Reported>();
  const around = { file, files, names, from, cure };
  for (let opset = from + 1; opset <= target; opset++) await raiseBy1(model, { ...around, opset }, report);
  model.opsets.set("", target);
  raiseIrVersion(model, target);
  dropUnused(model, usedBefore);
  return {
    from,
    to: target,
    rewritten: Array.from(report.values(), ({ what, done }) => `${what}: ${done.join(", ")}`),
  };
}

function checkModel(model: Model, from: number, target: number, file: string, cure: string | Words | undefined): void {
  if (target < from) {
    throw new FormatError(
      file,
      words`is of opset ${from}, and opsets are only raised; take that or a higher one (${option("opset", from)})`,
    );
  }
  if (model.irVersion < 3) {
    throw new FormatError(
      file,
      `is of IR version ${model.irVersion}, from before ONNX 1.0; convert it with ONNX 1.x first`,
    );
  }
  const bound = model.functions.find(({ message }) => importsOnnx(message));
  if (bound) {
    const why = `its function ${JSON.stringify(bound.name)} is made of ONNX's own operators, which stay at their opset`;
    const other = cure === undefined ? `, or leave the model at opset ${from}` : "";
    throw new FormatError(file, `${why}; inline the functions first${other}`);
  }
  for (const graph of graphsOf(model.graph)) for (const node of graph.nodes) checkNode(node, from, file, cure);
}

function checkNode(
  { opType, name, outputs, domain }: Node,
  from: number,
  file: string,
  cure: string | Words = `leave the model at opset ${from}`,
): void {
  if (domain !== "" || runtimeOps.has(opType)) return;
  const history = histories.get(opType);
  if (history && history.since <= from) return;
  const why = history
    ? `came with opset ${history.since}, and the model says it is of opset ${from}`
    : `is not an operator of ONNX up to opset ${NEWEST_OPSET}`;
  throw nodeError(file, opType, name || (outputs[0] ?? ""), why, cure);
}

/** Whether a function's nodes are of ONNX's own domain, by the opsets it names. */
function importsOnnx(message: Message): boolean {
  return messagesOf(message, functionField.opsetImport).some((entry) => {
    const domain = fieldsOf(entry).findLast(({ number }) => number === opsetField.domain);
    return ["", "ai.onnx"].includes(domain ? textAt(entry.index, domain) : "");
  });
}

/** A node as the file has it, and what was done to it on the way. */
interface Reported {
  readonly what: string;
  readonly done: string[];
}

/** From one opset to the next. */
async function raiseBy1(
  model: Model,
  around: Omit<Surroundings, "used" | "values">,
  report: Map<Node, Reported>,
): Promise<void> {
  const isDue = ({ domain, opType }: Node) =>
    domain === "" && histories.get(opType)?.rewritten.has(around.opset) === true;
  const graphs = Array.from(graphsOf(model.graph)).filter(({ nodes }) => nodes.some(isDue));
  if (graphs.length === 0) return;
  const values = new DeclaredValues(new Scope(around.file, model.graph), model.irVersion);
  const used = usedNames(model);
  for (const graph of graphs) {
    const nodes: Node[] = [];
    for (const node of graph.nodes) {
      if (!isDue(node)) {
        nodes.push(node);
        continue;
      }
      const step = new Step(node, values.scopeOf(graph), { ...around, values, used });
      const done = await rewriteOf(node.opType, around.opset)!(step);
      // Of nodes that were put in on the way nobody has heard.
      if (done !== undefined && node.origin) {
        const reported = report.get(node) ?? { what: step.what, done: [] };
        reported.done.push(done);
        report.set(node, reported);
      }
      nodes.push(...step.before, node, ...step.after);
    }
    if (nodes.length > graph.nodes.length) graph.nodes = nodes;
  }
}

/** Opsets come with IR versions, and initializers that were made with one that lets them be no inputs. */
function raiseIrVersion(model: Model, target: number): void {
  const isMade = Array.from(graphsOf(model.graph)).some(({ initializers }) =>
    initializers.some(({ message }) => !message),
  );
  raiseIr(model, Math.max(irVersionOf(target), isMade ? 4 : 0));
}

/** Initializers that nobody takes any more, or that were made on the way for a node that was changed again. */
function dropUnused(model: Model, usedBefore: ReadonlySet<string>): void {
  const used = usedNames(model);
  for (const graph of graphsOf(model.graph)) {
    const kept = graph.initializers.filter(
      ({ name, message }) => used.has(name) || (message && !usedBefore.has(name)) || isInput(graph, name),
    );
    if (kept.length < graph.initializers.length) graph.initializers = kept;
  }
}

function isInput({ inputs }: Graph, name: string): boolean {
  return inputs.some((input) => input.name === name);
}

/** Names that some node takes or some graph gives, of all graphs. */
function usedNames(model: Model): ReadonlySet<string> {
  const used = new Set<string>();
  for (const { nodes, outputs } of graphsOf(model.graph)) {
    for (const { name } of outputs) used.add(name);
    for (const { inputs } of nodes) for (const name of inputs) used.add(name);
  }
  return used;
}
