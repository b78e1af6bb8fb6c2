import type { Decision } from "../decide.ts";
import type { Edits } from "../edits.ts";

/** What a pass that rewrites nodes makes of a model. */
export interface Rewritten {
  readonly decisions: readonly Decision[];
  readonly edits: Edits;
  /** The opset that its nodes need, to which a model is raised that has less. */
  readonly needsOpset?: number;
  /** What a reader of the report should know besides. */
  readonly remarks?: readonly string[];
}
