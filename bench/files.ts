import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Context, createContext } from "./context.ts";
import { formatNumber } from "./harness.ts";
import { optionsOf, run, UsageError } from "./options.ts";
import {
  command,
  copying,
  figuresOf,
  filesOf,
  formatFigures,
  knowsThreads,
  ProcessError,
  type ProcessFigure,
  quantizing,
  race,
  sizeOf,
  smallNote,
} from "./process.ts";

const usage = `npx tsx bench/files.ts [options] [FILE ...] [-- what the command is given besides]
  --rounds N      how often each is measured (9)
  --json FILE     the figures as JSON as well
  --help          this`;

const squeezenet = resolve(import.meta.dirname, "../../shared/data/models/squeezenet_fp32.onnx");

interface Task {
  /** Models; those of the workshop if there are none. */
  readonly files: readonly string[];
  readonly rounds: number;
  /** What the command is given besides. */
  readonly extra: readonly string[];
}

/** The command on whole files, each against `cp` of the same file. */
export function benchFiles(context: Context): Promise<ProcessFigure[]> {
  if (context.quick) context.print(smallNote);
  return compare(context, { files: [], rounds: context.quick ? 2 : 9, extra: [] });
}

async function compare(context: Context, { files, rounds, extra }: Task): Promise<ProcessFigure[]> {
  const { workshop, print, progress } = context;
  if (!existsSync(command)) {
    print("left out: the command is not there; npm run build\n");
    return [];
  }
  const threads = extra.includes("--threads") || !(await knowsThreads()) ? [[]] : [1, 2].map(threadsOf);
  const folder = join(await workshop.folder(), "out");
  const figures: ProcessFigure[] = [];
  for (const file of files.length > 0 ? files : await defaultModels(context)) {
    const originals = filesOf(file);
    const runs = threads.map((args) => quantizing(file, [...extra, ...args]));
    const outcomes = await suited(race([copying(originals), ...runs], folder, rounds, progress));
    if (outcomes instanceof ProcessError) {
      print(`${basename(file)} is left out: ${outcomes.message}\n`);
      continue;
    }
    const work = `${basename(file)}, ${formatNumber(sizeOf(originals) / 1e6)} MB`;
    const block = figuresOf(work, outcomes);
    print(formatFigures(block));
    figures.push(...block);
  }
  return figures;
}

/** What comes of it, or why the options do not suit the file; any other failure is thrown. */
async function suited<T>(outcome: Promise<T>): Promise<T | ProcessError> {
  try {
    return await outcome;
  } catch (error) {
    if (error instanceof ProcessError && error.isUnsuited) return error;
    throw error;
  }
}

function threadsOf(count: number): string[] {
  return ["--threads", `${count}`];
}

async function defaultModels({ workshop, progress }: Context): Promise<string[]> {
  progress("writing models");
  const models = [await workshop.checkpoint(), await workshop.bert()];
  return existsSync(squeezenet) ? [...models, squeezenet] : models;
}

async function main(args: string[]): Promise<void> {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const { values, positionals } = parseArgs({
    args: args.slice(0, end),
    options: { rounds: { type: "string", default: "9" }, json: { type: "string" } },
    allowPositionals: true,
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new UsageError(`--rounds ${values.rounds}: give a whole number`);
  const missing = positionals.find((file) => !existsSync(file));
  if (missing) throw new UsageError(`${missing}: no such file`);
  const context = createContext(optionsOf([]));
  try {
    const figures = await compare(context, { files: positionals, rounds, extra: args.slice(end + 1) });
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, null, 2)}\n`);
  } finally {
    await context.workshop.close();
  }
}

if (import.meta.filename === process.argv[1]) await run(main, usage);
