import { type Job, keyOf } from "../../codecs/codec.ts";
import { bytesOfTensor } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import type { Model, Node, Tensor } from "../../ir/graph.ts";
import { MICROSOFT, opNameOf } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import { Selection, type WeightSelection } from "../../weights/select-weights.ts";
import { GraphEdits } from "../graph-edits.ts";
import type { PassResult } from "../pass-result.ts";
import { whyLeft, withoutWeights } from "../skip-reasons.ts";
import { type WeightUsage, WeightUsages } from "../weight-usage.ts";

/** A node in another form, not yet put in its place. */
export interface Proposal {
  /** What is made of its weight; nodes whose jobs have one key share what is stored. */
  readonly job: Job;
  /** What the weight is stored as. */
  tensors(names: FreshNames): readonly Tensor[];
  /** The nodes that take that, by its tensors' names. */
  nodes(tensors: readonly string[], names: FreshNames): readonly Node[];
}

/** A node's other form with this weight, or the reason why it has none. */
export type Propose<W> = (node: Node, constant: FloatConstant, options: W) => Proposal | string;

/** The op types that have another form; `input` is where their weight is. */
export type Forms<W> = Readonly<Record<string, { readonly input: number; readonly propose: Propose<W> }>>;

/**
 * Plans other forms for nodes with constant weights, where nobody else wants these as they are and it makes them smaller.
 *
 * @param stored what weights become, for reasons: "4-bit"
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planBlockwise<W extends WeightSelection & { readonly usual: readonly string[] }>(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: W,
  { forms, stored }: { readonly forms: Forms<W>; readonly stored: string },
): PassResult {
  const selection = new Selection(model, constants, root, options, Object.keys(forms));
  const usages = new WeightUsages(constants, selection);
  const types = options.opTypes ?? options.usual;
  const proposals = new Map<WeightUsage, Map<Node, Proposal>>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const name = opNameOf(node);
      const form = forms[name];
      const usage = form && usages.find(scope, node.inputs[form.input]);
      if (!form || !usage) continue;
      const unasked = types.includes(name) ? undefined : `${name} is quantized only if the op types include it`;
      const proposal = usages.refusal(node, usage) ?? unasked ?? form.propose(node, usage.constant, options);
      if (typeof proposal === "string") {
        usage.reasons.add(proposal);
        continue;
      }
      usage.take(node, form.input);
      proposals.set(usage, (proposals.get(usage) ?? new Map()).set(node, proposal));
    }
  }
  const edits = new GraphEdits();
  const names = new FreshNames(model);
  for (const [usage, proposed] of proposals) {
    const left = whyKept(usage, [...proposed.values()]);
    if (left === undefined) carryOut(usage, proposed, edits, names);
    else usage.reasons.add(left);
  }
  usages.putInto(edits);
  edits.need({ ir: 4 });
  if (!edits.isEmpty) edits.need({ domain: MICROSOFT, opset: 1 });
  const unfit = (users: string) => `has no ${stored} form in ${users}`;
  return {
    edits,
    decisions: usages.decisions((constant) => whyLeft(constant, unfit)),
    remarks: withoutWeights(root, constants),
  };
}

/** A constant is stored in other forms if nothing is left that needs it as it is, and all of them together are smaller. */
function whyKept(usage: WeightUsage, proposals: readonly Proposal[]): string | undefined {
  if (usage.isLeft) return "others use it as it is, so it would have to be stored twice";
  const sizes = new Map(proposals.map(({ job }) => [keyOf(job), bytesOf(job)]));
  const byteLength = [...sizes.values()].reduce((a, b) => a + b, 0);
  return byteLength < bytesOfTensor(usage.constant.tensor) ? undefined : "would not get smaller";
}

function bytesOf({ parts }: Job): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function carryOut(
  usage: WeightUsage,
  proposals: ReadonlyMap<Node, Proposal>,
  edits: GraphEdits,
  names: FreshNames,
): void {
  const stored = new Map<string, readonly string[]>();
  for (const [node, proposal] of proposals) {
    const { job } = proposal;
    if (!stored.has(keyOf(job))) {
      const tensors = proposal.tensors(names);
      usage.jobs.push(job);
      usage.tensors.push(...tensors);
      stored.set(
        keyOf(job),
        tensors.map(({ name }) => name),
      );
    }
    edits.replace(node, proposal.nodes(stored.get(keyOf(job))!, names));
  }
}
