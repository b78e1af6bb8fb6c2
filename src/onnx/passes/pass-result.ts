import type { Words } from "../../messages.ts";
import type { Remark } from "../../pipeline/model-report.ts";
import type { Job } from "../codecs/codec.ts";
import type { Candidate } from "../weights/select-weights.ts";
import type { GraphEdits } from "./graph-edits.ts";

/** The least opset in which something can be written. */
export interface OpsetNeed {
  readonly opset: number;
  /** What needs it, for errors. */
  readonly what: string;
  /** What to do where a model cannot be raised; undefined where no other form exists. */
  readonly instead?: Words | undefined;
}

/** What a pass that rewrites nodes makes of a model. */
export interface PassResult {
  readonly decisions: readonly Decision[];
  readonly edits: GraphEdits;
  /** The opset that its nodes need, to which a model is raised that has less. */
  readonly needs?: OpsetNeed | undefined;
  /** Whether nothing was looked at, as the model's opset is below that. */
  readonly isBlocked?: boolean | undefined;
  /** Whether values between nodes are of another type from now on. */
  readonly changesValues?: boolean | undefined;
  /** What a reader of the report should know besides. */
  readonly remarks?: readonly Remark[];
}

/** What becomes of a constant, or the reason why it stays. */
export interface Decision extends Candidate {
  /** What is made of it; none where it stays. */
  readonly jobs: readonly Job[];
  /** Whether nodes of the graph restore it from its codes. */
  readonly isRestored?: boolean | undefined;
  /** Why a pass before this one left it. */
  readonly before?: string | undefined;
}
