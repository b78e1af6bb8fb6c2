import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Uint8ArrayReader, Uint8ArrayWriter, ZipWriter } from "@zip.js/zip.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeNpyHeader } from "../../src/formats/npy.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { CLASSES, digits, mlp, oneLine } from "../helpers/command-models.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { bytesOf } from "../helpers/sources.ts";

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

describe("compare", () => {
  beforeEach(async () => {
    await put("a.onnx", mlp().bytes);
    await run("a.onnx", "-o", "b.onnx", "--quiet");
  });

  /** As NumPy's savez writes it. */
  async function npz(arrays: Record<string, readonly number[]>): Promise<Uint8Array> {
    const writer = new ZipWriter(new Uint8ArrayWriter(), { useWebWorkers: false });
    for (const [name, shape] of Object.entries(arrays)) {
      const data = normals(
        randomOf(5),
        shape.reduce((product, size) => product * size, 1),
      );
      const member = bytesOf(encodeNpyHeader("<f4", shape), new Uint8Array(data.buffer));
      await writer.add(`${name}.npy`, new Uint8ArrayReader(member));
    }
    return writer.close();
  }

  it("prints weights, outputs on random inputs, and sizes", async () => {
    const { code, stdout, stderr } = await run("compare", "a.onnx", "b.onnx");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^weight +shape +dtype +SQNR +largest error\n/);
    expect(stdout).toMatch(/^fc1\.weight +64 x 64 +float32 \| int8 +\d\d\.\d dB +0\.0\d+\n/m);
    expect(stdout).toMatch(
      /\n\noutput +SQNR +cosine +largest error +same top-1\ny +\d\d\.\d dB +0\.999\d+ +\d\S* +\d+\.\d %\n/,
    );
    expect(stdout).toMatch(/\non 4 sets of random inputs\na\.onnx 19\.\d kB, b\.onnx 5\.\d\d kB \(0\.3\d\d\)\n$/);
    expect(await run("compare", "a.onnx", "b.onnx", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await listed()).toEqual(["a.onnx", "b.onnx"]);
  });

  it("--json, --sets and --seed", async () => {
    const json = async (...args: string[]) =>
      JSON.parse((await run("compare", "a.onnx", "b.onnx", "--json", ...args)).stdout);
    const first = await json();
    expect(first).toEqual({
      a: "a.onnx",
      b: "b.onnx",
      weights: [
        expect.objectContaining({ name: "fc1.weight", shape: [64, 64], a: "float32", b: "int8" }),
        expect.objectContaining({ name: "fc2.weight", shape: [64, 10], a: "float32", b: "int8" }),
      ],
      otherShapes: [],
      onlyInA: [],
      onlyInB: [],
      outputs: [{ name: "y", comparison: expect.objectContaining({ kind: "float", elements: 40 }) }],
      sets: 4,
      random: true,
      bytesA: (await bytesIn("a.onnx")).length,
      bytesB: (await bytesIn("b.onnx")).length,
    });
    expect(await json("--seed", "0", "--sets", "4")).toEqual(first);
    const other = await json("--seed", "7", "--sets", "2");
    expect(other).toMatchObject({ sets: 2, weights: first.weights });
    expect(other.outputs[0].comparison.sqnr).not.toBe(first.outputs[0].comparison.sqnr);
  });

  it("a model with itself is exact; Infinity is a string in JSON", async () => {
    const { stdout } = await run("compare", "a.onnx", "a.onnx");
    expect(stdout).toMatch(/^fc1\.weight +64 x 64 +float32 +exact +0\n/m);
    expect(stdout).toMatch(/^y +exact +1\.000000 +0 +100\.0 %\n/m);
    const { weights, outputs } = JSON.parse((await run("compare", "a.onnx", "a.onnx", "--json")).stdout);
    expect([weights[0].sqnr, outputs[0].comparison.sqnr]).toEqual(["Infinity", "Infinity"]);
  });

  it("--inputs: a file, a folder of them", async () => {
    await put("x.npz", await npz({ x: [3, 64] }));
    await mkdir(at("sets"));
    await put("sets/2.npz", await npz({ "x::0": [5, 64], "x::1": [1, 64] }));
    await put("sets/1.NPZ", await npz({ x: [2, 64] }));
    await put("sets/notes.txt", "not one of them");
    const json = async (inputs: string) =>
      JSON.parse((await run("compare", "a.onnx", "b.onnx", "--inputs", inputs, "--json")).stdout);
    expect(await json("x.npz")).toMatchObject({ sets: 1, random: false, outputs: [{ comparison: { elements: 30 } }] });
    expect(await json("sets")).toMatchObject({ sets: 3, random: false, outputs: [{ comparison: { elements: 80 } }] });
    expect((await run("compare", "a.onnx", "b.onnx", "--inputs", "sets")).stdout).toContain("\non 3 sets of inputs\n");
  });

  it("--inputs that will not do: one line", async () => {
    await put("shape.npz", await npz({ x: [3, 63] }));
    await put("name.npz", await npz({ z: [3, 64] }));
    await put("text.npz", "no zip");
    await mkdir(at("empty"));
    const refusals = [
      ["shape.npz", 'shape.npz: tensor "x": shape [3, 63]; the input "x" takes [n, 64]'],
      ["name.npz", 'name.npz: tensor "z": not an input of the model, which has "x"'],
      ["text.npz", "text.npz: not a .npz file"],
      ["none.npz", "none.npz: no such file or folder"],
      ["empty", "empty: is a folder without .npz files"],
      ["a.onnx", "a.onnx: not a .npz file"],
    ] as const;
    for (const [inputs, message] of refusals) {
      await expectRefusal(["compare", "a.onnx", "b.onnx", "--inputs", inputs], message);
    }
    for (const more of ["--sets", "--seed"]) {
      const { code, stderr } = await run("compare", "a.onnx", "b.onnx", "--inputs", "x.npz", more, "1");
      expect(code).toBe(2);
      expect(stderr).toMatch(/cannot be used with .*\nusage: wasm-quant compare \[options\] <a> <b>\n$/);
    }
  });

  it("models that do not go together: one line", async () => {
    await put("other.onnx", mlp({ input: "z" }).bytes);
    await put("small.onnx", mlp({ width: 32 }).bytes);
    await put("tensors.safetensors", await safetensorsFile([f32("fc1.weight", [64, 64])]));
    await expectRefusal(["compare", "a.onnx", "other.onnx"], "other.onnx: has inputs z, where a.onnx has x");
    await expectRefusal(["compare", "a.onnx", digits], "digits.onnx: has inputs image, where a.onnx has x");
    await expectRefusal(["compare", "a.onnx", "small.onnx"], "small.onnx: ", "x");
    await expectRefusal(["compare", "a.onnx", "tensors.safetensors"], "tensors.safetensors: is no ONNX model");
    await expectRefusal(["compare", "tensors.safetensors", "a.onnx"], "tensors.safetensors: is no ONNX model");
    await expectRefusal(["compare", "a.onnx", "none.onnx"], "none.onnx: no such file or folder");
    expect((await run("compare", "a.onnx")).stderr).toMatch(
      /missing required argument 'b'\nusage: wasm-quant compare /,
    );
  });

  it("weights that are laid out otherwise are named with both shapes, and are of none alone", async () => {
    const turned = model({
      opsets: { "": 17 },
      graph: graph({
        nodes: [
          node("Gemm", "x fc1.weight", "r"),
          node("Relu", "r", "s"),
          node("Gemm", "s fc2.weight", "y", { transB: 1 }),
        ],
        initializers: [
          tensor("fc1.weight", "float32", [64, 64], normals(randomOf(1), 64 * 64)),
          tensor("fc2.weight", "float32", [CLASSES, 64], normals(randomOf(2), 64 * CLASSES)),
        ],
        inputs: [value("x", "float32[n,64]")],
        outputs: [value("y", `float32[n,${CLASSES}]`)],
      }),
    });
    await put("turned.onnx", turned);
    const { code, stdout } = await run("compare", "a.onnx", "turned.onnx");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^fc1\.weight .* exact +0\nlaid out otherwise: fc2\.weight, 64 x 10 \| 10 x 64\n/m);
    expect(stdout).not.toContain("only in");
  });

  it("weights of one alone are named", async () => {
    const { bytes } = mlp();
    const renamed = Buffer.from(bytes).toString("latin1").replaceAll("fc2.weight", "fc3.weight");
    await put("renamed.onnx", Buffer.from(renamed, "latin1"));
    const { stdout } = await run("compare", "a.onnx", "renamed.onnx");
    expect(stdout).toMatch(/^only in a\.onnx: fc2\.weight\nonly in renamed\.onnx: fc3\.weight\n/m);
  });
});
