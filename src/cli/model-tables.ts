import type { ModelComparison, NamedOutputComparison } from "../compare/compare-models.ts";
import type { ModelInspection, ValueInspection } from "../onnx/inspect-onnx.ts";
import { NEWEST, type RuntimeNeed, wordsOfNeed } from "../onnx/targets/runtime-versions.ts";
import type { Target, TargetFinding } from "../onnx/targets/target.ts";
import * as format from "./format.ts";
import { columnsOf, tableOf } from "./table.ts";
import { lineOf } from "./words.ts";

/** What is in a model, for people. */
export function renderModel(input: string, model: ModelInspection): string {
  const {
    bytes,
    irVersion,
    opsets,
    dataFiles,
    inputs,
    outputs,
    nodes,
    weights,
    quantized,
    target,
    findings,
    remarks = [],
  } = model;
  const imports = Object.entries(opsets).map(([domain, version]) => `${format.text(domain) || "opset"} ${version}`);
  const data = dataFiles.length === 0 ? "" : `, with ${dataFiles.map(format.text).join(", ")}`;
  const lines = [
    `${format.text(input)}: ONNX, ${format.bytes(bytes)}${data}, IR version ${irVersion}, ${imports.join(", ")}`,
    ...inputs.map((value) => `input   ${formatValue(value)}`),
    ...outputs.map((value) => `output  ${formatValue(value)}`),
    `nodes   ${Object.entries(nodes)
      .sort(([, a], [, b]) => b - a)
      .map(([op, count]) => `${count} ${format.text(op)}`)
      .join(", ")}`,
    ...model.runtimeNeeds.map(formatNeed),
  ];
  const tables = [
    ...(target ? [targetTable(target, findings ?? [])] : []),
    ...(weights.length > 0 ? [weightTable(weights)] : []),
    ...(quantized.length > 0 ? [quantizedTable(quantized)] : []),
  ];
  const notes = remarks.map((remark) => `${format.text(lineOf(remark))}\n`).join("");
  return `${lines.join("\n")}\n${[...tables, ...(notes ? [notes] : [])].map((table) => `\n${table}`).join("")}`;
}

function formatNeed(need: RuntimeNeed): string {
  const { version } = need;
  const start =
    version === undefined ? `fails   in ONNX Runtime up to ${NEWEST}` : `needs   ONNX Runtime ${version} or newer`;
  return `${start}: ${format.text(wordsOfNeed(need))}`;
}

/** Nodes that are named in the table; the JSON has all. */
const NAMED = 2;

