import { basename } from "node:path";
import type { SkippedVariant, VariantReport } from "../model.ts";
import type { TransformersJsVariant } from "../onnx/transformers-js.ts";
import * as format from "./format.ts";
import { columnsOf, tableOf } from "./table.ts";
import { lineOf, typedText } from "./words.ts";

/** The files of one session. */
export interface RecipeReport {
  readonly input: string;
  readonly bytesBefore: number;
  readonly files: readonly (VariantReport & { readonly output: string })[];
  /** Variants that were left out, and why. */
  readonly skipped: readonly SkippedVariant[];
}

/** One line a file: what it is, how large, and how much the worst of its weights lost. */
export function renderRecipe({ input, bytesBefore, files, skipped }: RecipeReport): string {
  const columns = columnsOf("variant", "file", ">bytes", ">of input", ">weights", ">worst error", "");
  const rows = files.map(({ variant, output, bytesAfter, tensors }) => {
    const made = tensors.filter(({ sqnr }) => sqnr !== undefined);
    const worst = made.reduce((least, { sqnr }) => Math.min(least, sqnr!), Number.POSITIVE_INFINITY);
    return [
      variant,
      format.name(basename(output)),
      format.bytes(bytesAfter),
      (bytesAfter / bytesBefore).toFixed(3),
      `${made.length} of ${tensors.length}`,
      made.length === 0 ? "" : format.decibels(worst),
      bytesAfter > bytesBefore ? "warning: larger than the model" : "",
    ];
  });
  const said = new Map<string, TransformersJsVariant[]>();
  for (const { variant, remarks = [] } of files) {
    for (const line of remarks.map(lineOf)) said.set(line, [...(said.get(line) ?? []), variant]);
  }
  const left = new Map<string, TransformersJsVariant[]>();
  for (const { variant, words } of skipped) {
    const reason = typedText(words);
    left.set(reason, [...(left.get(reason) ?? []), variant]);
  }
  const skips = Array.from(left, ([reason, variants]) => `left out: ${variants.join(", ")} (${format.text(reason)})\n`);
  const lines = Array.from(said, ([line, variants]) => `${variants.join(", ")}: ${format.text(line)}\n`);
  return `${format.text(input)}, ${format.bytes(bytesBefore)}\n${files.length > 0 ? tableOf(columns, rows) : ""}${skips.join("")}${lines.join("")}`;
}
