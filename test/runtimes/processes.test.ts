import { writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { freshFolder } from "../helpers/folder.ts";
import { runAllIn } from "./processes.ts";
import type { Runtime } from "./versions.ts";

const folder = freshFolder();

/** A runtime in which models called so do so. */
const program = `
class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}
const create = async (path) => {
  if (path === "crash") process.kill(process.pid, "SIGSEGV");
  if (path === "exit") process.exit(3);
  if (path === "refuse") throw new Error("Type Error");
  return { run: async ({ x }) => ({ y: x }), release: async () => {} };
};
module.exports = { Tensor, InferenceSession: { create } };
`;

it("a model that ends the process ends no other", async () => {
  const entry = folder.at("runtime.cjs");
  await writeFile(entry, program);
  const runtime: Runtime = { name: "node", kind: "node", version: "1.0.0", entry };
  const feeds = [{ x: { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) } }] as const;
  const paths = ["a", "crash", "b", "exit", "refuse", "c"];
  const results = await runAllIn(
    runtime,
    paths.map((path) => ({ path, dtype: "fp32", feeds })),
  );
  const good = { outputs: [{ y: { type: "float32", dims: [2], data: Float32Array.of(1, 2) } }] };
  expect(results).toEqual([
    ...[good, { error: "the process ended with SIGSEGV" }, good],
    ...[{ error: "the process ended with exit code 3" }, { error: "Type Error" }, good],
  ]);
});

it("says how to start what does not start", async () => {
  const runtime: Runtime = { name: "node 1.0.0", kind: "node", version: "1.0.0", entry: folder.at("none.cjs") };
  const run = { path: "a", dtype: "fp32", feeds: [] };
  await expect(runAllIn(runtime, [run, run])).rejects.toThrow(/^node 1\.0\.0 does not start: node --import tsx /);
});
