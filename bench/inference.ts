import { basename } from "node:path";
import { createEngine } from "../src/engine/engine.ts";
import { isWasmQuantError } from "../src/errors.ts";
import type { Context } from "./context.ts";
import { formatNumber } from "./harness.ts";
import { forms } from "./inference/forms.ts";
import { findModels, openModel } from "./inference/models.ts";
import type { RoundsPlan } from "./inference/rounds.ts";
import { FLOAT, formatModel, formatSummary, type InferenceRow, legend } from "./inference/table.ts";

const plans: Readonly<Record<"full" | "quick", RoundsPlan>> = {
  full: { least: 15, most: 201, time: 15, sample: 0.002 },
  quick: { least: 5, most: 15, time: 2, sample: 0.002 },
};

/** Every form of every model in onnxruntime-node on one thread, beside the float model. */
export async function benchInference(context: Context): Promise<InferenceRow[]> {
  const { workshop, print, progress } = context;
  const runtime = await loadRuntime().catch((error: Error) => error);
  if (runtime instanceof Error) {
    print(`left out, as onnxruntime-node does not load: ${runtime.message.split("\n")[0]}\n`);
    return [];
  }
  const { paths, lines } = findModels(context.models, context.filter);
  const plan = plans[context.quick ? "quick" : "full"];
  const around = { engine: await createEngine(), plan, folder: await workshop.folder(), progress };
  const overhead = formatNumber(1000 * (await runtime.overheadOf(around.folder, plan)));
  print(`${lines.join("\n")}\n\n${legend}\nthe call itself, part of every time: ${overhead} ms\n`);
  const rows: InferenceRow[] = [];
  for (const path of paths) {
    const model = await openModel(path).catch((error: unknown) => {
      if (isWasmQuantError(error)) return error;
      throw error;
    });
    if (model instanceof Error) {
      print(`${basename(path)} is left out: ${model.message}\n`);
      rows.push({ model: basename(path, ".onnx"), form: FLOAT, gap: "does not load", reason: model.message });
      continue;
    }
    try {
      const own = await runtime.measureForms(model, forms, around);
      print(formatModel(`${basename(path)}, ${formatNumber(model.bytes / 1e6)} MB`, own));
      rows.push(...own);
    } finally {
      await model.source.close();
    }
  }
  print(`time over that of the float model (*: noisy)\n\n${formatSummary(rows)}\n`);
  return rows;
}

/** What needs onnxruntime-node, which may not be installed. */
async function loadRuntime() {
  const { overheadOf } = await import("./inference/overhead.ts");
  const { measureForms } = await import("./inference/measure.ts");
  return { overheadOf, measureForms };
}
