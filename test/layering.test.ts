import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

// Imports only ever point to the left.
const ranks = [
  ["errors.ts"],
  ["dtypes.ts"],
  ["kernels"],
  ["core"],
  ["ranges"],
  ["layers"],
  ["formats"],
  ["task"],
  ["streams"],
  ["checkpoint", "onnx"],
  ["compare"],
  ["model-options.ts"],
  ["model.ts"],
  ["performers.ts"],
  ["pool"],
  ["node", "browser"],
  ["node.ts", "node-worker.ts", "browser.ts", "browser-worker.ts"],
  ["cli"],
  ["index.ts"],
];

const src = join(import.meta.dirname, "../src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.replaceAll("\\", "/"));

const roomOf = (file: string) => file.split("/")[0]!;
const rankOf = (file: string) => ranks.findIndex((rooms) => rooms.includes(roomOf(file)));

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!);
}

describe("imports", () => {
  it.each(files)("%s has a place in the house", (file) => {
    expect(rankOf(file)).toBeGreaterThanOrEqual(0);
  });

  it.each(files)("%s imports from its own room or from the left", (file) => {
    for (const target of importsOf(file).filter((name) => name.startsWith("."))) {
      const imported = relative(src, join(src, dirname(file), target)).replaceAll("\\", "/");
      expect(files, `${file} imports ${target}`).toContain(imported);
      if (roomOf(imported) === roomOf(file)) continue;
      expect(rankOf(imported), `${file} imports ${imported}`).toBeLessThan(rankOf(file));
    }
  });

  it("nothing but node.ts and the command needs Node", () => {
    const needing = files.filter((file) => importsOf(file).some((name) => name.startsWith("node:")));
    expect(needing.filter((file) => !["cli", "node"].includes(roomOf(file)))).toEqual([]);
    // The one place that loads the module looks for a file system.
    const mentioning = files.filter((file) =>
      /\b(process|Buffer|require|__dirname)\b(\?\.|[.(])/.test(readFileSync(join(src, file), "utf8")),
    );
    expect(mentioning.filter((file) => roomOf(file) !== "cli")).toEqual(["kernels/load.ts"]);
  });

  it("no file imports itself in a circle", () => {
    const seen = new Map<string, "open" | "done">();
    const visit = (file: string, path: string[]) => {
      if (seen.get(file) === "done") return;
      expect(seen.get(file), [...path, file].join(" > ")).not.toBe("open");
      seen.set(file, "open");
      const text = readFileSync(join(src, file), "utf8");
      for (const match of text.matchAll(/^(?:import|export)\s+(?!type\b)[^;]*?from "(\.[^"]+)"/gm)) {
        visit(relative(src, join(src, dirname(file), match[1]!)).replaceAll("\\", "/"), [...path, file]);
      }
      seen.set(file, "done");
    };
    for (const file of files) visit(file, []);
  });
});
