import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEngine, type QuantizeModelOptions, quantizeModel } from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { CLASSES, digits, mlp, oneLine } from "../helpers/command-models.ts";
import { elementBytes } from "../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../helpers/random.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]) => join(folder, ...names);

const put = (name: string, bytes: Uint8Array | string) => writeFile(at(name), bytes);

const bytesIn = async (name: string) => new Uint8Array(await readFile(at(name)));

const listed = async () => (await readdir(folder)).sort();

const run = runnerIn(() => folder);

/** Fails in one line that has all of `words`, and leaves the folder as it was. */
async function expectFailure(
  exitCode: number,
  args: readonly string[],
  words: readonly (string | RegExp)[],
): Promise<void> {
  const before = await listed();
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stdout, stderr }).toEqual({ code: exitCode, stdout: "", stderr: expect.stringMatching(oneLine) });
  for (const word of words) expect(stderr).toMatch(word);
  expect(await listed()).toEqual(before);
}

/** Of this file, or of patterns that match nothing in it. */
const expectRefusal = (args: readonly string[], ...words: readonly (string | RegExp)[]) =>
  expectFailure(1, args, words);

describe("bad input: exit code 1, one line that names it, nothing written", () => {
  const { bytes } = mlp();
  const cases: Record<string, [content: Uint8Array | string | (() => Promise<Uint8Array>), message: string | RegExp]> =
    {
      "empty.onnx": ["", "is empty"],
      "text.onnx": ["not a model at all, but long enough to be taken for one\n", "is no ONNX model, or a damaged one"],
      "zeros.onnx": [new Uint8Array(5000), "is no ONNX model"],
      "head.onnx": [bytes.subarray(0, 11), "is no ONNX model, or a damaged one"],
      "graph.onnx": [bytes.subarray(0, 100), "is no ONNX model, or a damaged one"],
      "weights.onnx": [bytes.subarray(0, bytes.length / 2), "is no ONNX model, or a damaged one"],
      "end.onnx": [bytes.subarray(0, bytes.length - 1), "is no ONNX model, or a damaged one"],
      "lfs.onnx": ["version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"],
      "tensors.onnx": [() => safetensorsFile([f32("w", [8, 64])]), "is a safetensors file, not what its name says"],
      "model.safetensors": [bytes, /is an ONNX model, not what its name says/],
      "model.npy": [bytes, /is an ONNX model, not what its name says/],
    };

  it.each(Object.keys(cases))("%s", async (name) => {
    const [content, message] = cases[name]!;
    await put("whole.onnx", bytes);
    await put(name, typeof content === "function" ? await content() : content);
    const before = await listed();
    const commands = [["quantize"], ["inspect"], ["compare", "whole.onnx"], ["dequantize"]];
    const results = await Promise.all(commands.map((command) => run(...command, name)));
    for (const [i, { code, stdout, stderr }] of results.entries()) {
      expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(oneLine) });
      expect(stderr).toContain(`wasm-quant: ${name}: `);
      if (commands[i]![0] !== "dequantize") expect(stderr).toMatch(message);
    }
    expect(await listed()).toEqual(before);
  });

  it("a name that is not there, a folder, a folder that is not there", async () => {
    await put("model.onnx", bytes);
    await mkdir(at("folder.onnx"));
    await expectRefusal(["none.onnx"], "wasm-quant: none.onnx: no such file or folder");
    await expectRefusal(["folder.onnx"], "wasm-quant: folder.onnx: is a folder");
    await expectRefusal(["model.onnx", "-o", "folder.onnx", "--force"], "wasm-quant: folder.onnx: is a folder");
    await expectRefusal(["model.onnx", "-o", "no/such.onnx"], "wasm-quant: no/such.onnx: its folder does not exist");
  });

  it("dequantize is for files of tensors", async () => {
    await put("model.onnx", bytes);
    await expectRefusal(
      ["dequantize", "model.onnx"],
      "model.onnx: is an ONNX model by name or content; a file of tensors is wanted",
    );
  });

  it("a weight that is not finite is named", async () => {
    const damaged = bytes.slice();
    const at = Buffer.from(bytes).indexOf(elementBytes("float32", normals(randomOf(2), 64 * CLASSES)));
    new DataView(damaged.buffer).setFloat32(at + 4 * 77, Number.NaN, true);
    await put("nan.onnx", damaged);
    await expectRefusal(["nan.onnx"], 'nan.onnx: tensor "fc2.weight": holds NaN at flat index 77', "--exclude");
    expect((await run("nan.onnx", "--exclude", "fc2", "--quiet")).code).toBe(0);
    expect((await run("inspect", "nan.onnx")).stdout).toMatch(/fc2\.weight.* holds NaN at flat index 77\n/);
  });
});

describe("library and command", () => {
  /** What the library writes as `model`, and its data file if there is one. */
  async function byLibrary(input: string, output: string, options: QuantizeModelOptions): Promise<void> {
    const source = await fileSource(at(input));
    await quantizeModel(await createEngine(), source, await fileSink(at(output)), options);
    await source.close();
  }

  it.each<[string[], QuantizeModelOptions]>([
    [[], {}],
    [
      ["--asymmetric", "--per-tensor", "--exclude", "fc1"],
      { scheme: "asymmetric", perChannel: false, exclude: ["fc1"] },
    ],
    [["--dtype", "uint8", "--symmetric", "--reduce-range"], { dtype: "uint8", scheme: "symmetric", reduceRange: true }],
    [["--dtype", "int16", "--op-types", "MatMul"], { dtype: "int16", opTypes: ["MatMul"] }],
    [
      ["--dtype", "int4", "--format", "qdq", "--opset", "21", "--block-size", "32"],
      { dtype: "int4", format: "qdq", opset: 21, blockSize: 32 },
    ],
  ])("write the same bytes: %j", async (args, options) => {
    await put("model.onnx", mlp().bytes);
    const { bytes, data } = mlp({ location: "weights.bin" });
    await put("external.onnx", bytes);
    await put("weights.bin", data);
    for (const input of ["model.onnx", "external.onnx"]) {
      // Of the same name, which the model has for its data.
      await mkdir(at("command"), { recursive: true });
      await mkdir(at("library"), { recursive: true });
      expect(await run(input, "-o", `command/${input}`, "--quiet", ...args)).toEqual({
        code: 0,
        stdout: "",
        stderr: "",
      });
      await byLibrary(input, `library/${input}`, options);
    }
    const names = (await readdir(at("command"))).sort();
    expect(names).toEqual(["external.onnx", "external.onnx.data", "model.onnx"]);
    expect((await readdir(at("library"))).sort()).toEqual(names);
    for (const name of names) {
      expect(await bytesIn(`command/${name}`)).toEqual(await bytesIn(`library/${name}`));
    }
  });

  it("of the carried model too", async () => {
    await copyFile(digits, at("digits.onnx"));
    await run("digits.onnx", "--quiet");
    await byLibrary("digits.onnx", "library.onnx", {});
    expect(await bytesIn("digits.int8.onnx")).toEqual(await bytesIn("library.onnx"));
  });
});
