import { closestMatch } from "leven";
import { ArgumentError } from "../../errors.ts";
import { attributeOf, graphsOf, type Model, type Node } from "./graph.ts";

/** Adjacent axes of a weight, first and last, that together number its channels. */
export type AxisRange = readonly [first: number, last: number];

/** How the weight of an op is laid out. */
export interface WeightAxes {
  /** Where a scale for each makes sense: output channels, rows of a table. Undefined: one scale for all. */
  readonly channel: AxisRange | undefined;
  /** The axis blocks run along: the one that is summed over, the width of a table. */
  readonly block: number | undefined;
}

type Rule = (node: Node, rank: number, input: number) => WeightAxes;

const fixed =
  (channel: number, block: number): Rule =>
  (_, rank) =>
    within(rank, channel, block);

/** [K, N], batched or not; what is summed over is K. A vector has no channels. */
const right = (transposed: boolean, rank: number): WeightAxes => {
  if (rank === 1) return { channel: undefined, block: 0 };
  return transposed ? within(rank, rank - 2, rank - 1) : within(rank, rank - 1, rank - 2);
};

const left = (transposed: boolean, rank: number): WeightAxes => right(!transposed, rank);

const matMul: Rule = (_, rank, input) => (input === 0 ? left(false, rank) : right(false, rank));

const fusedMatMul: Rule = (node, rank, input) =>
  input === 0 ? left(flag(node, "transA"), rank) : right(flag(node, "transB"), rank);

const gather: Rule = (node, rank) => {
  const axis = attributeOf(node, "axis", "int") ?? 0;
  const row = axis < 0 ? axis + rank : axis;
  return within(rank, row, row === rank - 1 ? rank - 2 : rank - 1);
};

/** [directions, gates x hidden, inputs]: a scale for each row of each direction. */
const recurrent: Rule = (_, rank) => (rank === 3 ? { channel: [0, 1], block: 2 } : within(rank, 0, 1));

/** The last axis that the result keeps numbers the channels; blocks run along the last one that is summed over. */
const einsum: Rule = (node, rank, input) => {
  const [inputs = "", output = ""] = (attributeOf(node, "equation", "string") ?? "").replaceAll(" ", "").split("->");
  const letters = [...(inputs.split(",")[input] ?? "")];
  if (letters.length !== rank) return { channel: undefined, block: undefined };
  const kept = letters.findLastIndex((letter) => output.includes(letter));
  const summed = letters.findLastIndex((letter) => !output.includes(letter));
  return within(rank, kept, summed);
};

function within(rank: number, channel: number, block: number): WeightAxes {
  const inside = (axis: number) => rank > 1 && axis >= 0 && axis < rank;
  return { channel: inside(channel) ? [channel, channel] : undefined, block: inside(block) ? block : undefined };
}

function flag(node: Node, name: string): boolean {
  return attributeOf(node, name, "int") === 1;
}

/** The inputs of ops that are weights, by domain and type: numbers a layer multiplies with, and tables it looks up. */
const rules: Readonly<Record<string, Readonly<Record<number, Rule>>>> = {
  Conv: { 1: fixed(0, 1) },
  ConvTranspose: { 1: fixed(1, 0) },
  DeformConv: { 1: fixed(0, 1) },
  MatMul: { 0: matMul, 1: matMul },
  Gemm: { 0: fusedMatMul, 1: fusedMatMul },
  Gather: { 0: gather },
  LSTM: { 1: recurrent, 2: recurrent },
  GRU: { 1: recurrent, 2: recurrent },
  RNN: { 1: recurrent, 2: recurrent },
  Einsum: { 0: einsum, 1: einsum },
  "com.microsoft.FusedConv": { 1: fixed(0, 1) },
  "com.microsoft.NhwcFusedConv": { 1: fixed(0, 1) },
  "com.microsoft.FusedMatMul": { 0: fusedMatMul, 1: fusedMatMul },
  "com.microsoft.FusedGemm": { 0: fusedMatMul, 1: fusedMatMul },
  "com.microsoft.Attention": { 1: fixed(1, 0) },
  "com.microsoft.EmbedLayerNormalization": { 2: fixed(0, 1), 3: fixed(0, 1), 4: fixed(0, 1) },
};

/** What an op goes by in reports and options: its type, with the domain before it unless that is ONNX's own. */
export function opNameOf({ domain, opType }: Pick<Node, "domain" | "opType">): string {
  return domain === "" ? opType : `${domain}.${opType}`;
}

/** How the weight at an input is laid out; undefined where that input is no weight. */
export function weightAxesOf(node: Node, input: number, rank: number): WeightAxes | undefined {
  return rules[opNameOf(node)]?.[input]?.(node, rank, input);
}

/** Whether an input of an op is a weight, whatever its rank. */
export function isWeightInput(node: Node, input: number): boolean {
  return rules[opNameOf(node)]?.[input] !== undefined;
}

/** The types whose weights are known. */
export const weightOps: readonly string[] = Object.keys(rules);

/** By the numbers that MatMulBnb4 has for them. */
export const QUANT_TYPES = ["fp4", "nf4"] as const;

/** The domain of ONNX Runtime's own operators. */
export const MICROSOFT = "com.microsoft";

/**
 * Holds a list of op types against a model. A list for all models may name types that this one lacks, if it has others of
 * them and they are known.
 *
 * @param ops the types whose weights are taken; undefined where any type of node may be named
 * @throws ArgumentError for a type that the model lacks, or whose weights are not taken
 */
export function checkOpTypes(model: Model, types: Iterable<string>, ops?: readonly string[]): void {
  const there = new Set<string>();
  for (const { nodes } of graphsOf(model.graph)) for (const node of nodes) there.add(opNameOf(node));
  const named = [...types];
  const known = ops ?? weightOps;
  const taken = known.filter((type) => there.has(type)).join(", ");
  const own = taken === "" ? `${known.join(", ")} have, and this model has none of these` : `this model has: ${taken}`;
  const none = named.every((type) => !there.has(type));
  for (const type of named) {
    if (there.has(type)) {
      if (ops && !ops.includes(type))
        throw new ArgumentError("opTypes", `${type} has no weights that can be quantized so; ${own}`, {
          code: "no-match",
        });
    } else if (none || !known.includes(type)) {
      const close = weightOps.includes(type) ? undefined : suggestionFor(type, there, weightOps);
      const hint = close === undefined ? "" : `; did you mean ${close}?`;
      const has = close !== undefined && there.has(close) ? "" : `; with weights it has: ${taken || "none"}`;
      throw new ArgumentError("opTypes", `the model has no ${type} node${hint}${has}`, { code: "no-match" });
    }
  }
}

/** The name that was meant, if one is near: other case, a letter or two swapped, missing or added; one that is there first. */
function suggestionFor(type: string, there: Iterable<string>, known: Iterable<string>): string | undefined {
  const lower = type.toLowerCase();
  const maxDistance = Math.min(3, Math.max(1, Math.floor(type.length / 2)));
  for (const names of [[...there], [...known]]) {
    const close = names.find((name) => name.toLowerCase() === lower) ?? closestMatch(type, names, { maxDistance });
    if (close !== undefined) return close;
  }
  return undefined;
}
