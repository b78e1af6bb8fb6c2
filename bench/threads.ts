import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "./context.ts";
import { command, figuresOf, formatFigures, knowsThreads, type ProcessFigure, quantizing, race } from "./process.ts";

const counts = [1, 2, 4];

/** The command with one, two and four threads, on what the disk decides and on what the kernels decide. */
export async function benchThreads(context: Context): Promise<ProcessFigure[]> {
  const { workshop, quick, print, progress } = context;
  if (!existsSync(command) || !(await knowsThreads())) {
    print("left out: the command is not there, or knows no --threads; npm run build\n");
    return [];
  }
  progress("writing models");
  const works = [
    { work: "1 GB of safetensors to int8 per channel", file: await workshop.checkpoint(), args: [] },
    {
      work: "ONNX of 345 MB to int4 with --algorithm mse: the kernels' work",
      file: await workshop.bert(),
      args: ["--dtype", "int4", "--algorithm", "mse"],
    },
  ];
  const folder = join(await workshop.folder(), "out");
  const figures: ProcessFigure[] = [];
  for (const { work, file, args } of works) {
    const contenders = counts.map((count) => ({
      ...quantizing(file, [...args, "--threads", `${count}`]),
      name: `${count} thread${count === 1 ? "" : "s"}`,
    }));
    const outcomes = await race(contenders, folder, quick ? 2 : 7, progress);
    const block = figuresOf(quick ? `${work} (small here)` : work, outcomes);
    print(formatFigures(block));
    figures.push(...block);
  }
  return figures;
}
