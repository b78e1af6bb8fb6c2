import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createEngine } from "../core/engine.ts";
import { ArgumentError, FileError } from "../errors.ts";
import { detectFormat } from "../formats/detect.ts";
import type { ByteSink } from "../formats/source.ts";
import { quantizeForTransformers, type VariantReport } from "../model.ts";
import { createFile } from "../node.ts";
import { isVariant, suffixes, type Variant, variants } from "../onnx/transformers.ts";
import type { TaskOptions } from "../task/progress.ts";
import { wholeOrNothing } from "../task/whole.ts";
import type { QuantizeArguments } from "./args.ts";
import { withFolder } from "./places.ts";
import { toJson } from "./report.ts";
import { columnsOf, formatBytes, formatDecibels, printable, printableName, tableOf } from "./table.ts";
import { print, stemOf, withSource, withTask } from "./work.ts";

/** The files of one session. */
interface SessionReport {
  readonly input: string;
  readonly bytesBefore: number;
  readonly files: readonly (VariantReport & { readonly output: string })[];
}

/** Makes the files that transformers.js looks for of a model, or of every session in a folder. */
export async function makeSet(input: string, options: QuantizeArguments): Promise<void> {
  const engine = await createEngine();
  const sessions = await sessionsIn(input);
  const folder = options.output ?? dirname(sessions[0]!);
  const { only, reduceRange, include, exclude } = options;
  const perChannel = options.perTensor ? false : options.perChannel;
  const nameOf = (path: string, suffix: string) => join(folder, `${basename(stemOf(path))}${suffix}.onnx`);
  const reports: SessionReport[] = [];
  const sinks: ByteSink[] = [];
  // Files appear together, once all of them are written: closing one waits for the others.
  const held = new Map<string, ByteSink>();
  const makeAll = async (task: TaskOptions) => {
    // Whatever is there already is found before any work is done.
    const names = new Set(sessions.flatMap((path) => (only ?? variants).map((each) => nameOf(path, suffixes[each]))));
    for (const name of names) {
      const sink = await createFile(name, { overwrite: options.force });
      sinks.push(sink);
      held.set(name, { ...sink, close: async () => {} });
    }
    for (const path of sessions) {
      const files = await withSource(path, (source) =>
        quantizeForTransformers(engine, source, async (suffix) => held.get(nameOf(path, suffix))!, {
          ...{ only, perChannel, reduceRange, include, exclude },
          ...task,
        }),
      );
      const outputs = files.map((file) => ({ ...file, output: nameOf(path, suffixes[file.variant]) }));
      reports.push({ input: path, bytesBefore: outputs[0]?.bytesBefore ?? 0, files: outputs });
    }
  };
  await withTask(options, (task) => withFolder(folder, () => wholeOrNothing(sinks, () => makeAll(task))));
  if (options.quiet) return;
  print(
    options.json
      ? toJson(reports)
      : `${reports.map(renderSession).join("\n")}${(performance.now() / 1000).toFixed(2)} s\n`,
  );
}

/** A model by itself; in a folder, or in its folder `onnx`, each that is no variant of another. */
async function sessionsIn(input: string): Promise<string[]> {
  const info = await stat(input).catch(() => undefined);
  if (!info?.isDirectory()) {
    if ((await withSource(input, detectFormat)) === "onnx") return [input];
    throw new ArgumentError("recipe", "is for ONNX models; this is a file of tensors");
  }
  for (const folder of [input, join(input, "onnx")]) {
    const names = await readdir(folder).catch(() => []);
    const sessions = names.filter((name) => name.toLowerCase().endsWith(".onnx") && !isMade(stemOf(name))).sort();
    if (sessions.length === 0) continue;
    const twice = sessions.find((name, i) => sessions.findIndex((other) => stemOf(other) === stemOf(name)) < i);
    if (twice !== undefined) {
      throw new FileError(
        join(folder, twice),
        "would be written to the same files as another model, having the same name; rename it",
      );
    }
    return sessions.map((name) => join(folder, name));
  }
  throw new FileError(input, "is a folder without .onnx models, and has none in a folder onnx");
}

/** Whether a file by that name was made from another, by this recipe or by the command without. */
function isMade(stem: string): boolean {
  return isVariant(stem) || /\.((dynamic-)?u?int(4|8|16)|nbits\d|b?float16)$/.test(stem);
}

/** One line a file: what it is, how large, and how much the worst of its weights lost. */
function renderSession({ input, bytesBefore, files }: SessionReport): string {
  const columns = columnsOf("variant", "file", ">bytes", ">of input", ">weights", ">worst error", "");
  const rows = files.map(({ variant, output, bytesAfter, tensors }) => {
    const made = tensors.filter(({ sqnr }) => sqnr !== undefined);
    const worst = made.reduce((least, { sqnr }) => Math.min(least, sqnr!), Number.POSITIVE_INFINITY);
    return [
      variant,
      printableName(basename(output)),
      formatBytes(bytesAfter),
      (bytesAfter / bytesBefore).toFixed(3),
      `${made.length} of ${tensors.length}`,
      made.length === 0 ? "" : formatDecibels(worst),
      warningOn(bytesBefore, bytesAfter, made.length),
    ];
  });
  const said = new Map<string, Variant[]>();
  for (const { variant, remarks = [] } of files) {
    for (const remark of remarks) said.set(remark, [...(said.get(remark) ?? []), variant]);
  }
  const lines = Array.from(said, ([remark, variants]) => `${variants.join(", ")}: ${printable(remark)}\n`);
  return `${printable(input)}, ${formatBytes(bytesBefore)}\n${tableOf(columns, rows)}${lines.join("")}`;
}

function warningOn(before: number, after: number, made: number): string {
  if (after > before) return "warning: larger than the model";
  return made === 0 ? "nothing to make smaller: as the model" : "";
}
