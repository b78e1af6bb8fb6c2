import { execFile, spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { formatNumber, formatTable, isNoisy, markOf, ratioOf, type Timing, timingOf } from "./harness.ts";

/** The built command, as users run it. */
export const command = resolve(import.meta.dirname, "../dist/cli/main.js");

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

/** What makes one file, or several, of one. */
export interface Contender {
  readonly name: string;
  /** Writes into an empty folder. */
  readonly run: (folder: string) => Promise<Run>;
}

interface Run {
  readonly seconds: number;
  /** Bytes of memory at the highest; 0 where nobody tells. */
  readonly peak: number;
}

/** A program and its arguments. */
type Line = readonly [program: string, ...args: string[]];

/** A program that ended badly; the message is the line with its error. */
export class ProcessError extends Error {
  readonly code: number | null;

  constructor(line: Line, code: number | null, said: string) {
    const lines = said.trim().split("\n");
    const error = lines.findLast((each) => /^(wasm-quant: |[\w.]*Error\b)/.test(each)) ?? lines.at(-1);
    super(error || `${line.join(" ")}: exit code ${code}`);
    this.code = code;
  }

  /** Whether the command was given an option that is for another kind of file. */
  get isUnsuited(): boolean {
    return /: is (for ONNX models|for files of tensors|no ONNX model)/.test(this.message);
  }
}

export interface Outcome {
  readonly name: string;
  readonly timing: Timing;
  /** Bytes of memory at the highest; 0 where nobody told. */
  readonly peak: number;
  /** Bytes written. */
  readonly bytes: number;
}

/** A process of its own, from its start to its end. */
export function program(name: string, line: (folder: string) => Line): Contender {
  return { name, run: (folder) => timed(line(folder)) };
}

export function copying(files: readonly string[]): Contender {
  return program("cp", (folder) => ["cp", ...files, folder]);
}

export function quantizing(file: string, args: readonly string[]): Contender {
  const output = `out${extname(file) === ".onnx" ? ".onnx" : ".safetensors"}`;
  const hook = `data:text/javascript,${encodeURIComponent(witness)}`;
  // A set of files goes to a folder.
  const to = (folder: string) => (args.includes("--recipe") ? folder : join(folder, output));
  return program(["wasm-quant", ...args].join(" "), (folder) => [
    process.execPath,
    ...["--import", hook, command, file, "-o", to(folder), "--force", "--quiet", ...args],
  ]);
}

/** Whether the command takes `--threads`. */
export async function knowsThreads(): Promise<boolean> {
  const { stdout } = await promisify(execFile)(process.execPath, [command, "--help"]);
  return stdout.includes("--threads");
}

/** A model and, if it has one, the file with its tensors. */
export function filesOf(file: string): string[] {
  return [file, `${file}.data`].filter((path) => existsSync(path));
}

export function sizeOf(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0);
}

/** All in turn, so that a disturbance falls on all of them. */
export async function race(
  contenders: readonly Contender[],
  folder: string,
  rounds: number,
  progress: (text: string) => void,
): Promise<Outcome[]> {
  const runs = contenders.map(() => [] as Run[]);
  const bytes = contenders.map(() => 0);
  // The first round brings files and programs into the system's cache, and starts workers.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      progress(`${round}/${rounds}  ${contender.name}`);
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder);
      const run = await contender.run(folder);
      bytes[i] = sizeOf((await readdir(folder)).map((file) => join(folder, file)));
      if (round > 0) runs[i]!.push(run);
    }
  }
  await rm(folder, { recursive: true, force: true });
  return contenders.map(({ name }, i) => ({
    name,
    timing: timingOf(runs[i]!.map(({ seconds }) => seconds)),
    peak: Math.max(...runs[i]!.map(({ peak }) => peak)),
    bytes: bytes[i]!,
  }));
}

/** @throws ProcessError unless it ends well */
async function timed(line: Line): Promise<Run> {
  const [program, ...args] = line;
  const start = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "pipe", "pipe"] });
  const said = text(child.stderr!);
  const told = text(child.stdio[3] as NodeJS.ReadableStream);
  const code = await new Promise<number | null>((done, fail) => child.on("error", fail).on("exit", done));
  const seconds = (performance.now() - start) / 1000;
  if (code !== 0) throw new ProcessError(line, code, await said);
  return { seconds, peak: 1024 * Number(await told) };
}

export interface ProcessFigure {
  readonly work: string;
  readonly name: string;
  readonly seconds: number;
  readonly spread: number;
  /** Its time over that of the first one. */
  readonly ratio: number;
  /** MB, 10^6 bytes; undefined where nobody told. */
  readonly peak: number | undefined;
  readonly written: number;
  readonly noisy: boolean;
}

/** @param outcomes the yardstick first */
export function figuresOf(work: string, outcomes: readonly Outcome[]): ProcessFigure[] {
  return outcomes.map(({ name, timing, peak, bytes }) => ({
    work,
    name,
    seconds: timing.seconds,
    spread: timing.spread,
    ratio: ratioOf(timing, outcomes[0]!.timing),
    peak: peak > 0 ? peak / 1e6 : undefined,
    written: bytes / 1e6,
    noisy: isNoisy(timing, outcomes[0]!.timing),
  }));
}

export function formatFigures(figures: readonly ProcessFigure[]): string {
  const headings = ["", "s", "spread", `time/${figures[0]!.name}`, "peak MB", "MB written", ""];
  const rows = figures.map((figure) => [
    figure.name,
    formatNumber(figure.seconds),
    `${figure.spread.toFixed(1)} %`,
    figure.ratio.toFixed(2),
    formatNumber(figure.peak),
    formatNumber(figure.written),
    markOf(figure),
  ]);
  return `${figures[0]!.work}\n\n${formatTable([headings, ...rows])}\n`;
}

/** What is said of small models before their figures. */
export const smallNote =
  "--quick: models a sixth as large; of what the command takes, most is the start of its process\n";
