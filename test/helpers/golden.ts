import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ByteSource, bytesSource } from "../../src/formats/source.ts";
import { type Difference, feedsFor, haveModels, modelPath, runAll } from "./model-feeds.ts";
import { differenceOf } from "./onnx-values.ts";
import { type Outputs, openNode, openWeb, type Session, withSession } from "./sessions.ts";

const folder = resolve(import.meta.dirname, "../../../shared/golden");

/** Tests that look at what ONNX Runtime's own tool writes run where there is any, and what it was made of. */
export const haveGolden = haveModels && existsSync(folder);

export const withoutGolden = "(skipped where there is no ../shared/golden and ../shared/data/models)";

export interface Golden {
  readonly model: string;
  /** What was asked of the tool, in its files' words. */
  readonly variant: string;
}

/** Of every model all that begin with these words. */
export function goldenFiles(family: string): Golden[] {
  if (!haveGolden) return [];
  const models = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return models
    .map(({ name }) => name)
    .sort()
    .flatMap((model) =>
      readdirSync(join(folder, model))
        .filter((file) => file.startsWith(family) && file.endsWith(".onnx"))
        .sort()
        .map((file) => ({ model, variant: file.slice(0, -".onnx".length) })),
    );
}

/** What the tool wrote. */
export function goldenSource({ model, variant }: Golden): ByteSource {
  return sourceOf(join(folder, model, `${variant}.onnx`));
}

/** What it was given. */
export function originalSource({ model }: Golden): ByteSource {
  return sourceOf(modelPath(model));
}

function sourceOf(path: string): ByteSource {
  return bytesSource(new Uint8Array(readFileSync(path)), path);
}

/** What a model gives in both runtimes, and what the tool's file gives in the native one. */
export async function runBeside(golden: Golden, bytes: Uint8Array) {
  const feeds = await feedsFor(golden.model);
  const run = (session: Promise<Session>) => withSession(session, (opened) => runAll(opened, feeds));
  return {
    node: await run(openNode(bytes)),
    web: await run(openWeb(bytes)),
    golden: await run(openNode(await bytesIn(goldenSource(golden)))),
  };
}

/** What the model gave before anything was quantized. */
export async function runOriginal(golden: Golden): Promise<Outputs[]> {
  const feeds = await feedsFor(golden.model);
  return withSession(openNode(modelPath(golden.model)), (session) => runAll(session, feeds));
}

export function bytesIn(source: ByteSource): Promise<Uint8Array> {
  return source.slice(0, source.byteLength);
}

/** Where what two models gave parts ways, a line for each output. */
export function outputDifferences(got: readonly Outputs[], want: readonly Outputs[]): string[] {
  return want.flatMap((outputs, run) =>
    Object.entries(outputs).flatMap(([name, { type, dims, data }]) => {
      const other = got[run]?.[name];
      const form = `${type} [${dims}]`;
      if (!other || `${other.type} [${other.dims}]` !== form) return [`run ${run}, ${name}: ${form} wanted`];
      const difference = differenceOf(other.data as Float32Array, data as Float32Array);
      return difference === undefined ? [] : [`run ${run}, ${name}: ${difference}`];
    }),
  );
}

/** The least dB over all outputs. */
export function worstOf(differences: Readonly<Record<string, Difference>>): number {
  return Math.min(...Object.values(differences).map(({ sqnr }) => sqnr));
}
