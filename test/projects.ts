import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

// Which tests are unit tests: those that neither start processes nor use the build or ONNX Runtime, by themselves or in
// what they import. The others are system tests. Found out rather than listed, so that no list has to be kept.

const root = resolve(import.meta.dirname, "..");

const outside = [/^(node:)?child_process$/, /^onnxruntime-/, /\/helpers\/(built|command)\.ts$/, /\/node-workers\.ts$/];

/** Imports and re-exports of values: those of types alone leave nothing behind. */
const imports = /^(?:import|export)\s+(?!type\s)(?:(\{[^}]*\}|[^"';]*?)\s*from\s*)?"([^"]+)"/gm;

const seen = new Map<string, boolean>();

function reachesOutside(path: string): boolean {
  const known = seen.get(path);
  if (known !== undefined) return known;
  seen.set(path, false); // of a circle of imports
  const found = [...readFileSync(path, "utf8").matchAll(imports)].some(([, names, target]) => {
    if (names?.startsWith("{") && names.slice(1, -1).split(",").every(isType)) return false;
    if (!target!.startsWith(".")) return outside.some((pattern) => pattern.test(target!));
    const file = resolve(path, "..", target!);
    // The library itself is what unit tests are for; that it may load ONNX Runtime later does not count.
    if (file.startsWith(join(root, "src/"))) return false;
    return outside.some((pattern) => pattern.test(file)) || reachesOutside(file);
  });
  seen.set(path, found);
  return found;
}

function isType(name: string): boolean {
  return /^\s*(type\s|$)/.test(name);
}

const tests = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts") && !name.includes("node_modules"))
  .map((name) => join("test", name).replaceAll("\\", "/"))
  .sort();

/** They replace modules of Node's, so they cannot share a worker's modules with others. */
export const mockingTests = tests.filter((name) => readFileSync(join(root, name), "utf8").includes("vi.mock("));

const others = tests.filter((name) => !mockingTests.includes(name));

export const systemTests = others.filter((name) => reachesOutside(join(root, name)));

export const unitTests = others.filter((name) => !systemTests.includes(name));
