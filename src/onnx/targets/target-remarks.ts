import { type Remark, remark } from "../../pipeline/model-report.ts";
import type { Model } from "../ir/graph.ts";
import type { Scope } from "../ir/scopes.ts";
import type { Target } from "./target.ts";
import { findingsFor } from "./target-findings.ts";

/** What is to be said of a model that was made for a target: a line for each kind of node that does not run there as it should. */
export function remarksFor(target: Target, model: Model, root: Scope): Remark[] {
  const counts = new Map<string, number>();
  for (const { op, severity, reason, advice, upTo } of findingsFor(target, model, root)) {
    if (upTo !== undefined) continue;
    const what = severity === "depends" ? "depends on the device" : severity;
    const line = `${op ?? "the model"} ${what} on ${target}: ${reason}${advice ? ` (${advice})` : ""}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return Array.from(counts, ([line, count]) => remark("target", count === 1 ? line : `${count} x ${line}`));
}
