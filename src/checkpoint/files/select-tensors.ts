import { ArgumentError, FormatError } from "../../errors.ts";
import { isFloatName, type SafetensorsFloat } from "../../formats/float-types.ts";
import { EXCLUDE_IT, words } from "../../messages.ts";
import { type Matcher, matcherOf } from "../../pipeline/name-globs.ts";
import type { Selection } from "./checkpoint-options.ts";
import type { CheckpointTensor } from "./open-checkpoint.ts";

/** What becomes of one tensor: how it is quantized, the reason where it is copied as it is. */
export type Decision<Way> =
  | { readonly tensor: CheckpointTensor; readonly entry: Way }
  | { readonly tensor: CheckpointTensor; readonly reason: string };

/** How a layout takes float tensors. */
export interface TensorChoice<Way> {
  /** What is done to them, for errors. */
  readonly verb: "quantize" | "convert";
  /**
   * Why it does not take a tensor.
   *
   * @param asked whether a glob of `include` names it
   */
  unfitness(tensor: CheckpointTensor, asked: boolean): string | undefined;
  /** How it does, or why not. */
  entryOf(tensor: CheckpointTensor, source: SafetensorsFloat): Way | string;
}

/** Decides about tensors by their types, the layout and the globs. @throws ArgumentError for a glob that matches nothing */
export function selectTensors<Way extends object>(
  tensors: readonly CheckpointTensor[],
  selection: Pick<Selection, "include" | "exclude">,
  chooser: TensorChoice<Way>,
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
    const message = words`its ${taken.part} would go by the name of the file's tensor "${taken.name}"; ${EXCLUDE_IT}`;
    throw new FormatError(file, message, name);
  }
}

function checkIncluded(
  decisions: readonly Decision<object>[],
  included: Matcher,
  globs: readonly string[],
  { verb }: Pick<TensorChoice<object>, "verb">,
): void {
  const matched = decisions.filter(({ tensor }) => included(tensor.name));
  if (matched.some((decision) => "entry" in decision)) return;
  const [first] = matched;
  const reason = first && "reason" in first ? `${first.tensor.name}: ${first.reason}` : "";
  throw new ArgumentError("include", `${globs.map((g) => `"${g}"`).join(", ")} leaves nothing to ${verb} (${reason})`);
}
