#!/usr/bin/env node
import { createRequire } from "node:module";
import { CommanderError } from "commander";
import { createEngine, type Engine } from "../core/engine.ts";
import { FileError, FormatError, isWasmQuantError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { dequantizeModel, inspectModel, quantizeModel } from "../model.ts";
import { createFile, openFile, removeUnfinished } from "../node.ts";
import type { TaskOptions } from "../task/progress.ts";
import type { ModelReport } from "../task/report.ts";
import { type CommonOptions, createProgram, type QuantizeArguments, type WriteOptions } from "./args.ts";
import { createProgressBar } from "./progress.ts";
import { inspectionToJson, renderInspection, renderReport, reportToJson } from "./report.ts";
import { printableName } from "./table.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

/** Errors repeat names from files, which may be of any length. */
const LONGEST_LINE = 1000;

async function quantize(input: string, options: QuantizeArguments): Promise<void> {
  const { dtype, axis, blockSize, reduceRange, include, exclude, perTensor } = options;
  const scheme = options.symmetric ? "symmetric" : options.asymmetric ? "affine" : options.scheme;
  const output = options.output ?? `${stemOf(input)}.${dtype}.safetensors`;
  const how = { dtype, scheme, perChannel: !perTensor, axis, blockSize, reduceRange, include, exclude };
  await convert(input, output, options, "quantized", (engine, source, sink, task) =>
    quantizeModel(engine, source, sink, { ...how, ...task }),
  );
}

async function dequantize(input: string, options: WriteOptions): Promise<void> {
  const stem = stemOf(input).replace(/\.u?int(4|8|16)$/, "");
  const output = options.output ?? `${stem}.float.safetensors`;
  const format = output.toLowerCase().endsWith(".npy") ? "npy" : "safetensors";
  await convert(input, output, options, "restored", (engine, source, sink, task) =>
    dequantizeModel(engine, source, sink, { format, ...task }),
  );
}

async function inspect(input: string, options: CommonOptions): Promise<void> {
  const engine = await createEngine();
  const inspection = await withSource(input, (source) =>
    withProgress(options, (task) => inspectModel(engine, source, task)),
  );
  if (!options.quiet) print(options.json ? inspectionToJson(input, inspection) : renderInspection(input, inspection));
}

type Conversion = (engine: Engine, source: ByteSource, sink: ByteSink, task: TaskOptions) => Promise<ModelReport>;

/** File to file, with progress on the way and a report at the end. */
async function convert(
  input: string,
  output: string,
  options: WriteOptions,
  done: string,
  conversion: Conversion,
): Promise<void> {
  const engine = await createEngine();
  const report = await withSource(input, async (source) => {
    const sink = await createFile(output, { overwrite: options.force });
    return withProgress(options, (task) => conversion(engine, source, sink, task));
  });
  const outcome = { input, output, done, seconds: performance.now() / 1000 };
  if (!options.quiet) print(options.json ? reportToJson(report, outcome) : renderReport(report, outcome));
}

async function withSource<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const source = await openFile(path);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

async function withProgress<T>({ quiet }: CommonOptions, run: (task: TaskOptions) => Promise<T>): Promise<T> {
  const bar = await createProgressBar(quiet);
  try {
    return await run({ onProgress: bar.update, signal: interruption.signal });
  } finally {
    bar.stop();
  }
}

function stemOf(path: string): string {
  return path.replace(/\.(safetensors|npy)$/i, "");
}

function print(text: string): void {
  process.stdout.write(text);
}

/** Ctrl-C or a request to end: stop at the next step, leave nothing behind. A second one does not wait for the step. */
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (interruption.signal.aborted) {
      removeUnfinished();
      process.exit(EXIT_INTERRUPTED);
    }
    interruption.abort();
  });
}
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(); // a reader that has seen enough (| head) is no failure
  process.stderr.write(`wasm-quant: standard output: cannot be written (${error.code})\n`);
  process.exit(EXIT_FAILED);
});

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };
const program = createProgram(version, { quantize, dequantize, inspect });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

/** The library says what is wrong; the words for doing something about it are the command's. */
function adviceOn(error: unknown): string {
  if (error instanceof FileError && error.message.endsWith("exists already"))
    return "; --force replaces it, -o names another";
  if (error instanceof FormatError && error.message.endsWith("exclude it")) return " (--exclude GLOB)";
  return "";
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
  const message = error instanceof Error ? error.message : String(error);
  const unexpected = isWasmQuantError(error) ? "" : "unexpected error: ";
  process.stderr.write(`wasm-quant: ${unexpected}${printableName(message + adviceOn(error), LONGEST_LINE)}\n`);
  if (process.argv.includes("--debug")) process.stderr.write(`${(error as Error).stack}\n`);
  return EXIT_FAILED;
}
