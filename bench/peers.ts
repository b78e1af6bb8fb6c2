import { type BenchMemory, groundOf } from "./bench-memory.ts";
import type { Context } from "./context.ts";
import {
  batchOf,
  formatNumber,
  formatTable,
  isNoisy,
  markOf,
  measure,
  type Plan,
  rateOf,
  ratioOf,
  type Task,
} from "./harness.ts";
import { EDGE } from "./kernel-data.ts";
import { type Given, type Job, type Peer, type Prepared, type Work, works } from "./peers/peer.ts";
import { plain } from "./peers/plain.ts";
import { ours } from "./peers/wasm-quant.ts";

/** Elements: 64 KiB to 128 MiB of float32. */
const sizes = [14, 16, 18, 20, 22, 23, 25].map((power) => 2 ** power);

const plans: Readonly<Record<"full" | "quick", Plan>> = {
  full: { rounds: 9, time: 180, calls: 9, warmupTime: 40, warmupCalls: 1 },
  quick: { rounds: 3, time: 15, calls: 3, warmupTime: 10, warmupCalls: 1 },
};

const others: Readonly<Record<string, () => Promise<{ readonly peer: Peer }>>> = {
  "onnxruntime-node": () => import("./peers/onnxruntime-node.ts"),
  "onnxruntime-web": () => import("./peers/onnxruntime-web.ts"),
  "tfjs-backend-wasm": () => import("./peers/tfjs.ts"),
};

/** The yardstick's name among the figures. */
export const yardstick = "memory.copy";

export interface PeerFigure {
  readonly work: Work;
  readonly elements: number;
  readonly name: string;
  readonly seconds: number;
  /** GB of float32 a second. */
  readonly rate: number;
  readonly spread: number;
  /** Its time over that of memory.copy. */
  readonly ratio: number;
  /** Our time over its. */
  readonly oursOverIts: number;
  /** Its own times, ours, or those of memory.copy. */
  readonly noisy: boolean;
}

const legend = `time/copy   time over that of memory.copy of the float32 bytes
ours/its    time of wasm-quant over that of the peer: 0.5 is twice as fast
`;

const headings = ["", "GB/s", "spread", "time/copy", "ours/its", ""];

function lineOf(figure: PeerFigure): string[] {
  const { name, rate, spread, ratio, oursOverIts } = figure;
  const numbers = [formatNumber(rate), `${spread.toFixed(1)} %`, ratio.toFixed(2), oursOverIts.toFixed(2)];
  return [name, ...numbers, markOf(figure)];
}

/** 16 Ki, 1 Mi: elements. */
export function formatElements(elements: number): string {
  return elements >= 2 ** 20 ? `${elements / 2 ** 20} Mi` : `${elements / 2 ** 10} Ki`;
}

/** Who is here: a line for each that does not load. */
async function gather(bed: BenchMemory, print: (text: string) => void): Promise<Peer[]> {
  const peers = [...ours(bed)];
  for (const [name, load] of Object.entries(others)) {
    try {
      const { peer } = await load();
      peers.push(peer);
    } catch (error) {
      print(`${name} is left out: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  peers.push(plain);
  for (const { name, note } of peers) if (note) print(`${name}: ${note}`);
  print(`\n${legend}`);
  return peers;
}

/** The library's own calls and its peers', of one thread, over the same data at seven sizes. */
export async function benchPeers(context: Context): Promise<PeerFigure[]> {
  const { print, progress } = context;
  const bed = await context.bed();
  const peers = await gather(bed, print);
  const plan = plans[context.quick ? "quick" : "full"];
  const figures: PeerFigure[] = [];
  for (const elements of sizes) {
    const ground = groundOf(bed, [elements]);
    const given: Given = { x: ground.x.data.slice(), scale: Math.fround((2 * EDGE) / 255) };
    const prepared = new Map<Peer, Prepared>();
    try {
      for (const peer of peers) prepared.set(peer, await peer.prepare(given));
      for (const work of works) {
        progress(`${work}, ${formatElements(elements)}`);
        const jobs = await agreeing(work, prepared);
        const tasks: Record<string, Task> = { [yardstick]: ground.copy };
        for (const [name, { run }] of jobs) tasks[name] = run;
        const timings = await measure(tasks, plan, batchOf(ground.bytes));
        const [copy, own] = [timings[yardstick]!, timings[peers[0]!.name]!];
        const block = Object.entries(timings).map(([name, timing]) => ({
          work,
          elements,
          name,
          seconds: timing.seconds,
          rate: rateOf(ground.bytes, timing),
          spread: timing.spread,
          ratio: ratioOf(timing, copy),
          oursOverIts: ratioOf(own, timing),
          noisy: isNoisy(timing, own, copy),
        }));
        print(`${work}, ${formatElements(elements)} elements\n\n${formatTable([headings, ...block.map(lineOf)])}\n`);
        figures.push(...block);
      }
    } finally {
      for (const each of prepared.values()) await each.free();
      ground.free();
    }
  }
  return figures;
}

/** The jobs of those who have this work, each of them run once and found to give what the first one, ours, gives. */
async function agreeing(work: Work, prepared: ReadonlyMap<Peer, Prepared>): Promise<Map<string, Job>> {
  const jobs = new Map<string, Job>();
  let wanted: ArrayLike<number> | undefined;
  for (const [{ name, tolerance = 0 }, each] of prepared) {
    const job = each.jobs[work];
    if (!job) continue;
    await job.run();
    const found = job.result();
    wanted ??= found;
    const at = firstDifference(wanted, found, tolerance);
    if (at >= 0) throw new Error(`${work}: ${name} gives ${found[at]} at ${at} where ours is ${wanted[at]}`);
    jobs.set(name, job);
  }
  return jobs;
}

/** Where two results are farther apart than `tolerance`, or one ends; -1 if nowhere. */
export function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (!(Math.abs(a[i]! - b[i]!) <= tolerance)) return i;
  return -1;
}
