import { writeFile } from "node:fs/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { freshFolder } from "../helpers/folder.ts";
import { DEFLATED, npy, zip } from "../helpers/npz.ts";

// What the built command says of options that do not go together, or not with the file.

const folder = freshFolder();
const run = runnerIn(() => folder.path);

beforeEach(async () => {
  await writeFile(folder.at("a.safetensors"), await safetensorsFile([f32("conv1.weight", [8, 64])]));
});

const said = async (...args: string[]) => {
  const { code, stdout, stderr } = await run(...args);
  expect(stdout).toBe("");
  return `${code} ${stderr}`;
};

describe("--threads", () => {
  it("take the memory they need where none was given", async () => {
    expect(await run("a.safetensors", "--threads", "7", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it.each([
    ["7", "256MB", "expected at least 299 MB with 7 threads; got 256 MB"],
    ["1", "50MB", "expected at least 119 MB with 1 thread; got 50 MB"],
  ])("%s in %s are too many", async (threads, memory, needed) => {
    expect(await said("a.safetensors", "--threads", threads, "--memory", memory)).toBe(
      `2 wasm-quant: --memory: ${needed}\n`,
    );
    expect(await folder.names()).toEqual(["a.safetensors"]);
  });
});

const layout = ["--layout", "compressed-tensors"];

describe("where an output is there already", () => {
  it.each([
    [[...layout, "--block-size", "48"], "--block-size: compressed-tensors: 48 given"],
    [[...layout, "--per-tensor"], "--per-tensor: compressed-tensors: vLLM takes a scale"],
    [[...layout, "--axis", "1"], "--axis: compressed-tensors: 1 given"],
    [[...layout, "--scheme", "float-offset"], "--scheme: compressed-tensors: float-offset given"],
    [[...layout, "--reduce-range"], "--reduce-range: compressed-tensors: every code is used"],
    [["--mode", "dynamic"], "--mode: is for ONNX models; this is a file of tensors"],
    [["--clamp"], "--clamp: "],
    [["--dtype", "float16", "--per-tensor"], "--per-tensor: "],
  ])("%j is wrong usage all the same", async (options, message) => {
    await writeFile(folder.at("out.safetensors"), "precious");
    const told = await said("a.safetensors", "-o", "out.safetensors", ...options);
    expect(told).toMatch(/^2 wasm-quant: [^\n]*\n$/);
    expect(told).toContain(`wasm-quant: ${message}`);
  });
});

it("an axis that a tensor does not have is named as it was typed", async () => {
  expect(await said("a.safetensors", "--axis", "9")).toBe(
    '1 wasm-quant: a.safetensors: tensor "conv1.weight": --axis: 9 given for shape [8, 64]; -2 to 1 are allowed; ' +
      "give another or exclude it (--exclude GLOB)\n",
  );
});

it("a layout for models is not for arrays", async () => {
  const { values } = f32("w", [8, 64]);
  await writeFile(folder.at("a.npz"), await zip(["w.npy", npy("<f4", [8, 64], values), DEFLATED]));
  expect(await said("a.npz", ...layout)).toBe(
    "1 wasm-quant: a.npz: compressed-tensors is for safetensors files of a model\n",
  );
});

it("a recipe for models is not for tensors", async () => {
  expect(await said("a.safetensors", "--recipe", "transformers.js", "-o", "new/")).toBe(
    "2 wasm-quant: --recipe: is for ONNX models; this is a file of tensors\n",
  );
  expect(await folder.names()).toEqual(["a.safetensors"]);
});
