import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { type Difference, feedsFor, runAll } from "./model-feeds.ts";
import { modelPath } from "./models.ts";
import { type Need, sharedData } from "./needs.ts";
import { differenceOf } from "./onnx-values.ts";
import { type Outputs, openNode, openWeb, type Session, withSession } from "./sessions.ts";

// What ONNX Runtime's own tool writes: a few small models' files are fixtures, and who has ../shared has more of them.

/** What golden files beyond the fixtures need: the files, the models that they were made of and pictures to run those on. */
export const moreGolden: readonly Need[] = [sharedData.golden, sharedData.models, sharedData.images];

const folders = [
  resolve(import.meta.dirname, "../fixtures/golden"),
  ...(moreGolden.every(({ met }) => met) ? [sharedData.golden.path] : []),
];

export interface Golden {
  readonly model: string;
  /** What was asked of the tool, in its files' words. */
  readonly variant: string;
}

/** Of every model all that begin with these words. */
export function goldenFiles(family: string): Golden[] {
  const found = folders.flatMap((folder) => modelsIn(folder).flatMap((model) => filesIn(folder, model)));
  const unique = new Map(found.map((golden) => [`${golden.model}/${golden.variant}`, golden]));
  return [...unique.values()]
    .filter(({ variant }) => variant.startsWith(family))
    .sort((a, b) => a.model.localeCompare(b.model) || a.variant.localeCompare(b.variant));
}

function modelsIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function filesIn(folder: string, model: string): Golden[] {
  const files = readdirSync(join(folder, model)).filter((file) => file.endsWith(".onnx"));
  return files.map((file) => ({ model, variant: file.slice(0, -".onnx".length) }));
}

/** What the tool wrote. */
export function goldenSource({ model, variant }: Golden): ByteSource {
  const paths = folders.map((folder) => join(folder, model, `${variant}.onnx`));
  return sourceOf(paths.find((path) => existsSync(path))!);
}

/** What it was given. */
export function originalSource({ model }: Golden): ByteSource {
  return sourceOf(modelPath(model));
}

function sourceOf(path: string): ByteSource {
  return bytesSource(new Uint8Array(readFileSync(path)), path);
}

/** What our model and the tool's give, in both runtimes. */
export async function runBeside(golden: Golden, bytes: Uint8Array) {
  const feeds = await feedsFor(golden.model);
  const run = (session: Promise<Session>) => withSession(session, (opened) => runAll(opened, feeds));
  const theirs = await bytesIn(goldenSource(golden));
  return {
    node: { ours: await run(openNode(bytes)), theirs: await run(openNode(theirs)) },
    web: { ours: await run(openWeb(bytes)), theirs: await run(openWeb(theirs)) },
  };
}

/** What the model gave before anything was quantized. */
export async function runOriginal(golden: Golden) {
  const feeds = await feedsFor(golden.model);
  const run = (session: Promise<Session>) => withSession(session, (opened) => runAll(opened, feeds));
  return { node: await run(openNode(modelPath(golden.model))), web: await run(openWeb(modelPath(golden.model))) };
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
