import { type Remark, remark } from "../../pipeline/model-report.ts";
import type { Model } from "../ir/graph.ts";
import { UNKNOWN_OP } from "./common-rules.ts";
import { SEEN_WITH, type TargetFinding, type TargetVerdict } from "./target.ts";

// Which versions of ONNX Runtime run a model. Seen in onnxruntime-node 1.20.1, 1.21.1, 1.22.0, 1.23.0, 1.23.2, 1.24.1,
// 1.24.3, 1.25.1, 1.26.0, 1.27.0, 1.29.0 and 1.30.0 (test/runtimes), of which the first is the oldest that package.json allows.

/** Minor versions on npm, the oldest that is allowed first. */
const minors = [20, 21, 22, 23, 24, 25, 26, 27, 29, 30];

/** The newest opset and IR version that a version takes, and those before it. */
const limits = [
  { upTo: "1.20.1", opset: 21, irVersion: 10 },
  { upTo: "1.22.0", opset: 22, irVersion: 10 },
  { upTo: "1.23.2", opset: 23, irVersion: 11 },
  { upTo: "1.24.3", opset: 25, irVersion: 13 },
  { upTo: "1.29.0", opset: 26, irVersion: 13 },
  { upTo: undefined, opset: 26, irVersion: 14 },
] as const;

/** The newest opset that any version takes. */
export const newestOpset = 26;

/** What versions have to say of a model's opset and IR version. */
export function* formatVerdicts({ opsets, irVersion }: Pick<Model, "opsets" | "irVersion">): Generator<TargetVerdict> {
  for (const [what, version, key] of [
    ["opset", opsets.get("") ?? 0, "opset"],
    ["IR version", irVersion, "irVersion"],
  ] as const) {
    const last = limits.findLast((limit) => version > limit[key]);
    if (last) yield { severity: "fails", reason: `${what} ${version}`, upTo: last.upTo };
  }
}

/** Whether what was found keeps a model from running in a version. */
export function failsIn(version: string, { severity, upTo }: TargetVerdict): boolean {
  return severity === "fails" && (upTo === undefined || isUpTo(version, upTo));
}

function isUpTo(version: string, last: string): boolean {
  return version.localeCompare(last, "en", { numeric: true }) <= 0;
}

/** Why versions do not run a model. */
export interface RuntimeNeed {
  /** The first minor version that does, as "1.24"; undefined where none does yet. */
  readonly version: string | undefined;
  /** One line. */
  readonly reason: string;
  /** Of how many nodes that is said; 0 where it is said of the model. */
  readonly nodes: number;
}

/** What the findings on a target keep from running in versions that package.json allows, that of the newest version first. */
export function runtimeNeeds(findings: readonly TargetFinding[]): RuntimeNeed[] {
  const needs = new Map<string, RuntimeNeed>();
  for (const { severity, reason, upTo, op } of findings) {
    if (severity !== "fails") continue;
    const key = JSON.stringify([reason, upTo]);
    const nodes = (needs.get(key)?.nodes ?? 0) + (op === undefined ? 0 : 1);
    needs.set(key, { version: upTo && minorAfter(upTo), reason, nodes });
  }
  const rank = ({ version }: RuntimeNeed) => (version === undefined ? Infinity : minorOf(version));
  return [...needs.values()].sort((a, b) => rank(b) - rank(a));
}

/** The minor version after one. */
export function minorAfter(version: string): string {
  return `1.${minors.find((minor) => minor > minorOf(version))}`;
}

function minorOf(version: string): number {
  return Number(version.split(".")[1]);
}

/** What a need is of, with the number of nodes. */
export function wordsOfNeed({ reason, nodes }: RuntimeNeed): string {
  if (nodes === 0) return reason;
  return `${reason} (${nodes === 1 ? "1 node" : `${nodes} nodes`})`;
}

/** The version that a model needs, where that is not each that package.json allows, and what no version runs. */
export function versionRemarks(findings: readonly TargetFinding[]): Remark[] {
  const all = runtimeNeeds(findings);
  const never = all.filter(({ version, reason }) => version === undefined && reason !== UNKNOWN_OP);
  const needs = all.filter(({ version }) => version !== undefined);
  return [
    ...never.map((need) => remark("runtime-support", `fails in ONNX Runtime up to ${NEWEST}: ${wordsOfNeed(need)}`)),
    ...neededVersion(needs),
  ];
}

function neededVersion(needs: readonly RuntimeNeed[]): Remark[] {
  const [first] = needs;
  if (!first) return [];
  const reasons = needs.map((need) => {
    const own = need.version === first.version ? "" : `, from ${need.version} on`;
    return `${wordsOfNeed(need)}${own}`;
  });
  return [remark("runtime-version", `needs ONNX Runtime ${first.version} or newer: ${reasons.join("; ")}`)];
}

/** How the newest version is called in messages. */
export const NEWEST = SEEN_WITH.replace(/\.0$/, "");
