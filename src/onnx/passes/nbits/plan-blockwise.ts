import { type Job, keyOf } from "../../codecs/codec.ts";
import { bytesOfTensor } from "../../io/tensor-data.ts";
import { Names } from "../../ir/fresh-names.ts";
import type { Model, Node, Tensor } from "../../ir/graph.ts";
import { MICROSOFT, opNameOf } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import { Selection, type WeightSelection } from "../../weights/select-weights.ts";
import { Edits } from "../graph-edits.ts";
import type { Rewritten } from "../pass-result.ts";
import { whyLeft, withoutWeights } from "../skip-reasons.ts";
import { type Claim, Claims } from "../weight-usage.ts";

/** A node in another form, not yet put in its place. */
export interface Proposal {
  /** What is made of its weight; nodes whose jobs have one key share what is stored. */
  readonly job: Job;
  /** What the weight is stored as. */
  tensors(names: Names): readonly Tensor[];
  /** The nodes that take that, by its tensors' names. */
  nodes(tensors: readonly string[], names: Names): readonly Node[];
}

/** A node's other form with this weight, or the reason why it has none. */
export type Propose<W> = (node: Node, constant: FloatConstant, wishes: W) => Proposal | string;

/** The op types that have another form; `input` is where their weight is. */
export type Forms<W> = Readonly<Record<string, { readonly input: number; readonly propose: Propose<W> }>>;

/**
 * Plans other forms for nodes with constant weights, where nobody else wants these as they are and it makes them smaller.
 *
 * @param stored what weights become, for reasons: "4-bit"
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planForms<W extends WeightSelection & { readonly usual: readonly string[] }>(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: W,
  { forms, stored }: { readonly forms: Forms<W>; readonly stored: string },
): Rewritten {
  const selection = new Selection(model, constants, root, options, Object.keys(forms));
  const claims = new Claims(constants, selection);
  const types = options.opTypes ?? options.usual;
  const proposals = new Map<Claim, Map<Node, Proposal>>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const name = opNameOf(node);
      const form = forms[name];
      const claim = form && claims.find(scope, node.inputs[form.input]);
      if (!form || !claim) continue;
      const unasked = types.includes(name) ? undefined : `${name} is quantized only if opTypes names it`;
      const proposal = claims.refusal(node, claim) ?? unasked ?? form.propose(node, claim.constant, options);
      if (typeof proposal === "string") {
        claim.reasons.add(proposal);
        continue;
      }
      claim.take(node, form.input);
      proposals.set(claim, (proposals.get(claim) ?? new Map()).set(node, proposal));
    }
  }
  const edits = new Edits();
  const names = new Names(model);
  for (const [claim, proposed] of proposals) {
    const left = whyKept(claim, [...proposed.values()]);
    if (left === undefined) carryOut(claim, proposed, edits, names);
    else claim.reasons.add(left);
  }
  claims.putInto(edits);
  edits.need({ ir: 4 });
  if (!edits.isEmpty) edits.need({ domain: MICROSOFT, opset: 1 });
  const unfit = (users: string) => `has no ${stored} form in ${users}`;
  return {
    edits,
    decisions: claims.decisions((constant) => whyLeft(constant, unfit)),
    remarks: withoutWeights(root, constants),
  };
}

/** A constant is stored in other forms if nothing is left that needs it as it is, and all of them together are smaller. */
function whyKept(claim: Claim, proposals: readonly Proposal[]): string | undefined {
  if (claim.isLeft) return "others use it as it is, so it would have to be stored twice";
  const sizes = new Map(proposals.map(({ job }) => [keyOf(job), bytesOf(job)]));
  const byteLength = [...sizes.values()].reduce((a, b) => a + b, 0);
  return byteLength < bytesOfTensor(claim.constant.tensor) ? undefined : "would not get smaller";
}

function bytesOf({ parts }: Job): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function carryOut(claim: Claim, proposals: ReadonlyMap<Node, Proposal>, edits: Edits, names: Names): void {
  const stored = new Map<string, readonly string[]>();
  for (const [node, proposal] of proposals) {
    const { job } = proposal;
    if (!stored.has(keyOf(job))) {
      const tensors = proposal.tensors(names);
      claim.jobs.push(job);
      claim.tensors.push(...tensors);
      stored.set(
        keyOf(job),
        tensors.map(({ name }) => name),
      );
    }
    edits.replace(node, proposal.nodes(stored.get(keyOf(job))!, names));
  }
}
