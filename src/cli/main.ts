#!/usr/bin/env node
import { readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { CommanderError } from "commander";
import type { ModelRuntime } from "../compare/model-runtime.ts";
import { createEngine, type Engine } from "../engine/engine.ts";
import { ArgumentError, FileError, isWasmQuantError, UnchangedError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import { detectFileType } from "../formats/detect-file-type.ts";
import { compareModels, dequantizeModel, inspectModel, quantizeChecked } from "../model.ts";
import { checkQuantize, formName } from "../model-options.ts";
import { extensionOf } from "../node/output-name.ts";
import { fileSink, onnxRuntimeNode, removeUnfinished } from "../node.ts";
import { isHalf } from "../onnx/onnx-options.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import { createProgram } from "./args.ts";
import type { CompareArguments, InspectArguments, QuantizeArguments, WriteOptions } from "./command-options.ts";
import * as format from "./format.ts";
import { renderComparison, renderModel } from "./model-tables.ts";
import { checkConfigKept, inputFor, modelFolder, removeMade, stemOf, withOutput } from "./paths.ts";
import { quantizeRecipe } from "./recipe.ts";
import { interruption, print, withProgress, withSource, withSources, withTask } from "./run-task.ts";
import { type Outcome, renderInspection, renderReport, reportToJson, toJson } from "./tensor-tables.ts";
import { typedOption, typedOptions, typedText } from "./words.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

/** Errors repeat names from files, which may be of any length. */
const LONGEST_LINE = 1000;

async function quantize(named: string, options: QuantizeArguments): Promise<void> {
  if (options.recipe) return quantizeRecipe(named, options);
  const input = await inputFor(named);
  const { dtype, axis, blockSize, reduceRange, weightRange, include, exclude, mode, bits, accuracyLevel } = options;
  const { layout, algorithm, io, clamp, target, opset, opTypes, like, again, allowUnchanged } = options;
  const scheme = options.symmetric ? "symmetric" : options.asymmetric ? "asymmetric" : options.scheme;
  const perChannel = options.perTensor ? false : options.perChannel;
  const shape = { dtype, scheme, perChannel, axis, blockSize, layout, reduceRange, weightRange };
  const how = { ...shape, include, exclude, allowUnchanged };
  const form = { mode, format: options.format, bits, accuracyLevel, algorithm };
  const model = { ...form, io, clamp, target, opset, opTypes, like, again };
  await withSource(input, async (source) => {
    const fileType = await detectFileType(source);
    // What no such file goes with is said before anything about the output.
    const wanted = checkQuantize(input, fileType, { ...how, ...model });
    const isModel = fileType === "onnx";
    const extension = extensionOf(input, isModel);
    const forLoaders = !isModel && layout === "compressed-tensors";
    const suffix = formName({ ...how, ...model });
    const beside = `${stemOf(input)}.${suffix}${extension}`;
    const fallback = forLoaders ? modelFolder(named, input, suffix) : beside;
    const done = isHalf(dtype) ? "converted" : "quantized";
    await withOutput({ given: options.output, fallback, extension }, async (output) => {
      if (forLoaders) await checkConfigKept(input, output, fallback);
      await convert(source, output, options, { done, isModel }, (engine, sink, task) =>
        quantizeChecked(engine, source, sink, wanted, task),
      );
    });
  });
}

async function dequantize(named: string, options: WriteOptions): Promise<void> {
  const input = await inputFor(named);
  const stem = stemOf(input).replace(/\.u?int(4|8|16)$/, "");
  const given = options.output;
  const fileType = given?.toLowerCase().endsWith(".npy") ? "npy" : "safetensors";
  const extension = fileType === "npy" ? ".npy" : extensionOf(input, false);
  await withSource(input, (source) =>
    withOutput({ given, fallback: `${stem}.float${extension}`, extension }, (output) =>
      convert(source, output, options, { done: "restored", isModel: false }, (engine, sink, task) =>
        dequantizeModel(engine, source, sink, { fileType, ...task }),
      ),
    ),
  );
}

async function inspect(named: string, options: InspectArguments): Promise<void> {
  const { target, include, exclude, opTypes } = options;
  const engine = await createEngine();
  const input = await inputFor(named);
  const inspection = await withSource(input, (source) =>
    withTask(options, (task) => inspectModel(engine, source, { target, include, exclude, opTypes, ...task })),
  );
  if (options.quiet) return;
  if (options.json) print(toJson({ input, ...inspection }));
  else print(inspection.fileType === "onnx" ? renderModel(input, inspection) : renderInspection(input, inspection));
}

async function compare(a: string, b: string, options: CompareArguments): Promise<void> {
  const engine = await createEngine();
  const { seed, sets } = options;
  const files = options.inputs === undefined ? [] : await inputFiles(options.inputs);
  const runtime = await runtimeFor(options);
  const comparison = await withSources([a, b, ...files], ([first, second, ...inputs]) =>
    withProgress(options, (task) =>
      compareModels(engine, first!, second!, { runtime, inputs, ...(files.length === 0 && { seed, sets }), ...task }),
    ),
  );
  if (options.quiet) return;
  print(options.json ? toJson({ a, b, ...comparison }) : renderComparison(a, b, comparison));
}

/** Without onnxruntime-node weights alone are compared, unless inputs to run on were given. */
async function runtimeFor({ inputs }: CompareArguments): Promise<ModelRuntime | undefined> {
  try {
    return await onnxRuntimeNode();
  } catch (error) {
    if (inputs === undefined && error instanceof FileError) return undefined;
    throw error;
  }
}

/** A .npz file, or those of a folder. */
async function inputFiles(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => name.toLowerCase().endsWith(".npz")).sort();
  if (names.length === 0) throw new FileError(path, "is a folder without .npz files");
  return names.map((name) => join(path, name));
}

type Conversion = (engine: Engine, sink: ByteSink, task: TaskOptions) => Promise<ModelReport>;

/** File to file, with progress on the way and a report at the end. */
async function convert(
  source: ByteSource,
  output: string,
  options: WriteOptions,
  what: Pick<Outcome, "done" | "isModel">,
  conversion: Conversion,
): Promise<void> {
  const engine = await createEngine();
  if (!options.force && resolve(output) === resolve(source.name)) {
    throw new FileError(output, "is the input itself; -o names another file, --force puts the result in its place");
  }
  const report = await withTask(options, async (task) =>
    conversion(engine, await fileSink(output, { overwrite: options.force }), task),
  );
  const outcome = { input: source.name, output, ...what, seconds: performance.now() / 1000 };
  if (!options.quiet) print(options.json ? reportToJson(report, outcome) : renderReport(report, outcome));
}

/** Ctrl-C or a request to end: stop at the next step, leave nothing behind. A second one does not wait for the step. */
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (!interruption.signal.aborted) return interruption.abort();
    if (process.exitCode === undefined) process.stderr.write("wasm-quant: interrupted\n"); // else it has been said
    process.exit(EXIT_INTERRUPTED);
  });
}
// Whatever it ends by.
process.on("exit", () => {
  removeUnfinished();
  removeMade();
});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(); // a reader that has seen enough (| head) is no failure
  process.stderr.write(`wasm-quant: standard output: cannot be written (${error.code})\n`);
  process.exit(EXIT_FAILED);
});

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };
const program = createProgram(version, { quantize, dequantize, inspect, compare });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

