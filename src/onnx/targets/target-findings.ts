import { type Remark, remark } from "../../pipeline/model-report.ts";
import type { Model } from "../ir/graph.ts";
import type { Scope } from "../ir/scopes.ts";
import { commonVerdicts, modelVerdicts } from "./common-rules.ts";
import { cpuVerdicts } from "./cpu-rules.ts";
import { gpuVerdicts } from "./gpu-rules.ts";
import { formatVerdicts } from "./runtime-versions.ts";
import { severities, type Target, type TargetFinding, type TargetVerdict } from "./target.ts";
import { type TargetNode, targetNodesOf } from "./target-node.ts";

/**
 * The nodes of a model that fail on a target, run elsewhere, give numbers that are off, or are slow, the worst first.
 * Nothing is read of weights but their shapes and types.
 */
export function findingsFor(target: Target, model: Model, root: Scope): TargetFinding[] {
  const findings: TargetFinding[] = [];
  for (const site of targetNodesOf(model, root)) {
    const { node, scope, op, isFunction } = site;
    if (isFunction) continue;
    const where = { node: node.name || (node.outputs[0] ?? ""), op, graph: scope.outer && scope.graph.name };
    for (const verdict of verdictsOn(target, site)) findings.push({ ...where, ...verdict });
  }
  findings.push(...formatVerdicts(model), ...modelVerdicts(target, root));
  const rank = ({ severity, upTo }: TargetFinding) =>
    upTo === undefined ? severities.indexOf(severity) : severities.length;
  return findings.sort((a, b) => rank(a) - rank(b));
}

function* verdictsOn(target: Target, site: TargetNode): Generator<TargetVerdict> {
  yield* commonVerdicts(site, target);
  yield* target === "webgpu" ? gpuVerdicts(site) : cpuVerdicts(site, target);
}

/** What is to be said of a model that was made for a target: a line for each kind of node that does not run there as it should. */
export function remarksOf(target: Target, findings: readonly TargetFinding[]): Remark[] {
  const counts = new Map<string, number>();
  for (const { op, severity, reason, advice, upTo } of findings) {
    if (upTo !== undefined) continue;
    const what = severity === "depends" ? "depends on the device" : severity;
    const line = `${op ?? "the model"} ${what} on ${target}: ${reason}${advice ? ` (${advice})` : ""}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return Array.from(counts, ([line, count]) => remark("target", count === 1 ? line : `${count} x ${line}`));
}
