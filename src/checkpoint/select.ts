import { checkGranularity } from "../core/granularity.ts";
import type { SchemeName } from "../core/schemes.ts";
import { elementsOf } from "../core/shape.ts";
import type { CodeDType } from "../dtypes.ts";
import { ArgumentError, FormatError } from "../errors.ts";
import { type FloatName, isFloatName } from "../formats/floats.ts";
import { type SafetensorsItem, safetensorsTypes } from "../formats/safetensors.ts";
import { type Matcher, matcherOf } from "../task/globs.ts";
import { type Entry, partsOf } from "./convention.ts";
import type { Checkpoint, CheckpointTensor } from "./open.ts";

/** Which tensors to quantize, and how. */
export interface Selection {
  readonly dtype: CodeDType;
  readonly scheme: SchemeName;
  /** A scale for each slice along `axis`, or one for the tensor. */
  readonly perChannel: boolean;
  /** The channel axis (0 if not said); with `blockSize` the axis that blocks run along (1 if not said). */
  readonly axis?: number | undefined;
  readonly blockSize?: number | undefined;
  /** Globs over tensor names; `*` matches across dots and slashes. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/** What becomes of one tensor: an entry where it is quantized, the reason where it is copied as it is. */
export type Decision<Way = Entry> =
  | { readonly tensor: CheckpointTensor; readonly entry: Way }
  | { readonly tensor: CheckpointTensor; readonly reason: string };

/** How a layout takes float tensors. */
export interface Chooser<Way> {
  /** What is done to them, for errors. */
  readonly verb: "quantize" | "convert";
  /**
   * Why it does not take a tensor.
   *
   * @param asked whether a glob of `include` names it
   */
  unfitness(tensor: CheckpointTensor, asked: boolean): string | undefined;
  /** How it does, or why not. */
  entryOf(tensor: CheckpointTensor, source: FloatName): Way | string;
}

/**
 * Decides about every tensor of a checkpoint: float tensors of two or more dimensions (one, in .npy and .npz files) are
 * quantized if the globs let them and it makes them smaller.
 *
 * @throws ArgumentError for a glob that matches nothing, FormatError naming the tensor for an axis it does not have.
 */
export function decide(file: string, checkpoint: Checkpoint, selection: Selection): Decision[] {
  const leastRank = checkpoint.format === "safetensors" ? 2 : 1;
  return choose(checkpoint.tensors, selection, {
    verb: "quantize",
    unfitness: ({ shape }) => unfitness(shape, leastRank),
    entryOf(tensor, source) {
      const entry = entryOf(file, tensor, source, selection);
      return isSmaller(tensor, entry) ? entry : "would not get smaller";
    },
  });
}

/** Decides about tensors by their types, the layout and the globs. @throws ArgumentError for a glob that matches nothing */
export function choose<Way extends object>(
  tensors: readonly CheckpointTensor[],
  selection: Pick<Selection, "include" | "exclude">,
  chooser: Chooser<Way>,
): Decision<Way>[] {
  const names = tensors.map(({ name }) => name);
  const included = matcherOf("include", selection.include, names, "tensor");
  const excluded = matcherOf("exclude", selection.exclude, names, "tensor");
  const decisions = tensors.map((tensor): Decision<Way> => {
    const { dtype, name } = tensor;
    if (!isFloatName(dtype)) return { tensor, reason: /^F[468]/.test(dtype) ? "small already" : "not float" };
    const unfit = chooser.unfitness(tensor, included?.(name) ?? false);
    if (unfit !== undefined) return { tensor, reason: unfit };
    if (included && !included(name)) return { tensor, reason: "not included" };
    if (excluded?.(name)) return { tensor, reason: "excluded" };
    const entry = chooser.entryOf(tensor, dtype);
    return typeof entry === "string" ? { tensor, reason: entry } : { tensor, entry };
  });
  if (included) checkIncluded(decisions, included, selection.include!, chooser);
  return decisions;
}

/**
 * There may be a tensor that goes by the name of another's scale.
 *
 * @param partsOf what stands for a tensor; one part may have the tensor's own name
 * @throws FormatError
 */
export function checkNames<Way extends object>(
  file: string,
  decisions: readonly Decision<Way>[],
  partsOf: (tensor: CheckpointTensor, entry: Way) => readonly { readonly part: string; readonly name: string }[],
): void {
  const names = new Set(decisions.map(({ tensor }) => tensor.name));
  for (const decision of decisions) {
    if (!("entry" in decision)) continue;
    const { name } = decision.tensor;
    const parts = partsOf(decision.tensor, decision.entry);
    const taken = parts.find((part) => part.name !== name && names.has(part.name));
    if (!taken) continue;
    const message = `its ${taken.part} would go by the name of the file's tensor "${taken.name}"; exclude it`;
    throw new FormatError(file, message, name);
  }
}

function unfitness(shape: readonly number[], leastRank: number): string | undefined {
  if (shape.length < leastRank) return shape.length === 0 ? "a scalar" : "one dimension";
  return elementsOf(shape) === 0 ? "empty" : undefined;
}

function entryOf(file: string, { name, shape }: CheckpointTensor, source: FloatName, selection: Selection): Entry {
  const { blockSize, perChannel, scheme } = selection;
  const rank = shape.length;
  const axis = selection.axis ?? (blockSize === undefined ? 0 : Math.min(1, rank - 1));
  const oneDimension = rank === 1 && blockSize === undefined && selection.axis === undefined;
  const wanted = blockSize !== undefined ? { axis, blockSize } : perChannel && !oneDimension ? { axis } : {};
  try {
    const granularity = checkGranularity(shape, wanted);
    return { dtype: selection.dtype, shape, source, scheme, granularity };
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new FormatError(file, `${cause.message}; give another or exclude it`, name, { cause });
  }
}

function isSmaller(tensor: CheckpointTensor, entry: Entry): boolean {
  const after = partsOf(tensor.name, entry).reduce((sum, part) => sum + bytesOfItem(part), 0);
  return after < tensor.end - tensor.start;
}

/** Bytes of a tensor. */
function bytesOfItem({ dtype, shape }: SafetensorsItem): number {
  return Math.ceil((elementsOf(shape) * safetensorsTypes[dtype]) / 8);
}

function checkIncluded(
  decisions: readonly Decision<object>[],
  included: Matcher,
  globs: readonly string[],
  { verb }: Pick<Chooser<object>, "verb">,
): void {
  const matched = decisions.filter(({ tensor }) => included(tensor.name));
  if (matched.some((decision) => "entry" in decision)) return;
  const [first] = matched;
  const reason = first && "reason" in first ? `${first.tensor.name}: ${first.reason}` : "";
  throw new ArgumentError("include", `${globs.map((g) => `"${g}"`).join(", ")} leaves nothing to ${verb} (${reason})`);
}
