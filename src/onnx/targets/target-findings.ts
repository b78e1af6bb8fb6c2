import type { Model } from "../ir/graph.ts";
import type { Scope } from "../ir/scopes.ts";
import { commonVerdicts, modelVerdicts } from "./common-rules.ts";
import { cpuVerdicts } from "./cpu-rules.ts";
import { gpuVerdicts } from "./gpu-rules.ts";
import { type Place, placesOf } from "./node-context.ts";
import { severities, type Target, type TargetFinding, type TargetVerdict } from "./target.ts";

/**
 * The nodes of a model that fail on a target, run elsewhere, give numbers that are off, or are slow, the worst first.
 * Nothing is read of weights but their shapes and types.
 */
export function findingsFor(target: Target, model: Model, root: Scope): TargetFinding[] {
  const findings: TargetFinding[] = [];
  for (const { place, scope } of placesOf(model, root)) {
    const { node, op, isFunction } = place;
    if (isFunction) continue;
    const where = { node: node.name || (node.outputs[0] ?? ""), op, graph: scope.outer && scope.graph.name };
    for (const verdict of verdictsOn(target, place)) findings.push({ ...where, ...verdict });
  }
  findings.push(...modelVerdicts(target, root));
  const rank = ({ severity, upTo }: TargetFinding) =>
    upTo === undefined ? severities.indexOf(severity) : severities.length;
  return findings.sort((a, b) => rank(a) - rank(b));
}

function* verdictsOn(target: Target, place: Place): Generator<TargetVerdict> {
  yield* commonVerdicts(place, target);
  yield* target === "webgpu" ? gpuVerdicts(place) : cpuVerdicts(place, target);
}
