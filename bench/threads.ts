import { existsSync } from "node:fs";
import { extname, join } from "node:path";
import type * as Library from "../src/index.ts";
import type * as Node from "../src/node.ts";
import type { Context } from "./context.ts";
import {
  type Contender,
  command,
  figuresOf,
  formatFigures,
  knowsThreads,
  type ProcessFigure,
  quantizing,
  race,
  smallNote,
} from "./process.ts";

const threadCounts = [1, 2, 4];
const workerCounts = [1, 2];

interface Work {
  readonly work: string;
  readonly file: string;
  /** The same for the command and for the library. */
  readonly args: readonly string[];
  readonly options: { readonly dtype?: "int4"; readonly algorithm?: "mse" };
}

/** One, two and four threads, on what the disk decides and on what the kernels decide. */
export async function benchThreads(context: Context): Promise<ProcessFigure[]> {
  const { workshop, quick, print, progress } = context;
  if (!existsSync(command) || !(await knowsThreads())) {
    print("left out: the command is not there, or knows no --threads; npm run build\n");
    return [];
  }
  if (quick) print(smallNote);
  progress("writing models");
  const works: Work[] = [
    { work: "1 GB of safetensors to int8 per channel", file: await workshop.checkpoint(), args: [], options: {} },
    {
      work: "ONNX of 345 MB to int4 with --algorithm mse, kernel-bound",
      file: await workshop.bert(),
      args: ["--dtype", "int4", "--algorithm", "mse"],
      options: { dtype: "int4", algorithm: "mse" },
    },
  ];
  const folder = join(await workshop.folder(), "out");
  const figures: ProcessFigure[] = [];
  const compare = async (work: string, contenders: readonly Contender[]) => {
    const outcomes = await race(contenders, folder, quick ? 2 : 7, progress);
    const block = figuresOf(quick ? `${work} (small here)` : work, outcomes);
    print(formatFigures(block));
    figures.push(...block);
  };
  for (const { work, file, args } of works) {
    const contenders = threadCounts.map((count) => ({
      ...quantizing(file, [...args, "--threads", `${count}`]),
      name: counted(count, "thread"),
    }));
    await compare(`the command: ${work}`, contenders);
  }
  const { contendersFor, close } = await pooled();
  try {
    for (const each of works) await compare(`workers that run already: ${each.work}`, contendersFor(each));
  } finally {
    await close();
  }
  return figures;
}

/** What is built, by a name that the type check, which runs before the build, does not look for. */
function builtAt(entry: string): string {
  return new URL(`../dist/${entry}.js`, import.meta.url).href;
}

/** The library in this process, with pools that stay: their workers start in the round that does not count. */
async function pooled() {
  const { createEngine, quantizeModel } = (await import(builtAt("index"))) as typeof Library;
  const { fileSink, createWorkerPool, fileSource } = (await import(builtAt("node"))) as typeof Node;
  const engine = await createEngine();
  const pools = workerCounts.map((threads) => ({ threads, workers: createWorkerPool({ threads }) }));
  const contendersFor = ({ file, options }: Work): Contender[] =>
    pools.map(({ threads, workers }) => ({
      name: counted(threads, "worker"),
      run: async (folder) => {
        const start = performance.now();
        const source = await fileSource(file);
        try {
          const sink = await fileSink(join(folder, `out${extname(file)}`));
          await quantizeModel(engine, source, sink, { ...options, workers });
        } finally {
          await source.close();
        }
        return { seconds: (performance.now() - start) / 1000, peak: 0 };
      },
    }));
  const close = () => Promise.all(pools.map(({ workers }) => workers.close()));
  return { contendersFor, close };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