/** What is known of a model's nodes where it is to run, equal findings of an op in one line. */
function targetTable(target: Target, findings: readonly TargetFinding[]): string {
  if (findings.length === 0) return `${target}: nothing known against it\n`;
  const groups = new Map<string, TargetFinding[]>();
  for (const finding of findings) {
    const { op, severity, reason } = finding;
    const key = JSON.stringify([op, severity, reason]);
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const columns = columnsOf(`on ${target}`, "op", ">nodes", "first", "");
  const rows = Array.from(groups.values(), (group) => {
    const [{ severity, op, reason, advice, upTo }] = group as [TargetFinding];
    const names = group.slice(0, NAMED).map(({ node }) => format.name(node ?? "", LONGEST_NODE));
    const until = upTo === undefined ? "" : ` (up to ONNX Runtime ${upTo})`;
    return [
      severity,
      op === undefined ? "(the model)" : format.text(op),
      op === undefined ? "" : String(group.length),
      `${names.join(", ")}${group.length > NAMED ? ", ..." : ""}`,
      `${format.text(reason)}${until}${advice === undefined ? "" : `; ${format.text(advice)}`}`,
    ];
  });
  return tableOf(columns, rows);
}

const LONGEST_NODE = 40;

function weightTable(weights: ModelInspection["weights"]): string {
  const columns = columnsOf(
    "op",
    "weight",
    "shape",
    "dtype",
    ">bytes",
    ">min",
    ">max",
    ">int8 tensor",
    ">int8 channel",
    ">int4 tensor",
    ">int4 channel",
    "",
  );
  const rows = weights.map((weight) => [
    format.text(weight.ops.join(", ")),
    format.name(weight.name),
    format.shape(weight.shape),
    weight.dtype,
    format.bytes(weight.bytes),
    format.number(weight.min),
    format.number(weight.max),
    format.decibels(weight.sqnr?.int8PerTensor),
    format.decibels(weight.sqnr?.int8PerChannel),
    format.decibels(weight.sqnr?.int4PerTensor),
    format.decibels(weight.sqnr?.int4PerChannel),
    noteOn(weight),
  ]);
  return tableOf(columns, rows);
}

function noteOn({ reason, isComputed }: ModelInspection["weights"][number]): string {
  if (reason !== undefined) return `not quantized: ${format.text(reason)}`;
  return isComputed ? "computed once, from constants" : "";
}

function quantizedTable(quantized: ModelInspection["quantized"]): string {
  const columns = columnsOf("quantized already", "shape", "dtype", ">bytes", ">scales");
  const rows = quantized.map(({ name, shape, dtype, bytes, scales }) => [
    format.name(name),
    format.shape(shape),
    dtype,
    format.bytes(bytes),
    String(scales),
  ]);
  return tableOf(columns, rows);
}

function formatValue({ name, dtype, shape }: ValueInspection): string {
  const sizes = shape?.map((dimension) => (dimension === "" ? "?" : format.text(String(dimension)))).join(", ");
  return `${format.name(name)} ${dtype ?? "(no tensor)"}${sizes === undefined ? "" : ` [${sizes}]`}`;
}

/** Two models side by side, for people. */
export function renderComparison(a: string, b: string, comparison: ModelComparison): string {
  const { weights, otherShapes, onlyInA, onlyInB, outputs, sets, random, bytesA, bytesB } = comparison;
  const columns = columnsOf("weight", "shape", "dtype", ">SQNR", ">largest error", "");
  const rows = weights.map((weight) => [
    format.name(weight.name),
    format.shape(weight.shape),
    weight.a === weight.b ? weight.a : `${weight.a} | ${weight.b}`,
    format.decibels(weight.sqnr),
    format.number(weight.maxAbs),
    weight.transposed ? "transposed" : "",
  ]);
  const lone = [
    ...otherShapes.map(
      ({ name, a, b }) => `laid out otherwise: ${format.name(name)}, ${format.shape(a)} | ${format.shape(b)}\n`,
    ),
    ...onlyInA.map((name) => `only in ${format.text(a)}: ${format.name(name)}\n`),
    ...onlyInB.map((name) => `only in ${format.text(b)}: ${format.name(name)}\n`),
  ];
  const sizes = `${format.text(a)} ${format.bytes(bytesA)}, ${format.text(b)} ${format.bytes(bytesB)} (${(bytesB / bytesA).toFixed(3)})\n`;
  const on = `${sets} ${sets === 1 ? "set" : "sets"} of ${random ? "random " : ""}inputs`;
  const ran = outputs
    ? `\n${outputTable(outputs)}on ${on}\n`
    : "\nnot run: npm install onnxruntime-node to compare what they give\n";
  return `${tableOf(columns, rows)}${lone.join("")}${ran}${sizes}`;
}

function outputTable(outputs: readonly NamedOutputComparison[]): string {
  const columns = columnsOf("output", ">SQNR", ">cosine", ">largest error", ">same top-1", "");
  const rows = outputs.map(({ name, comparison }) => {
    const called = format.name(name);
    switch (comparison.kind) {
      case "float": {
        const { sqnr, cosine, maxAbs, top1, nonFinite } = comparison;
        const agreement = top1 === undefined ? "" : formatShare(top1);
        const warning = nonFinite === 0 ? "" : `${nonFinite} values are NaN or infinite in one of them`;
        return [called, format.decibels(sqnr), cosine.toFixed(6), format.number(maxAbs), agreement, warning];
      }
      case "exact":
        return [called, "", "", "", "", `${formatShare(comparison.equal)} of ${comparison.elements} values equal`];
      default:
        return [called, "", "", "", "", `not comparable: ${format.text(comparison.reason)}`];
    }
  });
  return tableOf(columns, rows);
}

function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
