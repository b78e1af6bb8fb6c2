import { execFile, spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { formatNumber, formatTable, ratioOf, type Timing, timingOf } from "./harness.ts";

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

/** A program that makes one file, or several, of one. */
export interface Contender {
  readonly name: string;
  /** The program and its arguments, writing into an empty folder. */
  readonly line: (folder: string) => readonly [program: string, ...args: string[]];
}

export interface Outcome {
  readonly name: string;
  readonly timing: Timing;
  /** Bytes of memory at the highest; 0 where nobody told. */
  readonly peak: number;
  /** Bytes written. */
  readonly bytes: number;
}

export function copying(files: readonly string[]): Contender {
  return { name: "cp", line: (folder) => ["cp", ...files, folder] };
}

export function quantizing(file: string, args: readonly string[]): Contender {
  const output = `out${extname(file) === ".onnx" ? ".onnx" : ".safetensors"}`;
  const hook = `data:text/javascript,${encodeURIComponent(witness)}`;
  // A set of files goes to a folder.
  const to = (folder: string) => (args.includes("--recipe") ? folder : join(folder, output));
  return {
    name: ["wasm-quant", ...args].join(" "),
    line: (folder) => [
      process.execPath,
      ...["--import", hook, command, file, "-o", to(folder), "--force", "--quiet", ...args],
    ],
  };
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

/** All in turn, from the start of each process to its end, so that a disturbance falls on all of them. */
export async function race(
  contenders: readonly Contender[],
  folder: string,
  rounds: number,
  progress: (text: string) => void,
): Promise<Outcome[]> {
  const runs = contenders.map(() => [] as Run[]);
  const bytes = contenders.map(() => 0);
  // The first round brings files and programs into the system's cache.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { name, line }] of contenders.entries()) {
      progress(`${round}/${rounds}  ${name}`);
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder);
      const run = await timed(line(folder));
      bytes[i] = sizeOf((await readdir(folder)).map((file) => join(folder, file)));
      if (round > 0) runs[i]!.push(run);
    }
  }
  await rm(folder, { recursive: true, force: true });
  return contenders.map(({ name }, i) => ({
    name,
    timing: timingOf(runs[i]!.map(({ seconds }) => [seconds])),
    peak: Math.max(...runs[i]!.map(({ peak }) => peak)),
    bytes: bytes[i]!,
  }));
}

interface Run {
  readonly seconds: number;
  readonly peak: number;
}

/** A process from its start to its end; an error unless it ends well. */
async function timed([program, ...args]: readonly [string, ...string[]]): Promise<Run> {
  const start = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const told = text(child.stdio[3] as NodeJS.ReadableStream);
  const code = await new Promise<number | null>((done, fail) => child.on("error", fail).on("exit", done));
  const seconds = (performance.now() - start) / 1000;
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit code ${code}`);
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
  }));
}

export function formatFigures(figures: readonly ProcessFigure[]): string {
  const headings = ["", "s", "spread", `time/${figures[0]!.name}`, "peak MB", "MB written"];
  const rows = figures.map(({ name, seconds, spread, ratio, peak, written }) => [
    name,
    formatNumber(seconds),
    `${spread.toFixed(1)} %`,
    ratio.toFixed(2),
    formatNumber(peak),
    formatNumber(written),
  ]);
  return `${figures[0]!.work}\n\n${formatTable([headings, ...rows])}\n`;
}
