import type { Decision } from "../decide.ts";
import type { Edits } from "../edits.ts";

/** What a pass that rewrites nodes makes of a model. */
export interface Rewritten {
  readonly decisions: readonly Decision[];
  readonly edits: Edits;
  /** What a reader of the report should know besides. */
  readonly remarks?: readonly string[];
}
