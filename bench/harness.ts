import { Bench } from "tinybench";

/** How long to measure for. Times are in milliseconds, for each task; whichever of time and calls takes longer holds. */
export interface Plan {
  /** Tasks take turns this often, so that a disturbance falls on all of them. */
  readonly rounds: number;
  readonly time: number;
  readonly calls: number;
  readonly warmupTime: number;
  readonly warmupCalls: number;
}

export interface Timing {
  /** Seconds a call: the median. */
  readonly seconds: number;
  /** Interquartile range in percent of the median. */
  readonly spread: number;
}

/** Where results go, so that no engine can tell that nobody reads them. */
export const sink = { value: 0 };

/** What is timed: from the call to its return, or to when its promise is kept. */
export type Task = () => number | Promise<number>;

/**
 * Times tasks of the same size in turn. Calls shorter than the clock can tell are timed several at once.
 *
 * @param batch calls a sample
 */
export async function measure<Name extends string>(
  tasks: Readonly<Record<Name, Task>>,
  plan: Plan,
  batch = 1,
): Promise<Record<Name, Timing>> {
  const names = Object.keys(tasks) as Name[];
  const samples = new Map(names.map((name) => [name, [] as number[]]));
  const repeats = new Map<Name, Repeat>();
  for (const name of names) repeats.set(name, await repeated(tasks[name], batch));
  for (let round = 0; round < plan.rounds; round++) {
    const bench = new Bench({
      time: plan.time / plan.rounds,
      iterations: Math.ceil(plan.calls / plan.rounds),
      warmup: round === 0,
      warmupTime: plan.warmupTime,
      warmupIterations: plan.warmupCalls,
      retainSamples: true,
      throws: true,
    });
    for (const [name, { run, async }] of repeats) bench.add(name, run, { async });
    await bench.run();
    for (const { name, result } of bench.tasks) {
      if (!("latency" in result)) throw new Error(`${name}: ${result.state}`);
      for (const ms of result.latency.samples ?? []) samples.get(name as Name)!.push(ms / 1000 / batch);
    }
  }
  return Object.fromEntries(names.map((name) => [name, timingOf(samples.get(name)!)])) as Record<Name, Timing>;
}

/** Calls `task` for so many milliseconds. */
export function warm(task: () => number, time: number): void {
  const end = performance.now() + time;
  while (performance.now() < end) sink.value += task();
}

interface Repeat {
  readonly run: () => void | Promise<void>;
  readonly async: boolean;
}

/** Awaiting what is there already costs time of its own: only promises are awaited. */
async function repeated(task: Task, times: number): Promise<Repeat> {
  const first = task();
  sink.value += await first;
  if (first instanceof Promise) {
    const run = async () => {
      for (let i = 0; i < times; i++) sink.value += await task();
    };
    return { run, async: true };
  }
  const run = () => {
    for (let i = 0; i < times; i++) sink.value += task() as number;
  };
  return { run, async: false };
}

/** @param samples seconds, of all rounds */
export function timingOf(samples: readonly number[]): Timing {
  return { seconds: quantile(samples, 0.5), spread: spreadOf(samples) };
}

/** The interquartile range in percent of the median. */
export function spreadOf(values: readonly number[]): number {
  return (100 * (quantile(values, 0.75) - quantile(values, 0.25))) / quantile(values, 0.5);
}

/** GB (10^9 bytes) a second. */
export function rateOf(bytes: number, { seconds }: Timing): number {
  return bytes / seconds / 1e9;
}

/** Calls over fewer bytes than this are timed several at once: the clock is too coarse for one. */
const BATCH = 2 ** 20;

export function batchOf(bytes: number): number {
  return Math.max(1, Math.floor(BATCH / bytes));
}

/** How many times longer `a` took than `b`. Of the medians over all rounds: one stall decides nothing. */
export function ratioOf(a: Timing, b: Timing): number {
  return a.seconds / b.seconds;
}

/** From this spread on, in percent, a figure says little. */
export const NOISY = 30;

/** Whether ratios between these say little. */
export function isNoisy(...timings: readonly Timing[]): boolean {
  return timings.some(({ spread }) => spread > NOISY);
}

/** What stands at the end of a row. */
export function markOf({ noisy }: { readonly noisy: boolean }): string {
  return noisy ? "noisy" : "";
}

/** Between the two nearest values, by distance. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = fraction * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below]!;
  return low + (at - below) * ((sorted[below + 1] ?? low) - low);
}

const units = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** `"64KiB"` in bytes; undefined where it is not a size. */
export function parseSize(text: string): number | undefined {
  const found = /^(\d+) ?(KiB|MiB|GiB)$/.exec(text.trim());
  return found ? Number(found[1]) * units[found[2] as keyof typeof units] : undefined;
}

export function formatSize(bytes: number): string {
  const unit = bytes >= units.GiB ? "GiB" : bytes >= units.MiB ? "MiB" : "KiB";
  return `${bytes / units[unit]} ${unit}`;
}

/** Three digits, or as many as stand before the point; a dash for what was not measured. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined) return "-";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** Columns as wide as their widest cell; the first flush left, the others right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "))
    .map((line) => line.trimEnd())
    .join("\n");
}
