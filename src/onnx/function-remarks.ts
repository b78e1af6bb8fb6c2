import { type Remark, type RemarkCode, remark } from "../pipeline/model-report.ts";
import { listNames } from "../pipeline/phrases.ts";
import type { TensorFiles } from "./io/tensor-data.ts";
import type { Model } from "./ir/graph.ts";
import type { InlinedCalls, Inlining } from "./passes/inline/inline-functions.ts";

/** Functions of a model that were inlined, and what a reader of the report should know of that. */
export interface InlinedFunctions extends Pick<Inlining, "undo"> {
  readonly remarks: readonly Remark[];
}

/** Names of functions in a line of the report. */
const MOST_NAMES = 8;

/**
 * Inlines functions of a model that has some.
 *
 * @param why follows "functions inlined" in the remark
 * @throws FormatError
 */
export async function inlinedFunctions(
  model: Model,
  files: TensorFiles,
  which: InlinedCalls,
  why: string,
): Promise<InlinedFunctions> {
  if (model.functions.length === 0) return { remarks: [], undo: () => {} };
  // Loaded when it is wanted, as it knows every op there is.
  const { inlineFunctions } = await import("./passes/inline/inline-functions.ts");
  const { inlined, left, removed, undo } = await inlineFunctions(model, files, which);
  const reasons = Array.from(left, ([name, reason]) => `${name} (${reason})`);
  const remarks = [
    ...remarkOn("functions-inlined", `functions inlined${why}`, inlined),
    ...remarkOn("functions-left", "functions left as they are", reasons),
    ...remarkOn("functions-removed", "functions removed, as no node calls them", removed),
  ];
  return { remarks, undo };
}

function remarkOn(code: RemarkCode, text: string, names: readonly string[]): Remark[] {
  return names.length === 0 ? [] : [remark(code, `${text}: ${listNames(names, MOST_NAMES)}`)];
}
