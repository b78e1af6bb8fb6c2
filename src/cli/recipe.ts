import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createEngine, type Engine } from "../engine/engine.ts";
import { UnchangedError } from "../errors.ts";
import type { ByteSink } from "../formats/byte-source.ts";
import { quantizeForTransformersJs, type TransformersJsOptions, type TransformersJsReport } from "../model.ts";
import { fileSink } from "../node.ts";
import { suffixes, transformersJsVariants } from "../onnx/transformers-js.ts";
import { commitSinks } from "../pipeline/commit-sinks.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import type { QuantizeArguments } from "./command-options.ts";
import { modelsIn } from "./model-folders.ts";
import { stemOf, withFolder } from "./paths.ts";
import { type RecipeReport, renderRecipe } from "./recipe-tables.ts";
import { print, withSource, withTask } from "./run-task.ts";
import { toJson } from "./tensor-tables.ts";

/** Makes the files that transformers.js looks for of a model, or of every session in a folder. */
export async function quantizeRecipe(input: string, options: QuantizeArguments): Promise<void> {
  const engine = await createEngine();
  const sessions = await modelsIn(input);
  const folder = options.output ?? dirname(sessions[0]!);
  const { only, reduceRange, include, exclude, again, allowUnchanged } = options;
  const perChannel = options.perTensor ? false : options.perChannel;
  const how = { only, perChannel, reduceRange, include, exclude, again, allowUnchanged };
  const nameOf = (path: string, suffix: string) => join(folder, `${basename(stemOf(path))}${suffix}.onnx`);
  const reports: RecipeReport[] = [];
  const sinks: ByteSink[] = [];
  const makeAll = async (task: TaskOptions) => {
    // Whatever is there already is found before any work is done.
    const opened = new Map<string, ByteSink>();
    for (const name of sessions.flatMap((path) =>
      (only ?? transformersJsVariants).map((each) => nameOf(path, suffixes[each])),
    )) {
      const sink = await fileSink(name, { overwrite: options.force });
      sinks.push(sink);
      opened.set(name, sink);
    }
    for (const path of sessions) {
      // Files appear together, once all of them are written: closing one waits for the others.
      const sinkFor = async (suffix: string) => ({ ...opened.get(nameOf(path, suffix))!, close: async () => {} });
      const { files, skipped } = await makeSession(engine, path, sinkFor, { ...how, ...task });
      for (const { variant } of skipped) {
        const unused = opened.get(nameOf(path, suffixes[variant]))!;
        sinks.splice(sinks.indexOf(unused), 1);
        await unused.abort();
      }
      const bytesBefore = files[0]?.bytesBefore ?? (await stat(path)).size;
      const outputs = files.map((file) => ({ ...file, output: nameOf(path, suffixes[file.variant]) }));
      reports.push({ input: path, bytesBefore, files: outputs, skipped });
    }
    if (reports.some(({ files }) => files.length > 0)) return;
    const reasons = reports.flatMap(({ skipped }) => skipped.map(({ reason }) => reason));
    throw new UnchangedError(input, [...new Set(reasons)].join("; "));
  };
  await withTask(options, (task) => withFolder(folder, () => commitSinks(sinks, makeAll(task))));
  if (options.quiet) return;
  print(
    options.json
      ? toJson(reports)
      : `${reports.map(renderRecipe).join("\n")}${(performance.now() / 1000).toFixed(2)} s\n`,
  );
}

/** The files of one session; others of the set may be made where all of this one's are left out. */
async function makeSession(
  engine: Engine,
  path: string,
  sinkFor: (suffix: string) => Promise<ByteSink>,
  options: TransformersJsOptions,
): Promise<TransformersJsReport> {
  try {
    return await withSource(path, (source) => quantizeForTransformersJs(engine, source, sinkFor, options));
  } catch (error) {
    if (!(error instanceof UnchangedError)) throw error;
    const skipped = (options.only ?? transformersJsVariants).map((variant) => ({
      variant,
      reason: error.detail,
      words: [error.detail],
    }));
    return { files: [], skipped };
  }
}
