import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

// Imports only ever point to what stands above in this list, or to the same line's own folder. A folder stands for the
// files in it and in those of its subfolders that have no line of their own; folders of one line do not import each other.
const ranks = [
  ["messages.ts"],
  ["errors.ts"],
  ["dtypes.ts"],
  ["kernels"],
  ["engine/tensors"],
  ["engine/tiling"],
  ["engine/measure"],
  ["engine/range-search"],
  ["engine/codes"],
  ["engine/blockwise"],
  ["engine"],
  ["ranges"],
  ["layers"],
  ["formats"],
  ["pipeline"],
  ["onnx/proto"],
  ["onnx/ir"],
  ["onnx/io"],
  ["onnx/weights"],
  ["onnx/codecs"],
  ["onnx/passes"],
  [
    "onnx/passes/weight-only",
    "onnx/passes/dynamic",
    "onnx/passes/outlier-channels",
    "onnx/passes/nbits",
    "onnx/passes/float16",
    "onnx/passes/opset",
    "onnx/targets",
  ],
  ["onnx/passes/inline"],
  ["onnx", "checkpoint/files"],
  ["checkpoint/plain", "checkpoint/compressed-tensors"],
  ["checkpoint"],
  ["compare"],
  ["model-options.ts"],
  ["model.ts"],
  ["workers"],
  ["node", "browser"],
  ["node.ts", "node-worker.ts", "browser.ts", "browser-worker.ts"],
  ["cli"],
  ["index.ts"],
];

/** Imports that the order allows but the design does not. */
const forbidden: readonly (readonly [from: string, to: string])[] = [["checkpoint", "onnx"]];

const src = join(import.meta.dirname, "../src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.replaceAll("\\", "/"));

const rooms = ranks.flat().sort((a, b) => b.length - a.length);

/** The folder of the list that a file is in: the innermost one. */
const roomOf = (file: string) => rooms.find((room) => file === room || file.startsWith(`${room}/`));
const rankOf = (file: string) => ranks.findIndex((each) => each.includes(roomOf(file)!));

/** What a file imports and re-exports, types as well; packages by their names. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => {
    const target = match[1]!;
    return target.startsWith(".") ? relative(src, join(src, dirname(file), target)).replaceAll("\\", "/") : target;
  });
}

const ownImportsOf = (file: string) => importsOf(file).filter((target) => /\.ts$/.test(target));

describe("imports", () => {
  it.each(files)("%s has a place in the list of layers", (file) => {
    expect(roomOf(file)).toBeDefined();
  });

  it.each(files)("%s imports from its own folder or from layers below", (file) => {
    for (const imported of ownImportsOf(file)) {
      expect(files, `${file} imports ${imported}`).toContain(imported);
      if (roomOf(imported) === roomOf(file)) continue;
      expect(rankOf(imported), `${file} imports ${imported}`).toBeLessThan(rankOf(file));
      const isForbidden = forbidden.some(([from, to]) => file.startsWith(`${from}/`) && imported.startsWith(`${to}/`));
      expect(isForbidden, `${file} imports ${imported}`).toBe(false);
    }
  });

  it("nothing but node.ts and the command needs Node", () => {
    const isOfNode = (file: string) => ["cli", "node"].includes(file.split("/")[0]!);
    const needing = files.filter((file) => importsOf(file).some((name) => name.startsWith("node:")));
    expect(needing.filter((file) => !isOfNode(file))).toEqual([]);
    // The one place that loads the module looks for a file system.
    const mentioning = files.filter((file) =>
      /\b(process|Buffer|require|__dirname)\b(\?\.|[.(])/.test(readFileSync(join(src, file), "utf8")),
    );
    expect(mentioning.filter((file) => !file.startsWith("cli/"))).toEqual(["kernels/load.ts"]);
  });

  it("no file imports itself in a circle, not even for its types", () => {
    const seen = new Map<string, "open" | "done">();
    const visit = (file: string, path: string[]) => {
      if (seen.get(file) === "done") return;
      expect(seen.get(file), [...path, file].join(" > ")).not.toBe("open");
      seen.set(file, "open");
      for (const imported of ownImportsOf(file)) visit(imported, [...path, file]);
      seen.set(file, "done");
    };
    for (const file of files) visit(file, []);
  });
});
