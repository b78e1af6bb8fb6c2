import * as format from "../../src/cli/format.ts";
import { formatNumber, formatTable, markOf } from "../harness.ts";

/** A form of a model that was measured. */
export interface InferenceFigure {
  readonly model: string;
  readonly form: string;
  /** Of one run: the median. */
  readonly seconds: number;
  /** Its time over that of the float model: the median of the rounds' ratios. */
  readonly ratio: number;
  /** Interquartile range of the rounds' ratios in percent of it. */
  readonly spread: number;
  readonly rounds: number;
  /** Bytes over those of the float model. */
  readonly size: number;
  /** Of the output that is farthest from the float model's, in dB; undefined where no output is comparable. */
  readonly sqnr: number | undefined;
  readonly noisy: boolean;
}

/** A form of a model that was not measured. */
export interface InferenceGap {
  readonly model: string;
  readonly form: string;
  readonly gap: "not made" | "does not load" | "does not run";
  readonly reason: string;
}

export type InferenceRow = InferenceFigure | InferenceGap;

/** The name of the yardstick among the forms. */
export const FLOAT = "float";

export const legend = `x float  time over that of the float model in the same round: the median over all rounds, and its spread
size     bytes over those of the float model
SQNR     of the output that differs most, over random inputs
`;

const headings = ["form", "ms", "x float", "spread", "size", "SQNR", ""];

/** The rows of one model, and below them why some are empty. */
export function formatModel(title: string, rows: readonly InferenceRow[]): string {
  const reasons = rows.flatMap((row) => ("gap" in row ? [`${row.form}: ${reasonOf(row)}`] : []));
  return [title, "", formatTable([headings, ...rows.map(lineOf)]), ...reasons, ""].join("\n");
}

function reasonOf({ gap, reason }: InferenceGap): string {
  return gap === "not made" ? reason : `${gap}: ${reason}`;
}

function lineOf(row: InferenceRow): string[] {
  if ("gap" in row) return [row.form, "-", "-", "-", "-", "-", row.gap === "not made" ? "" : row.gap];
  const { form, seconds, ratio, spread, size, sqnr } = row;
  if (form === FLOAT) return [form, formatNumber(1000 * seconds), "", "", "", "", ""];
  return [
    form,
    formatNumber(1000 * seconds),
    ratio.toFixed(2),
    `${spread.toFixed(1)} %`,
    size.toFixed(2),
    sqnr === undefined ? "-" : format.decibels(sqnr),
    markOf(row),
  ];
}

/** Time over that of the float model, in Markdown: a row for each model, a column for each form; a star where it is noisy. */
export function formatSummary(rows: readonly InferenceRow[]): string {
  const forms = [...new Set(rows.map(({ form }) => form))].filter((form) => form !== FLOAT);
  const lines = [...new Set(rows.map(({ model }) => model))].map((model) => {
    const own = rows.filter((row) => row.model === model);
    const cellOf = (form: string) => summaryOf(own.find((row) => row.form === form));
    const float = own.find((row) => row.form === FLOAT);
    const ms = float === undefined ? "-" : "gap" in float ? float.gap : formatNumber(1000 * float.seconds);
    return [model, ms, ...forms.map(cellOf)];
  });
  const columns = ["model", "float ms", ...forms];
  return [columns, ["---", ...columns.slice(1).map(() => "---:")], ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}

function summaryOf(row: InferenceRow | undefined): string {
  if (row === undefined) return "-";
  if ("gap" in row) return row.gap === "not made" ? "-" : row.gap;
  return `${row.ratio.toFixed(2)}${row.noisy ? "*" : ""}`;
}
