import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, extname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { formatNumber, formatTable, quantile } from "./harness.ts";
import { writeBert } from "./models/bert.ts";

const usage = `npx tsx bench/files.ts [options] [FILE ...] [-- what the command is given besides]
  --rounds N      how often each is measured (9)
  --json FILE     the figures as JSON as well`;

const command = resolve(import.meta.dirname, "../dist/cli/main.js");
const squeezenet = resolve(import.meta.dirname, "../../shared/data/models/squeezenet_fp32.onnx");

/**
 * Runs inside the command and tells its peak at the end. Linux has it of the process itself; what getrusage says there
 * begins with the peak of the process that started it, so it is for other systems.
 */
const witness = `
  import { existsSync, readFileSync, writeSync } from "node:fs";
  import { isMainThread } from "node:worker_threads";
  const status = "/proc/self/status";
  const peak = () => existsSync(status)
    ? Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync(status, "utf8"))[1])
    : process.resourceUsage().maxRSS;
  if (isMainThread) process.on("exit", () => writeSync(3, String(peak())));
`;

interface Run {
  readonly seconds: number;
  /** Bytes of memory at the highest; 0 where nobody told. */
  readonly peak: number;
}

interface Result {
  readonly file: string;
  readonly bytes: number;
  readonly bytesAfter: number;
  readonly copies: readonly Run[];
  readonly runs: readonly Run[];
}

/** A process from its start to its end; an error unless it ends well. */
async function timed(program: string, args: readonly string[]): Promise<Run> {
  const start = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const told = text(child.stdio[3] as NodeJS.ReadableStream);
  const code = await new Promise<number | null>((done, fail) => child.on("error", fail).on("exit", done));
  const seconds = (performance.now() - start) / 1000;
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit code ${code}`);
  return { seconds, peak: 1024 * Number(await told) };
}

/** Both in turn, so that a disturbance falls on both, each into an empty folder. */
async function measureFile(file: string, folder: string, rounds: number, extra: readonly string[]): Promise<Result> {
  const output = `out${extname(file) === ".npy" ? ".safetensors" : extname(file)}`;
  const hook = `data:text/javascript,${encodeURIComponent(witness)}`;
  const files = filesOf(file);
  // A set of files goes to a folder.
  const to = extra.includes("--recipe") ? folder : join(folder, output);
  const quantize = ["--import", hook, command, file, "-o", to, "--force", "--quiet", ...extra];
  const [copies, runs]: [Run[], Run[]] = [[], []];
  let bytesAfter = 0;
  // The first round brings the file and the programs into the system's cache.
  for (let round = 0; round <= rounds; round++) {
    await emptied(folder);
    const copy = await timed("cp", [...files, folder]);
    await emptied(folder);
    const run = await timed(process.execPath, quantize);
    bytesAfter = sizeOf((await readdir(folder)).map((name) => join(folder, name)));
    if (round === 0) continue;
    copies.push(copy);
    runs.push(run);
  }
  return { file, bytes: sizeOf(files), bytesAfter, copies, runs };
}

/** A model and, if it has one, the file with its tensors. */
function filesOf(file: string): string[] {
  return [file, `${file}.data`].filter((path) => existsSync(path));
}

async function emptied(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
}

function sizeOf(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0);
}

const headings = ["file", "MB", "MB after", "cp s", "spread", "command s", "spread", "times cp", "peak MB"];

function lineOf({ file, bytes, bytesAfter, copies, runs }: Result): string[] {
  const ratios = runs.map(({ seconds }, i) => seconds / copies[i]!.seconds);
  const peak = Math.max(...runs.map((run) => run.peak));
  return [
    basename(file),
    formatNumber(bytes / 1e6),
    formatNumber(bytesAfter / 1e6),
    ...columnsOf(copies),
    ...columnsOf(runs),
    quantile(ratios, 0.5).toFixed(2),
    formatNumber(peak / 1e6),
  ];
}

/** The median, and the interquartile range in percent of it. */
function columnsOf(runs: readonly Run[]): string[] {
  const seconds = runs.map((run) => run.seconds);
  const [low, median, high] = [0.25, 0.5, 0.75].map((fraction) => quantile(seconds, fraction)) as [number, ...number[]];
  return [formatNumber(median), `${((100 * (high! - low)) / median!).toFixed(1)} %`];
}

class UsageError extends Error {}

function optionsOf(args: string[]) {
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
  return { files: positionals, rounds, json: values.json, extra: args.slice(end + 1) };
}

async function main(args: string[]): Promise<void> {
  const { files, rounds, json, extra } = optionsOf(args);
  if (!existsSync(command)) throw new UsageError(`${command} is missing: npm run build`);
  const folder = await mkdtemp(join(tmpdir(), "wasm-quant-files-"));
  try {
    const models = files.length > 0 ? files : await defaultModels(folder);
    const results: Result[] = [];
    for (const file of models) results.push(await measureFile(file, join(folder, "out"), rounds, extra));
    console.log(`Node ${process.versions.node}, ${rounds} rounds, in ${folder}\n`);
    console.log(formatTable([headings, ...results.map(lineOf)]));
    if (json !== undefined) await writeFile(json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function defaultModels(folder: string): Promise<string[]> {
  const bert = join(folder, "bert.onnx");
  await writeBert(bert);
  return existsSync(squeezenet) ? [bert, squeezenet] : [bert];
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const wrongUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
  if (!wrongUsage) throw error;
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
