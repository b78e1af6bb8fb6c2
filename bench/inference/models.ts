import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { type FileSource, fileSource } from "../../src/node.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { TensorFiles } from "../../src/onnx/io/tensor-data.ts";
import type { Model } from "../../src/onnx/ir/graph.ts";
import { indexLimits } from "../../src/onnx/ir/index-limits.ts";
import { UsageError } from "../options.ts";

const root = resolve(import.meta.dirname, "../..");

/** Where models are looked for, with nothing named: a file, or a folder with models in it. */
const places = [
  "example/digits.onnx",
  "test/fixtures",
  "test/fixtures/models",
  "node_modules/@ricky0123/vad-web/dist",
  "../shared/data/models",
].map((place) => join(root, place));

/** Models, and a line for each place that was looked into. */
export interface FoundModels {
  readonly paths: readonly string[];
  readonly lines: readonly string[];
}

/**
 * The models of a folder, or of the places where the project and its packages have some.
 *
 * @param filter what a model's name has in it
 * @throws UsageError when a folder is not there, or no model is found in it
 */
export function findModels(folder: string | undefined, filter: string): FoundModels {
  if (folder !== undefined && !existsSync(folder)) throw new UsageError(`--models ${folder}: no such folder`);
  const paths: string[] = [];
  const lines: string[] = [];
  const seen = new Set<string>();
  for (const place of folder === undefined ? places : [resolve(folder)]) {
    const all = modelsAt(place);
    const here = all.filter((path) => basename(path).includes(filter)).filter((path) => isNew(path, seen));
    const called = relative(folder === undefined ? root : process.cwd(), place) || ".";
    const left = all.length - here.length;
    const others = left > 0 ? `; ${left} left out, not of that name or seen before` : "";
    lines.push(`${called}: ${here.map((path) => basename(path)).join(", ") || "none"}${others}`);
    paths.push(...here);
  }
  if (paths.length === 0) throw new UsageError(`no models are there to run:\n${lines.join("\n")}`);
  return { paths, lines };
}

function modelsAt(place: string): string[] {
  if (!existsSync(place)) return [];
  if (place.endsWith(".onnx")) return [place];
  const names = readdirSync(place).filter((name) => name.endsWith(".onnx"));
  return names.toSorted().map((name) => join(place, name));
}

/** Copies of a model lie in several places, under one name: one of them is enough. */
function isNew(path: string, seen: Set<string>): boolean {
  const key = `${basename(path)} ${statSync(path).size}`;
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** A model to quantize and to run. */
export interface OpenedModel {
  readonly name: string;
  readonly path: string;
  readonly source: FileSource;
  readonly graph: Model;
  /** For inputs that index tables, how many rows those have. */
  readonly limits: ReadonlyMap<string, number>;
  /** With its data files. */
  readonly bytes: number;
}

export async function openModel(path: string): Promise<OpenedModel> {
  const source = await fileSource(path);
  try {
    const graph = await readModel(source);
    const files = await TensorFiles.open(source, graph);
    await files.close();
    const limits = indexLimits(graph, path);
    return { name: basename(path, ".onnx"), path, source, graph, limits, bytes: files.byteLength };
  } catch (error) {
    await source.close();
    throw error;
  }
}
