import { rmdirSync } from "node:fs";
import { mkdir, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { FileError } from "../errors.ts";
import { isShardIndex } from "../formats/detect-file-type.ts";
import { checkExtension } from "../node/output-name.ts";
import { listNames } from "../pipeline/phrases.ts";

const MAIN = ["model.safetensors.index.json", "model.safetensors"];

/**
 * The file that is meant: of a folder its checkpoint.
 *
 * @throws FileError when there is none, or more than one
 */
export async function inputFor(path: string): Promise<string> {
  if (!(await isFolder(path))) return path;
  const names = (await readdir(path)).filter((name) => isShardIndex(name) || /\.safetensors$/i.test(name)).sort();
  for (const wanted of [(name: string) => MAIN.includes(name), isShardIndex, () => true]) {
    const found = names.filter(wanted);
    if (found.length === 1) return join(path, found[0]!);
    if (found.length > 1)
      throw new FileError(path, `is a folder with several checkpoints (${listNames(found)}); name one`);
  }
  throw new FileError(path, "is a folder without safetensors files; name a file in it");
}

/** Where the result goes to, and what its name ends with. */
export interface Destination {
  /** As it was given: a file, a folder (with a slash behind), or nothing. */
  readonly given: string | undefined;
  /** What it is if nothing was given; its name is that in a folder. */
  readonly fallback: string;
  readonly extension: string;
}

/**
 * Runs `write` with the name of the output. A folder is made where none is, and goes again when nothing comes to be in it.
 *
 * @throws ArgumentError for a file that is called otherwise
 */
export async function withOutput<T>(
  { given, fallback, extension }: Destination,
  write: (output: string) => Promise<T>,
): Promise<T> {
  const isFile = given !== undefined && !endsAsFolder(given);
  const output = isFile ? given : given === undefined ? fallback : join(given, basename(fallback));
  checkExtension(output, extension);
  return isFile ? write(output) : withFolder(dirname(output), () => write(output));
}

/** Runs `write`; a folder that is made for it, and those above, go again when nothing comes to be in them. */
export async function withFolder<T>(folder: string, write: () => Promise<T>): Promise<T> {
  if (await isFolder(folder)) return write();
  const made = await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new FileError(folder, "is no folder, and none can be made there", { cause });
  });
  if (made !== undefined) fresh.set(folder, made);
  try {
    const result = await write();
    fresh.clear();
    return result;
  } catch (error) {
    removeMade();
    throw error;
  }
}

/** Folders that were made for what is not written yet, and the first of those above that were made with them. */
const fresh = new Map<string, string>();

/** Removes them where nothing is in them, at once: whoever else put something there keeps it. */
export function removeMade(): void {
  for (const [folder, first] of fresh) {
    const last = resolve(first).length;
    try {
      for (let each = resolve(folder); each.length >= last; each = dirname(each)) rmdirSync(each);
    } catch {
      // not empty
    }
  }
  fresh.clear();
}

/**
 * Where a checkpoint for vLLM goes to if nothing is said: a folder beside the model's, for it has a config.json of its own.
 *
 * @param named what was named, the input or the folder it is in
 */
export function modelFolder(named: string, input: string, dtype: string): string {
  if (named === input) return join(`${stemOf(input)}.${dtype}`, basename(input));
  const folder = /^\.{0,2}$/.test(basename(named)) ? resolve(named) : named.replace(/[\\/]+$/, "");
  return join(`${folder}.${dtype}`, basename(input));
}

/**
 * @param fallback where the output goes to if nothing is said
 * @throws FileError where the output's config.json would be the input's
 */
export async function checkConfigKept(input: string, output: string, fallback: string): Promise<void> {
  const config = join(dirname(input), "config.json");
  if (resolve(dirname(input)) !== resolve(dirname(output)) || !(await stat(config).catch(() => undefined))) return;
  const folder = dirname(fallback);
  throw new FileError(config, `is the float model's, and the output has one of its own; name a folder (-o ${folder}/)`);
}

/** Whether a path is written as that of a folder. */
export function endsAsFolder(path: string): boolean {
  return /[\\/]$/.test(path);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** A path without the extension that tells its format. */
export function stemOf(path: string): string {
  return path.replace(/\.(onnx|npy|npz|safetensors(\.index(\.[\w-]+)?\.json)?)$/i, "");
}
