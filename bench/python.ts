import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import type { Context } from "./context.ts";
import { formatNumber, ratioOf } from "./harness.ts";
import {
  command,
  copying,
  figuresOf,
  formatFigures,
  type ProcessFigure,
  program,
  quantizing,
  race,
  sizeOf,
} from "./process.ts";

interface Tool {
  readonly module: string;
  readonly script: string;
  readonly name: string;
  /** What it works on, and what we are told to do the same. */
  readonly file: (context: Context) => Promise<string>;
  readonly args: readonly string[];
}

const tools: readonly Tool[] = [
  {
    module: "onnxruntime.quantization",
    script: "onnxruntime_dynamic.py",
    name: "onnxruntime's quantize_dynamic",
    file: ({ workshop }) => workshop.bert(),
    args: ["--mode", "dynamic"],
  },
  {
    module: "numpy",
    script: "numpy_int8.py",
    name: "numpy, int8 per channel",
    file: ({ workshop }) => workshop.checkpoint(),
    args: [],
  },
];

/** What Python's tools make of the same files, where they are installed. */
export async function benchPython(context: Context): Promise<ProcessFigure[]> {
  const { workshop, quick, print, progress } = context;
  const figures: ProcessFigure[] = [];
  for (const { module, script, name, file, args } of tools) {
    if (!(await canImport(module))) {
      print(`${name} is left out: no python3 on the path that imports ${module}\n`);
      continue;
    }
    progress("writing models");
    const path = await file(context);
    const python = program(name, (folder) => ["python3", scriptNamed(script), path, join(folder, basename(path))]);
    const ours = existsSync(command) ? [quantizing(path, args)] : [];
    const contenders = [copying([path]), ...ours, python];
    const outcomes = await race(contenders, join(await workshop.folder(), "out"), quick ? 1 : 5, progress);
    const work = `${basename(path)}, ${formatNumber(sizeOf([path]) / 1e6)} MB`;
    const block = figuresOf(work, outcomes);
    print(formatFigures(block));
    if (ours.length > 0) {
      const times = ratioOf(outcomes.at(-1)!.timing, outcomes[1]!.timing);
      print(`${name} takes ${formatNumber(times)} times as long as wasm-quant\n`);
    }
    figures.push(...block);
  }
  return figures;
}

function scriptNamed(name: string): string {
  return resolve(import.meta.dirname, "python", name);
}

async function canImport(module: string): Promise<boolean> {
  try {
    await promisify(execFile)("python3", ["-c", `import ${module}`]);
    return true;
  } catch {
    return false;
  }
}