/** What to do about an error, where the command has options that the library has not. */
function adviceOn(error: unknown): string {
  if (!(error instanceof FileError) || error.code !== "exists") return "";
  return `; --force replaces it, -o names another${process.argv.includes("--recipe") ? " folder" : ""}`;
}

/** The option for an argument; undefined for those of the library alone. */
function flagFor(argument: string): string | undefined {
  const flag = optionFor(argument);
  return program.commands.some(({ options }) => options.some(({ long }) => long === flag)) ? flag : undefined;
}

/** What was typed for an argument: some have several options. */
function optionFor(argument: string): string {
  const others: Readonly<Record<string, readonly string[]>> = {
    perChannel: ["per-tensor"],
    scheme: ["symmetric", "asymmetric"],
  };
  const typed = others[argument]?.find((option) => process.argv.includes(`--${option}`));
  return typed === undefined ? typedOption(argument) : `--${typed}`;
}

/** Says what went wrong in one line on stderr; the exit code. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0; // help or version, printed already
    const [first] = process.argv.slice(2);
    const named = program.commands.find((command) => command.name() === first) ?? program.commands[0]!;
    process.stderr.write(`usage: wasm-quant ${named.name()} ${named.usage()}\n`);
    return EXIT_USAGE;
  }
  if (interruption.signal.aborted) {
    process.stderr.write("wasm-quant: interrupted, nothing written\n");
    return EXIT_INTERRUPTED;
  }
  const line = `${messageOf(error)}${adviceOn(error)}`;
  const unexpected = isWasmQuantError(error) ? "" : "unexpected error: ";
  process.stderr.write(`wasm-quant: ${unexpected}${format.name(line, LONGEST_LINE)}\n`);
  if (process.argv.includes("--debug")) process.stderr.write(`${(error as Error).stack}\n`);
  return isUsage(error) ? EXIT_USAGE : EXIT_FAILED;
}

/** An error's message, with options as they are typed. */
function messageOf(error: unknown): string {
  if (error instanceof UnchangedError && error.remedy) {
    return `${error.file}: ${error.detail}; try ${typedOptions(error.remedy)}`;
  }
  if (isWasmQuantError(error)) return typedText(error.words, flagFor);
  return error instanceof Error ? error.message : String(error);
}

/** Options that no file would go with; patterns may match nothing in this one alone. */
function isUsage(error: unknown): boolean {
  return error instanceof ArgumentError && !["include", "exclude", "opTypes"].includes(error.argument);
}
