import type { Inspection, TensorInspection } from "../checkpoint/inspect-checkpoint.ts";
import { METADATA_KEY } from "../checkpoint/plain/plain-layout.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import * as format from "./format.ts";
import { columnsOf, tableOf } from "./table.ts";
import { lineOf } from "./words.ts";

/** What a finished task is told of besides its report. */
export interface Outcome {
  readonly input: string;
  readonly output: string;
  /** What was done to tensors: "quantized", "restored". */
  readonly done: string;
  /** Whether it was an ONNX model. */
  readonly isModel: boolean;
  /** From the process's start, in seconds. */
  readonly seconds: number;
}

/** The table of tensors and the totals, for people. */
export function renderReport(
  { tensors, bytesBefore, bytesAfter, remarks }: ModelReport,
  { output, done, isModel, seconds }: Outcome,
): string {
  // What a choice of ranges gained, where one was made.
  const hasGains = tensors.some(({ rangeGain }) => rangeGain !== undefined);
  const columns = columnsOf(
    ...(isModel ? ["op", "weight"] : ["tensor"]),
    "shape",
    "dtype",
    ">error",
    ...(hasGains ? [">range gain"] : []),
    ">before",
    ">after",
    "",
  );
  const rows = tensors.map((t) => [
    ...(isModel ? [format.text(t.ops?.join(", ") ?? "")] : []),
    format.name(t.name),
    format.shape(t.shape),
    t.from === t.to ? t.from : `${t.from} -> ${t.to}`,
    format.decibels(t.sqnr),
    ...(hasGains ? [format.decibels(t.rangeGain)] : []),
    format.bytes(t.bytesBefore),
    format.bytes(t.bytesAfter),
    t.reason === undefined ? "" : `copied: ${t.reason}`,
  ]);
  const changed = tensors.filter(({ reason }) => reason === undefined).length;
  const ratio = bytesBefore === 0 ? 1 : bytesAfter / bytesBefore;
  const totals =
    `${format.text(output)}: ${changed} of ${tensors.length} tensors ${done}, ` +
    `${format.bytes(bytesBefore)} -> ${format.bytes(bytesAfter)} (${ratio.toFixed(3)} of the input), ${seconds.toFixed(2)} s\n`;
  const lines = remarks?.map((remark) => `${format.text(lineOf(remark))}\n`).join("") ?? "";
  return `${tableOf(columns, rows)}\n${totals}${lines}${isModel ? "" : remarkOn(done, changed, bytesBefore, bytesAfter)}`;
}

/** What a reader of the totals would wonder about. */
function remarkOn(done: string, changed: number, bytesBefore: number, bytesAfter: number): string {
  if (done !== "restored" && changed === 0) return "nothing to do: the file was copied as it is\n";
  const grew =
    done === "quantized" &&
    bytesAfter > bytesBefore &&
    "larger than the input: what was added outweighs what the codes save\n";
  return grew || "";
}

/** The same for programs. JSON has no Infinity: a ratio of nothing lost is the string "Infinity". */
export function reportToJson(report: ModelReport, outcome: Outcome): string {
  const { input, output, seconds } = outcome;
  return toJson({ input, output, seconds, ...report });
}

export function renderInspection(input: string, { fileType, files, metadata, bytes, tensors }: Inspection): string {
  const columns = columnsOf(
    "tensor",
    "shape",
    "dtype",
    ">bytes",
    ">min",
    ">max",
    ">int8 tensor",
    ">int8 channel",
    ">int4 blocks",
    "",
  );
  const rows = tensors.map((t) => [
    format.name(t.name),
    format.shape(t.quantized?.shape ?? t.shape),
    t.quantized?.dtype ?? t.dtype,
    format.bytes(t.bytes),
    format.number(t.min),
    format.number(t.max),
    format.decibels(t.sqnr?.int8PerTensor),
    format.decibels(t.sqnr?.int8PerChannel),
    format.decibels(t.sqnr?.int4Blocks),
    noteOf(t),
  ]);
  const entries = Object.entries(metadata)
    .filter(([key]) => key !== METADATA_KEY)
    .map(([key, value]) => `${format.text(key)}: ${shorten(format.text(value))}\n`);
  const shards = files ? ` in ${files.length} files` : "";
  const title = `${format.text(input)}: ${fileType}${shards}, ${tensors.length} tensors, ${format.bytes(bytes)}\n`;
  return `${title}${entries.join("")}\n${tableOf(columns, rows)}`;
}

function noteOf({ quantized, reason }: TensorInspection): string {
  if (!quantized) return reason === undefined ? "" : `not quantized: ${reason}`;
  const { scheme, source, granularity } = quantized;
  const { axis, blockSize } = granularity;
  const groups = axis === undefined ? "per tensor" : blockSize === undefined ? "per channel" : `blocks of ${blockSize}`;
  return `${scheme}, ${groups}${axis === undefined ? "" : `, axis ${axis}`}, was ${source}`;
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}

/** JSON has no Infinity and no NaN: they become strings. Messages stand there as texts, without their parts. */
export function toJson(value: unknown): string {
  const plain = (key: string, x: unknown) => {
    if (key === "words" && Array.isArray(x)) return undefined; // a file's own names have no lists
    return typeof x === "number" && !Number.isFinite(x) ? String(x) : x;
  };
  return `${JSON.stringify(value, plain, 2)}\n`;
}
