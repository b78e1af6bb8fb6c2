import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("npm pack holds what a user needs and nothing else", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json"]);
  const files: string[] = JSON.parse(stdout)[0].files.map(({ path }: { path: string }) => path);
  for (const needed of [
    ...["dist/kernels.wasm", "dist/index.js", "dist/index.d.ts", "dist/node.js", "dist/node.d.ts", "dist/cli/main.js"],
    ...["dist/browser.js", "dist/browser.d.ts", "dist/browser-worker.js", "dist/node-worker.js"],
    ...["README.md", "LICENSE", "CHANGELOG.md", "package.json"],
  ]) {
    expect(files).toContain(needed);
  }
  const others = files.filter((file) => !/^dist\/.*\.(js|d\.ts|wasm)$/.test(file));
  expect(others.sort()).toEqual([
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs/errors.md",
    "docs/onnx.md",
    "docs/ranges.md",
    "docs/runtimes.md",
    "package.json",
  ]);
});
