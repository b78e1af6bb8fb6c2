import { fileSource } from "../../src/node.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { Scope } from "../../src/onnx/ir/scopes.ts";
import { UNSTEADY } from "../../src/onnx/targets/cpu-rules.ts";
import { failsIn, minorAfter } from "../../src/onnx/targets/runtime-versions.ts";
import type { TargetFinding } from "../../src/onnx/targets/target.ts";
import { findingsFor } from "../../src/onnx/targets/target-findings.ts";
import { compareOutputs } from "../helpers/model-feeds.ts";
import { knownFailure } from "./known-failures.ts";
import type { Made } from "./outputs.ts";
import type { Result } from "./processes.ts";
import type { Runtime } from "./versions.ts";

// What came of an output in a runtime, beside what the rules of src/onnx/targets say of it there.

/** An output in a runtime. */
export interface Verdict {
  readonly made: Made;
  readonly runtime: Runtime;
  /** What went wrong; undefined where it runs and gives what the float model does. */
  readonly error?: string | undefined;
  /** Why it is expected not to run. */
  readonly reason?: string | undefined;
  /** Of what it gives, against what the float model gives, in dB. */
  readonly sqnr?: number | undefined;
}

/** What the rules find in a model, on each target. */
export type Findings = Readonly<Record<"node" | "web-wasm", readonly TargetFinding[]>>;

export async function findingsIn({ path }: Made): Promise<Findings> {
  const source = await fileSource(path);
  try {
    const model = await readModel(source);
    const on = (target: "node" | "web-wasm") => findingsFor(target, model, new Scope(path, model.graph));
    return { node: on("node"), "web-wasm": on("web-wasm") };
  } finally {
    await source.close();
  }
}

export function judge(made: Made, runtime: Runtime, float: Result, result: Result, findings: Findings): Verdict {
  const target = runtime.kind === "web" ? "web-wasm" : "node";
  const rule = findings[target].find((finding) => failsIn(runtime.version, finding));
  const known = rule ?? knownFailure(made.row, made.way, runtime);
  const reason = known && reasonOf(known);
  if (!("outputs" in float)) throw new Error(`the float model ${made.base.name} does not run: ${float.error}`);
  const common = { made, runtime, reason };
  if (rule?.reason === UNSTEADY) return { ...common, error: UNSTEADY };
  if ("error" in result) return { ...common, error: messageOf(result.error) };
  try {
    const differences = Object.values(compareOutputs(float.outputs, result.outputs));
    const sqnr = Math.min(...differences.map((each) => each.sqnr));
    const isOff = sqnr < made.row.floor;
    return { ...common, sqnr, error: isOff ? `${sqnr.toFixed(1)} dB, of ${made.row.floor}` : undefined };
  } catch (error) {
    return { ...common, error: (error as Error).message };
  }
}

function reasonOf({ reason, upTo }: Pick<TargetFinding, "reason" | "upTo">): string {
  return upTo === undefined ? `${reason}: no version runs it` : `${reason}: runs from ${minorAfter(upTo)} on`;
}

const LONGEST = 200;

/** One line. The web build throws C++ exceptions as numbers, their addresses. */
function messageOf(error: string): string {
  if (/^\d+$/.test(error)) return "an exception without a text";
  const line = error.replaceAll(/\s+/g, " ");
  return line.length > LONGEST ? `... ${line.slice(-LONGEST)}` : line;
}

/** What is not as the rules and the table of known failures say, a line each. */
export function surprises(verdicts: readonly Verdict[]): string[] {
  const counts = new Map<string, number>();
  for (const { made, runtime, error, reason } of verdicts) {
    if ((error === undefined) === (reason === undefined)) continue;
    const what = error ?? `runs, which was not expected: ${reason}`;
    const line = `${runtime.name}: ${made.row.name} of ${made.base.name}: ${what}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return Array.from(counts, ([line, count]) => (count === 1 ? line : `${line} (${count} x)`));
}
