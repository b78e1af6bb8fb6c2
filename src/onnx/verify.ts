import { FormatError } from "../errors.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { readModel } from "./io/decode.ts";
import { attributeOf, type Graph, graphsOf, type Model, type Node } from "./ir/graph.ts";
import { checkInputs, Scope } from "./ir/scopes.ts";
import { usedBy } from "./ir/topological-sort.ts";
import type { WeightDraft } from "./passes/weight-only/weight-draft.ts";
import { elementTypeOf } from "./proto/schema.ts";

/**
 * Reads back what is about to be written and holds it against what was meant: names are unique, every input is made
 * before it is used, what was added gives type and shape of what it replaces, and opset and IR version have it all.
 *
 * @throws FormatError when it is not so, which is a fault of this code rather than of the model
 */
export async function verifyWritten(
  written: ByteSource,
  meant: Model,
  added: readonly Node[],
  drafts: readonly WeightDraft[],
): Promise<void> {
  try {
    await compareWritten(written, meant, added, drafts);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    const message = `what would be written is not what was meant: ${cause.message}; please report this`;
    throw new FormatError(written.name, message, undefined, { cause });
  }
}

async function compareWritten(
  written: ByteSource,
  meant: Model,
  nodes: readonly Node[],
  drafts: readonly WeightDraft[],
): Promise<void> {
  const model = await readModel(written);
  const root = new Scope(written.name, model.graph);
  checkInputs(root);
  expect(model.irVersion === meant.irVersion, `IR version ${model.irVersion}`);
  const opset = model.opsets.get("") ?? 0;
  expect(opset === (meant.opsets.get("") ?? 0), `opset ${opset}`);
  for (const { domain } of nodes) expect(model.opsets.has(domain), `no opset of ${JSON.stringify(domain)}`);

  const added = new Set(nodes.flatMap(({ outputs }) => outputs).filter((name) => name !== ""));
  for (const graph of graphsOf(model.graph)) checkOrder(graph, added);
  for (const draft of drafts) checkDraft(draft);
  for (const { requirement } of drafts) {
    const { opset: least, ir } = requirement;
    expect(opset >= least && model.irVersion >= ir, `opset ${opset}, IR version ${model.irVersion}`);
  }
}

class Fault extends Error {}

function expect(truth: boolean, what: string): asserts truth {
  if (!truth) throw new Fault(what);
}

/** What was added stands before what uses it. */
function checkOrder(graph: Graph, added: ReadonlySet<string>): void {
  const made = new Set<string>();
  const own = new Set(graph.nodes.flatMap(({ outputs }) => outputs).filter((name) => added.has(name)));
  for (const node of graph.nodes) {
    for (const input of usedBy(node)) {
      expect(!own.has(input) || made.has(input), `${node.opType} "${node.name}" uses "${input}" too soon`);
    }
    for (const output of node.outputs) made.add(output);
  }
}

interface Known {
  readonly type: string;
  /** Undefined behind a Gather, whose indices are not known. */
  readonly shape: readonly number[] | undefined;
}

/** Types and shapes along the nodes of a draft: what comes out is what the constant was. */
function checkDraft({ constant, tensors, nodes, replaced, indices }: WeightDraft): void {
  const { type, shape } = constant.tensor;
  const known = new Map<string, Known>(tensors.map((t) => [t.name, { type: t.type!, shape: t.shape }]));
  for (const { name, shape: places } of indices) known.set(name, { type: "int32", shape: places });
  for (const node of nodes) known.set(node.outputs[0]!, infer(node, known));
  const restored = known.get(constant.name);
  if (restored) {
    expect(restored.type === type, `"${constant.name}" becomes ${restored.type}`);
    expect(restored.shape?.join() === shape.join(), `"${constant.name}" becomes [${restored.shape}]`);
  }
  for (const [node, instead] of replaced) {
    for (const made of instead) known.set(made.outputs[0]!, infer(made, known));
    expect(known.get(node.outputs[0]!)?.type === type, `"${node.outputs[0]}" changes its type`);
  }
}

function infer(node: Node, known: ReadonlyMap<string, Known>): Known {
  const [a, b] = node.inputs.map((name) => known.get(name));
  expect(a !== undefined, `"${node.name}" takes what is not known`);
  switch (node.opType) {
    case "Transpose":
      return { type: a.type, shape: undefined };
    case "Cast":
      return { type: elementTypeOf(attributeOf(node, "to", "int")!)!, shape: a.shape };
    case "Gather": {
      if (!b) return { type: a.type, shape: undefined };
      const axis = attributeOf(node, "axis", "int")!;
      const at = axis < 0 ? axis + (a.shape?.length ?? 0) : axis;
      return { type: a.type, shape: a.shape?.flatMap((d, i) => (i === at ? b.shape! : [d])) };
    }
    case "DequantizeLinear":
      expect(b?.type === "float32", `"${node.name}" has scales of ${b?.type}`);
      return { type: "float32", shape: a.shape };
    default:
      expect(a.type === "float32" && b?.type === "float32", `"${node.name}" works on ${a.type} and ${b?.type}`);
      return { type: "float32", shape: a.shape && b.shape && broadcast(a.shape, b.shape) };
  }
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    expect(x === y || x === 1 || y === 1, `[${a}] does not go with [${b}]`);
    return x === 1 ? y : x;
  });
}
