import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

// The runtimes of the matrix: those of package.json beside this file, and the newest, which the tests of the project use.

/** A column of the matrix. */
export interface Runtime {
  /** As the table has it: "node 1.20.1". */
  readonly name: string;
  readonly kind: "node" | "web" | "transformers";
  /** Of ONNX Runtime. */
  readonly version: string;
  /** The file that is imported; undefined where it is not installed. */
  readonly entry: string | undefined;
}

interface Package {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

interface Lockfile {
  readonly packages: Readonly<Record<string, Package>>;
}

const folder = import.meta.dirname;
const root = resolve(folder, "../..");
const TRANSFORMERS = "@huggingface/transformers";

const read = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), "utf8"));
const dependencies = read<Package>(folder, "package.json").dependencies ?? {};
const newest = read<Package>(root, "package.json").devDependencies ?? {};

/** Brings the runtimes. Install scripts stay off: they would fetch libraries for GPUs. */
export const installCommand = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder];

/** All columns, in the order of the table. */
export function runtimes(): readonly Runtime[] {
  return [...plain("node"), ...plain("web"), ...ofTransformers()];
}

function plain(kind: "node" | "web"): Runtime[] {
  const name = `onnxruntime-${kind}`;
  const older = Object.entries(dependencies).filter(([alias]) => alias.startsWith(`${name}-`));
  const columns = older.map(([alias, spec]) => {
    const version = spec.slice(spec.lastIndexOf("@") + 1);
    return { version, entry: entryOf(folder, alias, version) };
  });
  columns.push({ version: newest[name]!, entry: entryOf(root, name, newest[name]!) });
  return columns
    .sort((a, b) => a.version.localeCompare(b.version, "en", { numeric: true }))
    .map((column) => ({ name: `${kind} ${column.version}`, kind, ...column }));
}

/** The library itself, which is run with the onnxruntime-node that it pins, and the onnxruntime-web that it pins for pages. */
function ofTransformers(): Runtime[] {
  const own = dependencies[TRANSFORMERS]!;
  const home = join(folder, "node_modules", TRANSFORMERS);
  const pins = read<Lockfile>(folder, "package-lock.json").packages[`node_modules/${TRANSFORMERS}`]?.dependencies ?? {};
  const pinned = (platform: "web" | "node") => pins[`onnxruntime-${platform}`]!;
  const columnOf = (kind: "web" | "transformers", platform: "web" | "node", entry: string | undefined): Runtime => {
    const version = pinned(platform).replace(/-dev.*/, "-dev");
    return { name: `transformers.js ${own}, ${platform} ${version}`, kind, version, entry };
  };
  return [
    columnOf("transformers", "node", entryOf(folder, TRANSFORMERS, own)),
    columnOf("web", "web", entryOf(home, "onnxruntime-web", pinned("web"))),
  ];
}

/** What Node loads when a module in `home` imports the package, if it is there in that version. */
function entryOf(home: string, name: string, version: string): string | undefined {
  const description = join(home, "node_modules", name, "package.json");
  if (!existsSync(description) || read<Package>(description).version !== version) return undefined;
  return createRequire(join(home, "package.json")).resolve(name);
}
