import { bytesOf } from "../../../engine/tensors/tensor.ts";
import { viewOf } from "../../../formats/float-types.ts";
import type { Remark } from "../../../pipeline/model-report.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import { type Model, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import { Scope } from "../../ir/scopes.ts";
import { ValueUsers } from "../../ir/value-users.ts";
import { findConstants, readIntegers } from "../../weights/find-weights.ts";
import { FREE_INITIALIZERS, GraphEdits } from "../graph-edits.ts";
import type { VectorInput } from "./find-norms.ts";
import { type Channels, factorsFor, gainOf, haveOutliers, powersOf, type WeightLevels } from "./fold-gain.ts";
import { type NormGroup, NormGroups } from "./norm-groups.ts";
import { type Outliers, remarksOnOutliers } from "./outlier-remarks.ts";
import { scaledRows } from "./scaled-rows.ts";
import { readRows } from "./weight-rows.ts";

/** What a fold has to win, in dB, a bit of each code: estimates are without data, and models without outliers stay as they are. */
const WORTH_FOLDING = 6;

/** What became of outlier channels. */
export interface FoldedOutliers {
  /** Whether the model changed. */
  readonly isFolded: boolean;
  readonly remarks: readonly Remark[];
}

/**
 * Folds outlier channels: where LayerNormalization or RMSNormalization scales a few channels far above the others, these
 * are divided by powers of two, and the rows behind them in the weights multiplied with them. The products are the same,
 * but activations that are quantized with one scale keep more of the other channels.
 *
 * @param made what the dynamic mode would make of the model: products that it computes in integers are considered
 * @throws FormatError
 */
export async function foldOutliers(
  model: Model,
  files: TensorFiles,
  made: GraphEdits,
  levels: WeightLevels,
): Promise<FoldedOutliers> {
  const root = new Scope(files.source.name, model.graph);
  const constants = findConstants(root, await readIntegers(model, files));
  const users = new ValueUsers(root);
  const fold = new Fold(files, users, new FreshNames(model));
  const [folded, left]: [Outliers[], Outliers[]] = [[], []];
  for (const group of new NormGroups(model, users, constants, made).find(root)) {
    const outliers = await outliersIn(group, files, levels);
    if (!outliers) continue;
    if (group.obstacle === undefined) await fold.take(outliers);
    (group.obstacle === undefined ? folded : left).push(outliers);
  }
  if (folded.length > 0) fold.apply(model);
  return { isFolded: folded.length > 0, remarks: remarksOnOutliers(folded, left) };
}

async function outliersIn(group: NormGroup, files: TensorFiles, levels: WeightLevels): Promise<Outliers | undefined> {
  const channels = await channelsOf(group, files);
  const powers = powersOf(channels);
  // Of zeros, or NaN, nothing is known.
  if (!powers.every(Number.isFinite) || !haveOutliers(powers)) return undefined;
  const read = [];
  for (const rows of group.weights) read.push(await readRows(files, rows.constant.name, rows, powers));
  const { bound, decibels } = gainOf(channels, powers, read, levels);
  return decibels < WORTH_FOLDING ? undefined : { group, channels, factors: factorsFor(powers, bound) };
}

/** The scale, and of each channel the bias that reaches farthest. */
async function channelsOf({ norms }: NormGroup, files: TensorFiles): Promise<Channels> {
  const scale = await vectorOf(files, norms[0]!.scale);
  const bias = new Float32Array(scale.length);
  for (const norm of norms) {
    if (!norm.bias) continue;
    const own = await vectorOf(files, norm.bias);
    own.forEach((value, c) => {
      if (!(Math.abs(value) <= Math.abs(bias[c]!))) bias[c] = value;
    });
  }
  return { scale, bias };
}

async function vectorOf(files: TensorFiles, { constant }: Pick<VectorInput, "constant">): Promise<Float32Array> {
  return viewOf(Float32Array, await files.read(constant.tensor));
}

/** Scales and biases that are one tensor. */
interface SharedVector {
  readonly inputs: readonly VectorInput[];
  readonly scope: Scope;
}

/** Changes tensors so that channels are divided and rows multiplied. */
class Fold {
  readonly #edits = new GraphEdits();
  readonly #inputs = new Map<Node, Map<number, string>>();

  constructor(
    private readonly files: TensorFiles,
    private readonly users: ValueUsers,
    private readonly names: FreshNames,
  ) {}

  async take({ group: { norms, weights }, factors }: Outliers): Promise<void> {
    for (const rows of weights) {
      const { constant } = rows;
      const tensor = scaledRows(this.files, constant.name, rows, factors);
      this.#edits.substitute(constant, [{ ...tensor, name: constant.name }]);
    }
    const vectors = new Map<Tensor, { readonly inputs: VectorInput[]; readonly scope: Scope }>();
    for (const { scale, bias, scope } of norms) {
      for (const each of bias ? [scale, bias] : [scale]) {
        const there = vectors.get(each.constant.tensor);
        if (there) there.inputs.push(each);
        else vectors.set(each.constant.tensor, { inputs: [each], scope });
      }
    }
    for (const vector of vectors.values()) await this.#divide(vector, factors);
  }

  /** Where others take a scale or bias, too, it stays for them. */
  async #divide({ inputs, scope }: SharedVector, factors: Float32Array): Promise<void> {
    const [{ constant }] = inputs as [VectorInput];
    const values = await vectorOf(this.files, { constant });
    const quotients = values.map((value, c) => value / factors[c]!);
    if (quotients.every((value, c) => value === values[c])) return;
    const { name, graph, tensor } = constant;
    // Norms take each of their vectors once.
    const takers = new Map(inputs.map(({ node, input }) => [node, input]));
    const isOwn = this.users.of(scope, name).every(({ node, input }) => takers.get(node) === input);
    if (isOwn && !this.users.isOutput(scope, name)) {
      this.#edits.substitute(constant, [makeTensor(name, "float32", tensor.shape, bytesOf(quotients))]);
      return;
    }
    const divided = this.names.fresh(`${name}_folded`);
    this.#edits.addTensors(graph, [makeTensor(divided, "float32", tensor.shape, bytesOf(quotients))]);
    for (const { node, input } of inputs) {
      this.#inputs.set(node, (this.#inputs.get(node) ?? new Map<number, string>()).set(input, divided));
    }
  }

  apply(model: Model): void {
    for (const [node, names] of this.#inputs) {
      this.#edits.replace(node, [{ ...node, inputs: node.inputs.map((name, i) => names.get(i) ?? name) }]);
    }
    this.#edits.need({ ir: FREE_INITIALIZERS });
    this.#edits.apply(this.files.source.name, model);
  }
}
