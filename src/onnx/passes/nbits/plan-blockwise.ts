import { bytesOf } from "../../../engine/tensors/tensor.ts";
import { type Job, keyOf } from "../../codecs/codec.ts";
import { bytesOfTensor } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import { type Model, makeNode, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import { MICROSOFT, opNameOf } from "../../ir/operators.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import { Selection, type WeightSelection } from "../../weights/select-weights.ts";
import { GraphEdits } from "../graph-edits.ts";
import type { PassResult } from "../pass-result.ts";
import { whyLeft, withoutWeights } from "../skip-reasons.ts";
import { type SeenWeight, type WeightUsage, WeightUsages } from "../weight-usage.ts";

/** A node in another form, not yet put in its place. */
export interface Proposal {
  /** What is made of its weight; nodes whose jobs have one key share what is stored. */
  readonly job: Job;
  /** What the weight is stored as. */
  tensors(names: FreshNames): readonly Tensor[];
  /** The shape in which the codes are taken, where it is a table's and not a product's. */
  readonly rows?: readonly number[];
  /** The nodes that take that, by its tensors' names. */
  nodes(tensors: readonly string[], names: FreshNames): readonly Node[];
}

/** A node's other form with this weight, or the reason why it has none. */
export type Propose<W> = (node: Node, weight: SeenWeight, options: W) => Proposal | string;

/** How an op type takes another form. */
interface Form<W> {
  /** Where its weight is. */
  readonly input: number;
  /** Undefined where it takes none for itself. */
  readonly propose?: Propose<W>;
  /** Its form where the one above is none, or is not asked for, and its weight is taken by others that are. */
  readonly proposeTied?: Propose<W>;
}

/** The op types that have another form. */
export type Forms<W> = Readonly<Record<string, Form<W>>>;

/** A node and the weight it takes. */
interface Candidate<W> {
  readonly node: Node;
  readonly weight: SeenWeight;
  readonly form: Form<W>;
}

/** One that waits for what others make of its weight. */
interface Waiting<W> extends Candidate<W> {
  readonly reason: string | undefined;
}

interface BlockwiseOptions extends WeightSelection {
  readonly usual: readonly string[];
  readonly like?: "onnxruntime" | undefined;
}

/**
 * Plans other forms for nodes with constant weights, where nobody else wants these as they are and it makes them smaller.
 *
 * @param stored what weights become, for reasons: "4-bit"
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planBlockwise<W extends BlockwiseOptions>(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: W,
  { forms, stored }: { readonly forms: Forms<W>; readonly stored: string },
): PassResult {
  const selection = new Selection(model, constants, root, options, Object.keys(forms));
  const usages = new WeightUsages(root, constants, selection, options.like !== undefined);
  const types = options.opTypes ?? options.usual;
  const proposals = new Map<WeightUsage, Map<Node, Proposal>>();
  const waiting: Waiting<W>[] = [];
  const take = ({ node, weight: { usage }, form }: Candidate<W>, proposal: Proposal | string | undefined) => {
    if (typeof proposal === "string") usage.reasons.add(proposal);
    if (typeof proposal !== "object") return;
    usage.take(node, form.input);
    proposals.set(usage, (proposals.get(usage) ?? new Map()).set(node, proposal));
  };
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const name = opNameOf(node);
      const form = forms[name];
      const weight = form && usages.weightAt(node, form.input);
      if (!form || !weight) continue;
      const refused = usages.refusal(node, weight.usage);
      const isAsked = types.includes(name);
      const unasked = form.propose && `${name} is quantized only if the op types include it`;
      const proposal = refused ?? (isAsked ? form.propose?.(node, weight, options) : unasked);
      if (refused === undefined && typeof proposal !== "object") waiting.push({ node, weight, form, reason: proposal });
      else take({ node, weight, form }, proposal);
    }
  }
  for (const { reason, ...each } of waiting) {
    const isTied = proposals.has(each.weight.usage) && !options.like;
    take(each, (isTied ? each.form.proposeTied?.(each.node, each.weight, options) : undefined) ?? reason);
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
  const sizes = new Map(proposals.map(({ job }) => [keyOf(job), sizeOf(job)]));
  const byteLength = [...sizes.values()].reduce((a, b) => a + b, 0);
  return byteLength < bytesOfTensor(usage.constant.tensor) ? undefined : "would not get smaller";
}

function sizeOf({ parts }: Job): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function carryOut(
  usage: WeightUsage,
  proposals: ReadonlyMap<Node, Proposal>,
  edits: GraphEdits,
  names: FreshNames,
): void {
  const all = [...proposals.values()];
  const stored = new Map<string, StoredWeight>();
  for (const [node, proposal] of proposals) {
    const key = keyOf(proposal.job);
    const there =
      stored.get(key) ??
      store(
        usage,
        all.filter(({ job }) => keyOf(job) === key),
        edits,
        names,
      );
    stored.set(key, there);
    edits.replace(node, proposal.nodes(proposal.rows ? there.asTable : there.asMatrix, names));
  }
}

/** The names of what a weight is stored as, for each of those that take it. */
interface StoredWeight {
  readonly asMatrix: readonly string[];
  readonly asTable: readonly string[];
}

/**
 * Stores what proposals share: in the shape that products take, as runtimes prepare their weights when they load a model,
 * and reshaped for tables, which they do then, too.
 */
function store(usage: WeightUsage, alike: readonly Proposal[], edits: GraphEdits, names: FreshNames): StoredWeight {
  const { job, tensors, rows } = alike.find(({ rows }) => !rows) ?? alike[0]!;
  const made = tensors(names);
  usage.jobs.push(job);
  usage.tensors.push(...made);
  const asMatrix = made.map(({ name }) => name);
  const shape = rows ? undefined : alike.find(({ rows }) => rows)?.rows;
  if (!shape) return { asMatrix, asTable: asMatrix };
  const [codes = "", ...rest] = asMatrix;
  const table = names.fresh(`${codes}_rows`);
  const to = names.fresh(`${table}_shape`);
  usage.tensors.push(makeTensor(to, "int64", [shape.length], bytesOf(BigInt64Array.from(shape, BigInt))));
  edits.prepend(usage.constant.graph, [makeNode("Reshape", [codes, to], [table])]);
  return { asMatrix, asTable: [table, ...rest] };
}
