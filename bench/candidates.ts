import { readFile } from "node:fs/promises";
import type { KernelName, Kernels } from "../src/kernels/abi.ts";
import type { Context } from "./context.ts";
import { formatSize, formatTable, isNoisy, markOf, measure, type Plan, ratioOf } from "./harness.ts";
import { KernelData } from "./kernel-data.ts";
import { workloadOf } from "./kernel-workloads.ts";
import * as loops from "./plain-loops.ts";

/** Alternatives to kernels, in bench/assembly/index.ts: what each is, beside the kernel that was chosen. */
const candidates = [
  { kernel: "rangeF32", name: "rangeF32OneStream", what: "one stream, not four" },
  { kernel: "quantizeF32I8", name: "quantizeF32I8OneStream", what: "one stream, not four" },
  { kernel: "blocksF32I4", name: "blocksF32I4Near", what: "blocks that follow one another, not four far apart" },
  { kernel: "convertF32F16", name: "convertF32F16Folded", what: "constants where they are used" },
] as const satisfies readonly { readonly kernel: KernelName; readonly name: string; readonly what: string }[];

const SIZES = [2 ** 22, 2 ** 27];

const plans: Readonly<Record<"full" | "quick", Plan>> = {
  full: { rounds: 9, time: 90, calls: 9, warmupTime: 20, warmupCalls: 2 },
  quick: { rounds: 3, time: 15, calls: 3, warmupTime: 10, warmupCalls: 1 },
};

export interface CandidateFigure {
  readonly kernel: KernelName;
  readonly candidate: string;
  readonly size: number;
  /** Times over that of memory.copy. */
  readonly chosen: number;
  readonly other: number;
  readonly noisy: boolean;
}

/** Kernels and what might stand in their place, in turn with memory.copy: to be run on each Node that counts. */
export async function benchCandidates({ bed, quick, print, progress }: Context): Promise<CandidateFigure[]> {
  const { memory, kernels, copy } = await bed();
  const bytes = await readFile(new URL("build/candidates.wasm", import.meta.url));
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory: memory.memory } });
  const figures: CandidateFigure[] = [];
  for (const size of SIZES) {
    const stage = new KernelData(memory, size / 4);
    const batch = Math.max(1, Math.floor(2 ** 20 / size));
    for (const { kernel, name } of candidates) {
      progress(`${formatSize(size)}  ${name}`);
      const workload = workloadOf(kernel, stage, loops);
      const others = { ...kernels, [kernel]: instance.exports[name] } as Kernels;
      const timings = await measure(
        {
          copy: () => {
            copy(stage.output, stage.input, size);
            return 0;
          },
          chosen: workload.kernel(kernels, stage.elements),
          other: workload.kernel(others, stage.elements),
        },
        plans[quick ? "quick" : "full"],
        batch,
      );
      const [chosen, other] = [ratioOf(timings.chosen, timings.copy), ratioOf(timings.other, timings.copy)];
      const noisy = isNoisy(...Object.values(timings));
      figures.push({ kernel, candidate: name, size, chosen, other, noisy });
    }
    stage.free();
  }
  print(table(figures));
  return figures;
}

function table(figures: readonly CandidateFigure[]): string {
  const rows = figures.map((figure) => {
    const { kernel, candidate, size, chosen, other } = figure;
    const { what } = candidates.find(({ name }) => name === candidate)!;
    return [kernel, formatSize(size), chosen.toFixed(2), other.toFixed(2), what, markOf(figure)];
  });
  return `${formatTable([["kernel", "size", "time/copy", "candidate", "which is", ""], ...rows])}\n`;
}
